"""``nc compress``: files or a dataset into one verified container."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import print_json, print_text
from nc_core.command_line.progress import cumulative, progress
from nc_core.errors import InterruptedWorkError, NcError, UsageError
from nc_core.staging import temporary_folder

if TYPE_CHECKING:
    from nc_core.rates import Rate
    from nc_core.sources import Source

__all__ = ["command"]

_log = logging.getLogger(__name__)
_STDIN_NAME = "stdin.png"


@click.command(
    "compress",
    epilog=options.examples(
        "nc compress photo.png                    # writes photo.png.ncz",
        "nc compress holiday/ -o holiday.ncz      # every image of a folder",
        "nc compress --dataset mnist:test --limit 1000 -o digits.ncz --json",
        "cat photo.png | nc compress - -o - > photo.ncz",
    ),
)
@options.inputs()
@options.dataset()
@options.limit()
@options.out("FILE.ncz", "File to write; INPUT.ncz by default, - for standard output.")
@options.model("predictive")
@options.coder("rans")
@options.order()
@options.coding()
@options.verify()
@options.threads()
@click.option("--resume", is_flag=True, help="Go on with what an interrupted run left.")
@options.force()
@options.json_output()
def command(
    inputs: tuple[Path, ...],
    dataset: str | None,
    limit: int | None,
    out: Path | None,
    model: str,
    coder: str,
    order: str | None,
    coding: dict[str, str],
    verify: bool,
    threads: int,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Compress images, folders of images or a dataset into one .ncz file.

    The pixels come back exactly, colour profile and EXIF included. 'predictive' codes 8 or 16 bits,
    grey or RGB, with or without alpha; 'nc list models' says what other models are for. The file is
    decoded and compared before success is reported. INPUT is an image, a folder, or - for an image
    on standard input.
    """
    to_stdout = out is not None and str(out) == "-"
    if to_stdout and as_json:
        raise UsageError("the file and the JSON document cannot both go to standard output")
    if to_stdout and (resume or force):
        option = "--resume" if resume else "--force"
        raise UsageError(f"{option} has no meaning for standard output", "leave it out")
    with _source(inputs, dataset, limit) as (source, sizes):
        if to_stdout:
            with temporary_folder() as folder:
                target = folder / "stdout.ncz"
                with _called(target, "standard output"):
                    rate = _compress(
                        source, target, model, coder, order, coding, threads, verify,
                        journal_seconds=None,
                    )  # fmt: skip
                led = _lead_in_items(target, coder)
                with target.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
            for line in _report("standard output", rate, sizes, model, led):
                click.echo(line, err=True)
            return
        target = _default_target(inputs) if out is None else out
        rate = _compress(
            source, target, model, coder, order, coding, threads, verify, force=force, resume=resume
        )
    led = _lead_in_items(target, coder)
    if as_json:
        made = {"file": str(target), "model": model, "coder": coder, "lead_in_items": led}
        print_json(rate.to_json() | made | _told(target))
        return
    for line in _report(str(target), rate, sizes, model, led):
        print_text(line)


def _compress(
    source: Source,
    target: Path,
    model: str,
    coder: str,
    order: str | None,
    coding: dict[str, str],
    threads: int,
    verify: bool,
    **options: Any,
) -> Rate:
    from nc_core.lossless import compress_source
    from nc_core.models import load_coder, load_model

    plugins = current_session().plugins
    loaded = load_model(model, plugins, keep=True, order=order, coding=coding)
    _log.info("model %s (id %s), %s arithmetic, coder %s", loaded.name, loaded.id[:12],
              loaded.arithmetic, coder)  # fmt: skip
    samples, resumed = source.content.dims, bool(options.get("resume"))
    with progress("compressing", samples, "samples", resumed=resumed) as advance:
        return compress_source(
            source,
            target,
            loaded,
            load_coder(coder, plugins),
            threads=threads,
            verify=verify,
            progress=cumulative(advance),
            **options,
        )


def _told(target: Path) -> dict[str, Any]:
    """How the model coded, as the file says."""
    from nc_core.container import ContainerReader
    from nc_core.header import Header

    with target.open("rb") as file:
        header = Header.from_json(ContainerReader(file, str(target)).header, str(target))
    return {"order": header.order, "coding": dict(header.coding)}


def _lead_in_items(target: Path, coder: str) -> int | None:
    """How many items only lead the model in; None where it has no lead-in."""
    from nc_core.lead_in_items import items_of_lead_ins
    from nc_core.models import load_coder

    with target.open("rb") as file:
        return items_of_lead_ins(file, str(target), load_coder(coder, current_session().plugins))


@contextmanager
def _source(
    inputs: tuple[Path, ...], dataset: str | None, limit: int | None
) -> Iterator[tuple[Source, list[tuple[Path, int]]]]:
    """What to compress, and the input files with their sizes in bytes."""
    from nc_core.sources import DatasetSource, FileSource, expand_inputs

    if dataset is not None:
        if inputs:
            raise UsageError("give files or --dataset, not both")
        from nc_core.datasets.opening import open_dataset

        yield DatasetSource(open_dataset(dataset, current_session().plugins), limit), []
        return
    if not inputs:
        raise UsageError("nothing to compress", "give files or folders, or --dataset NAME")
    if limit is not None:
        raise UsageError("--limit needs --dataset")
    with _standard_input(inputs) as paths:
        files = expand_inputs(paths)
        yield FileSource(files), [(file, file.stat().st_size) for file in files]


@contextmanager
def _standard_input(inputs: tuple[Path, ...]) -> Iterator[list[Path]]:
    """The inputs, - replaced by a file, which errors then call standard input."""
    count = sum(str(path) == "-" for path in inputs)
    if count == 0:
        yield list(inputs)
        return
    if count > 1:
        raise UsageError("standard input can be read only once", "give - once")
    with temporary_folder() as folder:
        spool = folder / _STDIN_NAME
        with spool.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        with _called(spool, "standard input"):
            yield [spool if str(path) == "-" else path for path in inputs]


@contextmanager
def _called(path: Path, name: str) -> Iterator[None]:
    """Errors name a temporary file as the user knows it."""
    try:
        yield
    except InterruptedWorkError as error:
        if str(path) not in error.message:
            raise
        # The unfinished file goes with its folder, so there is nothing to resume.
        raise InterruptedWorkError("interrupted; nothing was written") from error
    except NcError as error:
        message = error.message.replace(str(path), name)
        raise type(error)(message, error.hint) from error


def _default_target(inputs: tuple[Path, ...]) -> Path:
    if len(inputs) != 1 or str(inputs[0]) == "-":
        raise UsageError("say where to write", "-o FILE.ncz")
    resolved = inputs[0].resolve()
    return (
        resolved.with_name(f"{resolved.name}.ncz")
        if inputs[0].name in {"", ".."}
        else (inputs[0].with_name(f"{inputs[0].name}.ncz"))
    )


def _report(
    target: str, rate: Rate, sizes: list[tuple[Path, int]], model: str, led: int | None
) -> Iterator[str]:
    count = rate.total_bits // 8
    yield f"{target}: {count:,} bytes, {rate.bits_per_dim:.3f} bits per sample" + (
        f", {rate.bits_per_pixel:.3f} per pixel" if rate.bits_per_pixel is not None else ""
    )
    before = sum(size for _, size in sizes)
    if before:
        what = f"{len(sizes)} files" if len(sizes) > 1 else sizes[0][0].name
        what = "standard input" if what == _STDIN_NAME else what
        yield f"{100 * count / before:.1f} % of {what} ({before:,} bytes)"
        if count > before:
            yield _growth(sizes)
    if led == rate.items:
        yield f"too few images for model '{model}': all were coded by 'predictive', which leads in"
    seconds = f"encoded in {rate.encode_seconds:.2f} s"
    if rate.verified:
        seconds += f", decoded and compared in {rate.decode_seconds:.2f} s: identical"
    yield seconds


def _growth(sizes: list[tuple[Path, int]]) -> str:
    lossy = any(path.suffix.lower() in {".jpg", ".jpeg", ".webp"} for path, _ in sizes)
    if lossy:
        return "larger than before: a lossy file grows when its decoded pixels are kept exactly"
    return "larger than before: these pixels do not compress with this model"

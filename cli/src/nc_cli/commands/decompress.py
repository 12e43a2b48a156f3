"""``nc decompress``: the files that a container holds, checked to the last bit."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import print_json, print_text
from nc_core.command_line.progress import cumulative, progress
from nc_core.errors import CorruptFileError, DataError, PartlyRestoredError, UsageError
from nc_core.staging import temporary_folder

if TYPE_CHECKING:
    from nc_core.restore import OpenContainer

__all__ = ["command"]

_log = logging.getLogger(__name__)
_KEEP_GOING = "--keep-going restores what is left of it"


@click.command(
    "decompress",
    epilog=options.examples(
        "nc decompress photo.png.ncz -o restored  # writes restored/photo.png",
        "nc decompress digits.ncz --item 17  # that item only, without decoding the others",
        "cat photo.ncz | nc decompress - -o - > photo.png",
    ),
)
@click.argument("file", metavar="FILE.ncz", type=options.FilePath())
@options.out("DIR", "Folder to write to; by default the folder of the file, - for standard output.")
@click.option("--item", "items", type=click.IntRange(min=0), multiple=True, metavar="N",
              help="Restore only item N, counted from 0; may be repeated.")  # fmt: skip
@click.option(
    "--keep-going",
    is_flag=True,
    help="Restore what a damaged file still gives; lost items of a dataset are zeros.",
)
@options.model(help_text="Model to decode with; by default the one that the file names by its id.")
@options.threads()
@click.option("--resume", is_flag=True, help="Go on with what an interrupted run left.")
@options.force()
@options.json_output()
def command(
    file: Path,
    out: Path | None,
    items: tuple[int, ...],
    keep_going: bool,
    model: str | None,
    threads: int,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Restore what a compressed file holds.

    Images come back as PNG under their own names (photo.jpg as photo.jpg.png), a dataset as one
    .npy file, or as PNG files where the sizes of its images differ. Every file is compared with
    its checksum; either all are written or none. With --keep-going a damaged file ends in exit
    code 5 too, after what is left was written.
    """
    restore = partial(
        _restore, file, model=model, items=items or None, keep_going=keep_going, threads=threads
    )
    to_stdout = out is not None and str(out) == "-"
    if to_stdout and as_json:
        raise UsageError("the file and the JSON document cannot both go to standard output")
    if to_stdout and resume:
        raise UsageError("--resume has no meaning for standard output", "leave it out")
    start = time.perf_counter()
    if to_stdout:
        with temporary_folder() as folder:
            try:
                paths = restore(folder, single=True, journal_seconds=None)
            except PartlyRestoredError as error:
                _copy_to_stdout(error.paths[0])
                raise
            _copy_to_stdout(paths[0])
        return
    folder_path = out if out is not None else (Path() if str(file) == "-" else file.parent)
    if folder_path.exists() and not folder_path.is_dir():
        raise DataError(f"{folder_path}: not a folder", "give a folder, new or existing: -o DIR")
    try:
        paths = restore(folder_path, force=force, resume=resume)
    except PartlyRestoredError as error:
        _report(error.paths, time.perf_counter() - start, as_json, error)
        raise
    seconds = time.perf_counter() - start
    _report(paths, seconds, as_json)
    if as_json:
        return
    files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
    click.echo(f"nc: {files} restored and verified in {seconds:.2f} s", err=True)


def _copy_to_stdout(path: Path) -> None:
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)


def _report(
    paths: list[Path], seconds: float, as_json: bool, partly: PartlyRestoredError | None = None
) -> None:
    """Say on standard output what was written."""
    if not as_json:
        for path in paths:
            print_text(str(path))
        return
    print_json(
        {
            "schema": "nc.decompress/1",
            "files": [str(path) for path in paths],
            "lost_items": [] if partly is None else partly.lost,
            "decode_seconds": seconds,
            "verified": partly is None,
        }
    )


def _restore(
    file: Path,
    folder: Path,
    *,
    model: str | None,
    items: tuple[int, ...] | None,
    keep_going: bool,
    threads: int,
    single: bool = False,
    **options: Any,
) -> list[Path]:
    from nc_core.restore import restore_files

    with _opened(file) as (stream, name):
        container = _container(stream, name, model, keep_going)
        header = container.header
        _log.info("%s: model %s (id %s), coder %s", name, header.model, header.model_id[:12],
                  header.coder)  # fmt: skip
        container.check_items(items or ())
        content = header.content
        count = len(set(items)) if items else len(content.file_names)
        if single and count > 1:
            raise UsageError(f"{name}: {count} files", "give a folder for them: -o DIR")
        samples = content.dims if items is None else sum(content[i].dims for i in set(items))
        try:
            resumed = bool(options.get("resume"))
            with progress("decompressing", samples, "samples", resumed=resumed) as advance:
                return restore_files(
                    container, folder,
                    wanted=items, keep_going=keep_going,
                    threads=threads, progress=cumulative(advance), **options,
                )  # fmt: skip
        except CorruptFileError as error:
            if not keep_going and error.hint is None and len(container.reader.chunk_lengths) > 1:
                error.hint = _KEEP_GOING
            raise


def _container(stream: BinaryIO, name: str, model: str | None, keep_going: bool) -> OpenContainer:
    """The open container; the error for one without its end says what helps, if that does."""
    from nc_core.restore import open_container

    try:
        return open_container(stream, name, model, current_session().plugins, partial=keep_going)
    except CorruptFileError as error:
        if not keep_going and error.hint is None and _keeps_chunks_without_end(stream, name):
            error.hint = _KEEP_GOING
        raise


def _keeps_chunks_without_end(stream: BinaryIO, name: str) -> bool:
    """Whether only the end of a container is damaged or missing, behind whole chunks of items."""
    from nc_core.chunks import CODE
    from nc_core.container import ContainerReader

    try:
        reader = ContainerReader(stream, name, partial=True)
    except CorruptFileError:
        return False
    kinds = map(reader.chunk_type, range(len(reader.chunk_lengths)))
    return reader.damage is not None and CODE in kinds


@contextmanager
def _opened(file: Path) -> Iterator[tuple[BinaryIO, str]]:
    """The container as a seekable file, and what to call it."""
    if str(file) != "-":
        with file.open("rb") as stream:
            yield stream, str(file)
        return
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        yield spool, "standard input"

"""``nc compare``: models beside classical codecs, on the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import (
    format_table,
    print_heading,
    print_json,
    print_table,
    print_text,
)
from nc_core.command_line.progress import Advance, progress
from nc_core.errors import InterruptedWorkError, UsageError

if TYPE_CHECKING:
    from nc_cli.comparing import Subject
    from nc_core.comparison import Comparison, Row

__all__ = ["command"]

# What a terminal has room for; JSON and CSV hold all.
_OUTCOME_TITLES = {
    "name": "what", "model": "model", "order": "order", "items": "items", "total_bytes": "bytes",
    "bits_per_dim": "bits/dim", "bound_bits_per_dim": "bound", "bits_per_dim_marginal": "marginal",
    "initial_bits": "initial bits", "encode_seconds": "encode", "decode_seconds": "decode",
    "peak_memory_bytes": "memory, bytes", "steps": "steps", "seconds_per_step": "s/step",
    "evaluated": "minimised", "value": "best",
}  # fmt: skip
_COLOURS = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGB with alpha"}


@click.command(
    "compare",
    epilog=options.examples(
        "nc compare                               # a sample photograph",
        "nc compare photo.png -o comparison       # keeps the file, a table and a figure",
        "nc compare --dataset mnist:test --limit 1000 --codec png --codec webp",
        "nc compare a.ncz b.ncz runs/digits --plot rates.svg",
    ),
)
@options.inputs()
@options.dataset()
@options.limit()
@click.option(
    "--model",
    "model_names",
    multiple=True,
    default=["predictive"],
    show_default="predictive",
    metavar="NAME|PATH",
    help="Model to compare; repeat for several. 'nc list models' shows them.",
)
@options.coder("rans")
@click.option(
    "--codec",
    "codec_names",
    multiple=True,
    show_default="all of them",
    metavar="NAME",
    help="Classical codec to compare with (png, jpeg-xl-7, ...); repeat for several.",
)
@options.out(
    "DIR",
    "Keep here the .ncz file, the decoded images, and compare.csv, .json and .png.",
)
@click.option(
    "--plot",
    type=options.FilePath(dir_okay=False),
    metavar="FILE",
    help="Draw the figure here: .png, .svg or .pdf, with its data beside it as .csv.",
)
@options.force()
@options.json_output()
def command(
    inputs: tuple[Path, ...],
    dataset: str | None,
    limit: int | None,
    model_names: tuple[str, ...],
    coder: str,
    codec_names: tuple[str, ...],
    out: Path | None,
    plot: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare models with classical lossless codecs on the same pixels.

    INPUT is an image or a folder of images; without one, a sample photograph that comes with
    matplotlib. Every codec really codes, everything is decoded and compared, and the sizes are
    those of complete files: of one file per image for image codecs, of one stream of all raw
    samples for gzip and its like. All use one thread.

    INPUTs that are .ncz files, run directories or what --json printed are put side by side
    instead, with the rates and times that they hold: nothing is coded.
    """
    from nc_core.outcomes import is_outcome

    if any(is_outcome(path) for path in inputs):
        _compare_outcomes(inputs, dataset, out, plot, force, as_json)
        return
    from nc_cli.comparing import FigureFile, OutputFolder, find_models, find_subject
    from nc_core.comparison import compare
    from nc_core.evaluators.codecs import find_codecs
    from nc_core.models import load_coder

    plugins = current_session().plugins
    codecs = find_codecs(codec_names)
    models = find_models(model_names, plugins, keep=out is not None)
    subject = find_subject(inputs, dataset, limit, plugins)
    figure = None if plot is None else FigureFile(plot, force)
    with OutputFolder(out, subject, list(models), force) as folder:
        with _steps() as report:
            comparison = compare(
                subject.source,
                subject.name,
                list(models.values()),
                load_coder(coder, plugins),
                files=folder.containers,
                input_bytes=subject.input_bytes,
                binary=subject.binary,
                codecs=codecs,
                progress=report,
            )
        folder.fill(comparison, plugins)
    if figure is not None:
        figure.draw(comparison)
    if as_json:
        print_json(comparison.to_json())
    else:
        _print_comparison(subject, comparison, out, plot)


def _compare_outcomes(
    paths: tuple[Path, ...],
    dataset: str | None,
    out: Path | None,
    plot: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Put side by side what files and runs hold."""
    from nc_cli.comparing import OutcomeFiles
    from nc_core.outcomes import OUTCOMES_SCHEMA, is_outcome, read_outcomes

    images = [path for path in paths if not is_outcome(path)]
    if images or dataset is not None:
        raise UsageError(
            f"{images[0] if images else '--dataset'} is neither a .ncz file nor a run directory",
            "compare either images, or compressed files and runs",
        )
    files = OutcomeFiles(out, plot, force)
    rows = [row for path in paths for row in read_outcomes(path)]
    files.write(rows)
    if as_json:
        print_json({"schema": OUTCOMES_SCHEMA, "rows": [row.to_json() for row in rows]})
        return
    shown = [
        name for name in _OUTCOME_TITLES if any(row.to_json()[name] is not None for row in rows)
    ]
    print_table(
        [[_cell(name, row.to_json()[name]) for name in shown] for row in rows],
        [_OUTCOME_TITLES[name] for name in shown],
    )
    for path in files.paths:
        print_text(f"wrote {path}")


def _cell(name: str, value: Any) -> Any:
    if name.endswith("seconds") and value is not None:
        from nc_core.plots import format_seconds

        return format_seconds(value)
    if name in ("initial_bits", "total_bytes", "peak_memory_bytes") and value is not None:
        return f"{value:,.0f}"
    return round(value, 4) if isinstance(value, float) else value


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """Progress over the steps of a comparison, whose number the first report tells."""
    with ExitStack() as stack:
        advance: Advance | None = None
        reached = 0

        def report(_title: str, done: int, total: int) -> None:
            nonlocal advance, reached
            if advance is None:
                advance = stack.enter_context(progress("comparing", total, "steps"))
            advance(done - reached)
            reached = done

        try:
            yield report
        except InterruptedWorkError as error:
            # The unfinished file is dropped with the others, so there is nothing to resume.
            raise InterruptedWorkError("interrupted; nothing was written") from error


def _print_comparison(
    subject: Subject, comparison: Comparison, out: Path | None, plot: Path | None
) -> None:
    """Print what was compared, the table, and what to make of it."""
    for index, line in enumerate(_introduction(subject, comparison)):
        (print_text if index else print_heading)(line)
    print_text()
    _print_rows(comparison)
    print_text()
    for line in _conclusion(subject, comparison, out, plot):
        print_text(line)


def _introduction(subject: Subject, comparison: Comparison) -> Iterator[str]:
    content = subject.source.content
    first = content[0]
    noun = "images" if subject.files else "items"
    parts = [] if len(content) == 1 else [f"{len(content):,} {noun}"]
    if comparison.pixels is None:
        parts.append(f"{comparison.dims:,} samples")
    elif len(content) == 1:
        channels, height, width = first.planes
        colours = _COLOURS.get(channels, f"{channels} channels")
        bits = 16 if first.dtype == "uint16" else 8
        parts += [f"{width} x {height} pixels", f"{colours}, {bits} bits per sample"]
    else:
        parts.append(f"{comparison.pixels:,} pixels")
    yield f"{subject.name}: {', '.join(parts)}, {comparison.raw_bytes:,} bytes uncompressed"
    if subject.is_sample:
        yield "This is a sample photograph from matplotlib; give your own: nc compare photo.png"
    if subject.jpeg_bytes:
        what = "It is a JPEG" if len(subject.files) == 1 else "Among the files are JPEGs"
        yield (
            f"{what} of {subject.jpeg_bytes:,} bytes, which is lossy. "
            "Compared is what it takes to keep the decoded pixels exactly."
        )


def _print_rows(comparison: Comparison) -> None:
    """The codecs that have numbers, ours in colour on a terminal, and the reasons of the others."""
    rows = [row for row in comparison.rows if row.total_bytes is not None]
    titles = ("codec", "bytes", "bits/sample", "of PNG", "encode", "decode", "exact")
    cells = [_cells(comparison, row) for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    aligned = [
        [cell.rjust(size) if 0 < place < 6 else cell for place, (cell, size) in
         enumerate(zip(line, widths, strict=True))]
        for line in (titles, *cells)
    ]  # fmt: skip
    heading, *lines = format_table(aligned[1:], aligned[0])
    print_heading(heading)
    for row, line in zip(rows, lines, strict=True):
        print_text(click.style(line, fg="cyan", bold=True) if row.kind == "nc" else line)
    reasons: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.reason is not None:
            reasons.setdefault(row.reason, []).append(row.title)
    for reason, names in reasons.items():
        print_text(f"not measured: {', '.join(names)} ({reason})")


def _cells(comparison: Comparison, row: Row) -> list[str]:
    from nc_core.plots import format_seconds

    ratio = comparison.ratio_to_png(row)
    return [
        row.title,
        f"{row.total_bytes:,}",
        f"{row.bits_per_dim:.3f}",
        "-" if ratio is None else f"{100 * ratio:.1f} %",
        format_seconds(row.encode_seconds or 0.0),
        format_seconds(row.decode_seconds or 0.0),
        "yes" if row.verified else "no",
    ]


def _conclusion(
    subject: Subject, comparison: Comparison, out: Path | None, plot: Path | None
) -> Iterator[str]:
    samples = "samples" if comparison.pixels is None else "pixels"
    for row in comparison.rows:
        if row.kind == "nc":
            wrote = "" if out is None or row.file is None else f" wrote {out / row.file}"
            size = f"{row.total_bytes:,} bytes{_against_png(comparison, row)}"
            yield f"{row.title}{wrote}: {size}"
            yield f"  decoded and compared: exactly the same {samples}"
    if out is not None:
        yield f"Also in {out}: decoded (what the file decodes to), compare.csv, .json and .png"
    if plot is not None:
        yield f"Drawn: {plot}"
    if out is None and plot is None:
        yield "-o DIR keeps the compressed file, what it decodes to, this table and a figure"


def _against_png(comparison: Comparison, row: Row) -> str:
    ratio = comparison.ratio_to_png(row)
    if ratio is None:
        return ""
    word = "smaller" if ratio <= 1 else "larger"
    return f", {100 * abs(1 - ratio):.1f} % {word} than PNG"

"""One look for every figure, and files that are whole or not there.

matplotlib is imported when a figure is drawn, and its global state stays as it is: settings
hold inside :func:`look` only, and figures are objects of their own, never pyplot's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nc_core.errors import MissingDependencyError, UsageError
from nc_core.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nc_core.comparison import Comparison, Row

__all__ = [
    "FORMATS",
    "Colours",
    "check_suffix",
    "draw_comparison",
    "format_seconds",
    "look",
    "save_figure",
    "write_csv",
]

FORMATS = (".png", ".svg", ".pdf")
"""Suffixes of figures that can be saved."""


class Colours:
    """The palette: one accent for what is ours, quiet tones for what it is compared with."""

    ours = "#0b7a75"
    other = "#8795a5"
    background = "#c8d0d8"
    text = "#22303c"
    quiet = "#5f6f7e"
    grid = "#e4e8ec"


_SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": Colours.background,
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.labelcolor": Colours.quiet,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": Colours.text,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": Colours.grid,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 200,
    # Identifiers inside an SVG are random by default: equal data should give equal files.
    "svg.hashsalt": "nc",
    "text.color": Colours.text,
    "xtick.color": Colours.quiet,
    "xtick.labelsize": 8,
    "ytick.color": Colours.text,
    "ytick.labelsize": 9,
}
# Dates and versions would make equal figures differ.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in the project's look: fonts, colours, grid, layout; restored on leaving.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib, which is not installed", "pip install 'nc-core[plots]'"
        ) from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def check_suffix(path: Path) -> str:
    """The suffix of a figure's path, in lower case.

    Raises:
        UsageError: a format that cannot be saved.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"{path}: figures cannot be saved as '{path.suffix}'", f"use {', '.join(FORMATS)}"
        )
    return suffix


def save_figure(
    figure: Figure, path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> tuple[Path, Path]:
    """Save a figure, and beside it the data that it shows, as CSV.

    Args:
        figure: drawn inside :func:`look`.
        path: ``.png``, ``.svg`` or ``.pdf``; an existing file is replaced.
        columns: names of the columns, with units.
        rows: the data; None gives an empty cell.

    Returns:
        paths of the figure and of the CSV file.

    Raises:
        UsageError: another suffix.
        DataError: a file cannot be written.
    """
    suffix = check_suffix(path)
    buffer = io.BytesIO()
    with look():
        figure.savefig(buffer, format=suffix[1:], metadata=_METADATA[suffix])
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    table = path.with_suffix(".csv")
    write_csv(table, columns, rows)
    return path, table


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table in UTF-8, whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def draw_comparison(comparison: Comparison) -> Figure:
    """Sizes as bars, the smallest on top, and the time to encode beside them.

    Args:
        comparison: rows without numbers are left out.

    Returns:
        a figure with two panels: bits per sample, and seconds on a logarithmic axis.
    """
    rows = [row for row in comparison.rows if row.total_bytes is not None]
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.4, 1.3 + 0.3 * len(rows)))
        sizes, times = figure.subplots(1, 2, sharey=True, width_ratios=(1.6, 1))
        _draw_sizes(sizes, rows)
        _draw_times(times, rows)
        colours = [_colour(row) for row in rows]
        sizes.set_yticks(range(len(rows)), [row.title for row in rows])
        sizes.invert_yaxis()
        for label, colour in zip(sizes.get_yticklabels(), colours, strict=True):
            if colour == Colours.ours:
                label.set(color=colour, fontweight="bold")
        pixels = "" if comparison.pixels is None else f", {comparison.pixels:,} pixels"
        items = f"{comparison.items:,} items, " if comparison.items > 1 else ""
        figure.suptitle(
            f"Lossless coding of {comparison.source}  "
            f"({items}{comparison.dims:,} samples{pixels})",
            x=0.01, ha="left", fontsize=9, color=Colours.quiet,
        )  # fmt: skip
    return figure


def _draw_sizes(axes: Axes, rows: Sequence[Row]) -> None:
    bits = [row.bits_per_dim or 0.0 for row in rows]
    axes.barh(range(len(rows)), bits, color=[_colour(row) for row in rows], height=0.66)
    for place, (row, value) in enumerate(zip(rows, bits, strict=True)):
        axes.annotate(
            f"{value:.3f}", (value, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8, fontweight="bold" if row.kind == "nc" else "normal",
        )  # fmt: skip
    axes.set(title="Size", xlabel="bits per sample", xlim=(0, 1.12 * max(bits, default=1.0)))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _draw_times(axes: Axes, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    places = range(len(rows))
    encode = [max(row.encode_seconds or 0.0, 1e-6) for row in rows]
    decode = [max(row.decode_seconds or 0.0, 1e-6) for row in rows]
    colours = [_colour(row) for row in rows]
    axes.hlines(places, decode, encode, color=colours, linewidth=1.4)
    axes.scatter(decode, places, s=22, color="white", edgecolors=colours, linewidths=1.4, zorder=3)
    axes.scatter(encode, places, s=30, color=colours, zorder=4)
    for place, (first, second) in enumerate(zip(encode, decode, strict=True)):
        axes.annotate(
            format_seconds(first), (max(first, second), place), xytext=(7, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(min([*encode, *decode], default=1.0) / 2, 8 * max([*encode, *decode], default=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(title="Time, one thread", xlabel="seconds: encode (dots), decode (rings)")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _colour(row: Row) -> str:
    return {"nc": Colours.ours, "image": Colours.other}.get(row.kind, Colours.background)


def format_seconds(seconds: float) -> str:
    """A time with two digits: ``1.2 ms``, ``45 ms``, ``3.1 s``, ``210 s``."""
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{_two_digits(seconds * factor)} {unit}"
    return f"{_two_digits(seconds)} s"


def _two_digits(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"

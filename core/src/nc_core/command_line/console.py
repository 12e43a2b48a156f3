"""What the user sees: results on standard output, everything else on standard error."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

__all__ = [
    "format_bytes",
    "format_table",
    "label_logged_warnings",
    "log_to_stderr",
    "note",
    "print_heading",
    "print_json",
    "print_table",
    "print_text",
    "warn",
]

_GAP = "  "
_NARROWEST = 24  # columns that the last column of a table keeps, however narrow the terminal


def print_text(text: str = "") -> None:
    """Print one line of a result; colours go to a terminal only, and none under ``NO_COLOR``."""
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)


def print_heading(text: str) -> None:
    """Print the title of a part of a result, bold on a terminal."""
    print_text(click.style(text, bold=True))


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document; NaN and infinities, which JSON does not have, become null."""
    import json

    click.echo(json.dumps(_plain(document), indent=2, allow_nan=False))


def print_table(rows: Sequence[Sequence[Any]], headers: Sequence[str] = ()) -> None:
    """Print rows in aligned columns, wrapped to the terminal; elsewhere one line per row.

    Args:
        rows: cells; floats and integers stand to the right, None is printed as ``-``.
        headers: titles of the columns; none by default.
    """
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = format_table(rows, headers, width)
    if headers:
        print_heading(lines.pop(0))
    for line in lines:
        print_text(line)


def format_table(
    rows: Sequence[Sequence[Any]], headers: Sequence[str] = (), width: int | None = None
) -> list[str]:
    """The lines of a table; see :func:`print_table`.

    Args:
        rows: cells, in equal number per row.
        headers: titles of the columns.
        width: wrap the last column so that lines have at most this many characters.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    columns = list(zip(*([list(headers)] if headers else []), *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [any(_is_number(row[index]) for row in rows) for index in range(len(widths))]
    lines = []
    for row in [list(headers), *cells] if headers else cells:
        padded = [
            cell.rjust(size) if to_right else cell.ljust(size)
            for cell, size, to_right in zip(row, widths, right, strict=True)
        ]
        lines += _wrapped(_GAP.join([*padded[:-1], ""]), padded[-1], width)
    return lines


def _wrapped(start: str, last: str, width: int | None) -> list[str]:
    """The lines of one row: the last cell is wrapped beside the others."""
    if width is None or len(start) + len(last.rstrip()) <= width:
        return [(start + last).rstrip()]
    import textwrap

    parts = textwrap.wrap(last, max(width - len(start), _NARROWEST)) or [""]
    return [(start if index == 0 else " " * len(start)) + part for index, part in enumerate(parts)]


def format_bytes(count: int) -> str:
    """A number of bytes for people: ``532 bytes``, ``1.5 MB`` (of 1000 x 1000 bytes)."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.95:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def note(message: str) -> None:
    """Tell the user on standard error what a reader of the result should know."""
    click.echo(f"nc: note: {message}", err=True)


def warn(message: str) -> None:
    """Tell the user on standard error something that is not an error."""
    click.echo(f"nc: warning: {message}", err=True)


def label_logged_warnings() -> None:
    """Give warnings that are logged, while nothing else shows them, the form of :func:`warn`."""
    import logging

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter("nc: warning: %(message)s"))


@contextmanager
def log_to_stderr(verbosity: int) -> Iterator[None]:
    """Show what nc's packages log while the block runs.

    Args:
        verbosity: 1 for what is being done, 2 for details; warnings of other libraries too.
    """
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("nc: %(message)s"))
    handler.addFilter(
        lambda record: record.name.startswith("nc_") or record.levelno >= logging.WARNING
    )
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "dtype"):  # a NumPy scalar or array
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cell(value: Any) -> str:
    """The text of a cell."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    """Whether a cell stands to the right."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)

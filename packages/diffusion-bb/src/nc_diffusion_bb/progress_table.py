"""``progress.csv`` and ``log.txt`` of a run directory: its metrics with the original's keys.

Both are written anew from ``metrics.jsonl`` each time, so that a run that goes on repeats nothing.
The one has a record in each row, the other each record as a small table of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nc_core.errors import DataError
from nc_core.files import atomic_write
from nc_core.plots import write_csv
from nc_core.runs import RunDirectory, is_main_process

__all__ = ["kept_progress"]

_SECONDS = 30.0
_SHARE = 0.01  # of the time, that writing may take

_log = logging.getLogger(__name__)


@contextmanager
def kept_progress(
    run: RunDirectory, keys: Sequence[str], phase: str | None = None
) -> Iterator[Callable[[], None]]:
    """Keep both files up to date while a block runs, and write them when it ends, even by an error.

    Gives a function to call after each record: it writes, but seldom more than twice a minute. Only
    the first process does. Where it cannot, it warns once: the metrics are there without it.

    Args:
        run: whose metrics they are.
        keys: columns in their order; those that no record has are left out.
        phase: of the records.
    """
    due, is_warned = 0.0, False

    def write() -> None:
        nonlocal is_warned
        if not is_main_process():
            return
        try:
            _write(run, keys, phase)
        except DataError as error:
            if not is_warned:
                _log.warning("%s; it goes on without the table of progress", error.message)
            is_warned = True

    def refresh() -> None:
        nonlocal due
        began = time.monotonic()
        if began < due:
            return
        write()
        now = time.monotonic()
        due = now + max(_SECONDS, (now - began) / _SHARE)

    try:
        yield refresh
    finally:
        write()


def _write(run: RunDirectory, keys: Sequence[str], phase: str | None) -> None:
    """Write both files, as far as ``metrics.jsonl`` goes."""
    records = [record for record in run.metrics() if record.get("phase") == phase]
    columns = [key for key in keys if not records or any(key in record for record in records)]
    rows = ([record.get(key) for key in columns] for record in records)
    write_csv(run.path / "progress.csv", columns, rows)
    boxes = (_box([(key, record.get(key)) for key in columns]) for record in records)
    with atomic_write(run.path / "log.txt") as file:
        file.write("\n".join(boxes).encode())


def _box(values: Sequence[tuple[str, Any]]) -> str:
    """Names and values in a frame, a line each."""
    cells = [(name, _short(value)) for name, value in values if value is not None]
    left, right = (max((len(cell[i]) for cell in cells), default=0) for i in (0, 1))
    lines = [f"| {name:{left}} | {text:{right}} |\n" for name, text in cells]
    edge = "-" * (left + right + 7) + "\n"
    return edge + "".join(lines) + edge


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"

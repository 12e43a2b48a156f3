"""``progress.csv`` of a run directory: its metrics with the original's keys, one record a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nc_core.plots import write_csv
from nc_core.runs import RunDirectory, is_main_process

__all__ = ["kept_progress", "write_progress"]


def write_progress(run: RunDirectory, keys: Sequence[str], phase: str | None = None) -> None:
    """Write the table anew from ``metrics.jsonl``, as far as that goes.

    Args:
        run: whose metrics they are.
        keys: columns in their order; those that no record has are left out.
        phase: of the records.

    Raises:
        DataError: something cannot be read or written.
    """
    records = [record for record in run.metrics() if record.get("phase") == phase]
    columns = [key for key in keys if not records or any(key in record for record in records)]
    rows = ([record.get(key) for key in columns] for record in records)
    write_csv(run.path / "progress.csv", columns, rows)


@contextmanager
def kept_progress(run: RunDirectory, keys: Sequence[str], phase: str) -> Iterator[None]:
    """Write the table when the block ends, be it by an error; the first process does."""
    try:
        yield
    finally:
        if is_main_process():
            write_progress(run, keys, phase)

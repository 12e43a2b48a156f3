"""What commands that go on after a kill have in common: the interruption, and a finished result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nc_core.chunk_journal import HOW_TO_RESUME
from nc_core.errors import DataError, InterruptedWorkError
from nc_core.runs import RunDirectory
from nc_core.signals import give_back, take_over

__all__ = ["finished_records", "interruptible"]


@contextmanager
def interruptible(run: RunDirectory, kept: str = "what is done is kept") -> Iterator[None]:
    """A block that Ctrl-C or SIGTERM ends.

    Args:
        run: where something is kept.
        kept: what that is, for the message.

    Raises:
        InterruptedWorkError: that has happened.
    """
    before = take_over(("SIGTERM",), _interrupt)
    try:
        yield
    except (KeyboardInterrupt, InterruptedWorkError) as error:
        raise InterruptedWorkError(f"{run.path}: interrupted; {kept}", HOW_TO_RESUME) from error
    finally:
        give_back(before)


def finished_records(run: RunDirectory, name: str) -> list[dict[str, Any]] | None:
    """The result of that name; None of a run that has not come to its end.

    Raises:
        DataError: it is damaged.
    """
    path = run.path / "results" / f"{name}.json"
    if not path.exists():
        return None
    try:
        records: list[dict[str, Any]] = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: damaged results") from error
    return records


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt

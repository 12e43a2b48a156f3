"""Progress of long work: a bar on a terminal, plain lines at intervals elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from nc_core.command_line.console import format_bytes

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Advance", "cumulative", "progress", "reported_progress"]

Advance = Callable[[float], None]

_DELAY_SECONDS = 0.5  # work that ends sooner shows no bar, and does not pay for importing one


def progress(
    title: str, total: float | None, unit: str = "items", *, interval_seconds: float = 10.0
) -> AbstractContextManager[Advance]:
    """Report progress on standard error while a block runs.

    Args:
        title: what is being done (``"compressing"``).
        total: amount of work; None where it is not known.
        unit: what is counted; ``"bytes"`` are shown in kB and MB.
        interval_seconds: time between two lines where there is no terminal.

    Returns:
        A context manager; it gives the function that is called with each amount done.

    Example:
        >>> with progress("compressing", total=3) as advance:
        ...     for _ in range(3):
        ...         advance(1)
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _bar(title, total, unit)
    return _lines(title, total, unit, interval_seconds)


def cumulative(advance: Advance) -> Callable[[float, float], None]:
    """For work that reports (amount done so far, total) instead of each amount."""
    reached = 0.0

    def report(done: float, _total: float) -> None:
        nonlocal reached
        advance(done - reached)
        reached = done

    return report


@contextmanager
def reported_progress(title: str, unit: str) -> Iterator[Callable[[float, float], None]]:
    """Report progress of work that says itself how much is done, and how much there is in all.

    Example:
        >>> with reported_progress("training", "steps") as tell:
        ...     tell(1, 100)
    """
    with ExitStack() as stack:
        report: Callable[[float, float], None] | None = None

        def tell(done: float, total: float) -> None:
            nonlocal report
            if report is None:
                report = cumulative(stack.enter_context(progress(title, total, unit)))
            report(done, total)

        yield tell


@contextmanager
def _lines(title: str, total: float | None, unit: str, interval: float) -> Iterator[Advance]:
    """Progress as lines: amount, share and estimated time left."""
    started = last = time.monotonic()
    done = 0.0

    def advance(amount: float) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= interval:
            last = now
            left = _time_left(done, total, now - started)
            click.echo(f"nc: {title}: {_share(done, total, unit)}{left}", err=True)

    yield advance


@contextmanager
def _bar(title: str, total: float | None, unit: str) -> Iterator[Advance]:
    """Progress as a bar, which appears when the work turns out to be long."""
    started = time.monotonic()
    done = 0.0
    with ExitStack() as stack:
        bar: Progress | None = None

        def advance(amount: float) -> None:
            nonlocal bar, done
            done += amount
            if bar is None and time.monotonic() - started >= _DELAY_SECONDS:
                bar = stack.enter_context(_rich_bar())
                bar.add_task(title, total=total, share="", start=True)
            if bar is not None:
                task = bar.task_ids[0]
                bar.update(task, completed=done, share=_share(done, total, unit))

        yield advance


def _rich_bar() -> Progress:
    """A bar on standard error that disappears when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[share]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _share(done: float, total: float | None, unit: str) -> str:
    """How much is done: ``3 of 12 items (25%)``."""
    if unit == "bytes":
        amounts = [format_bytes(int(done)), "" if total is None else format_bytes(int(total))]
    else:
        amounts = [f"{done:,.0f}", "" if total is None else f"{total:,.0f}"]
    text = " of ".join(filter(None, amounts)) + ("" if unit == "bytes" else f" {unit}")
    return f"{text} ({done / total:.0%})" if total else text


def _time_left(done: float, total: float | None, seconds: float) -> str:
    """An estimate from the speed so far: ``, 34 s left``."""
    if total is None or done <= 0:
        return ""
    left = max(round(seconds * (total - done) / done), 0)
    hours, minutes = left // 3600, left % 3600 // 60
    if hours:
        return f", {hours} h {minutes} min left"
    return f", {minutes} min {left % 60} s left" if minutes else f", {left} s left"

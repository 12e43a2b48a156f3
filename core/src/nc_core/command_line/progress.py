"""Progress of long work: a bar on a terminal, plain lines at intervals elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
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
_LEAST_SHARE = 0.001  # of the work, before which it is mostly the start that takes time
_SHOWN_SECONDS = 0.1  # between two changes of a bar: a screen shows no more


def progress(
    title: str,
    total: float | None,
    unit: str = "items",
    *,
    interval_seconds: float = 10.0,
    resumed: bool = False,
) -> AbstractContextManager[Advance]:
    """Report progress on standard error while a block runs.

    Args:
        title: what is being done (``"compressing"``).
        total: amount of work; None where it is not known.
        unit: what is counted; ``"bytes"`` are shown in kB and MB.
        interval_seconds: time between two lines where there is no terminal.
        resumed: the first amount holds what an earlier run did, so that its time tells nothing.

    Returns:
        A context manager; it gives the function that is called with each amount done.

    Example:
        >>> with progress("compressing", total=3) as advance:
        ...     for _ in range(3):
        ...         advance(1)
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _bar(title, total, unit, resumed)
    return _lines(title, total, unit, interval_seconds, resumed)


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
        advance: Advance | None = None
        reached = 0.0

        def tell(done: float, total: float) -> None:
            nonlocal advance, reached
            if advance is None:  # how long this took is not known: a resumed job begins far on
                advance = stack.enter_context(progress(title, total, unit, resumed=True))
            advance(done - reached)
            reached = done

        yield tell


@contextmanager
def _lines(
    title: str, total: float | None, unit: str, interval: float, resumed: bool
) -> Iterator[Advance]:
    """Progress as lines: amount, share and estimated time left."""
    last = time.monotonic()
    pace = _Pace(resumed)

    def advance(amount: float) -> None:
        nonlocal last
        pace.add(amount)
        now = time.monotonic()
        if now - last >= interval:
            last = now
            left = pace.time_left(total)
            click.echo(f"nc: {title}: {_share(pace.done, total, unit)}{left}", err=True)

    yield advance


@contextmanager
def _bar(title: str, total: float | None, unit: str, resumed: bool) -> Iterator[Advance]:
    """Progress as a bar, which appears when the work turns out to be long."""
    due = time.monotonic() + _DELAY_SECONDS
    pace = _Pace(resumed)
    is_closed, closing = False, threading.Lock()
    with ExitStack() as stack:
        bar: Progress | None = None

        def advance(amount: float) -> None:
            with closing:
                # Another thread may still be at work when an error has ended the block.
                if not is_closed:
                    show(amount)

        def show(amount: float) -> None:
            nonlocal bar, due
            pace.add(amount)
            now = time.monotonic()
            if now < due and (bar is None or not pace.is_at(total)):
                return
            due = now + _SHOWN_SECONDS
            if bar is None:
                bar = stack.enter_context(_rich_bar())
                bar.add_task(title, total=total, share="", left="", start=True)
            share, left = _share(pace.done, total, unit), pace.time_left(total).lstrip(", ")
            bar.update(bar.task_ids[0], completed=pace.done, share=share, left=left)

        try:
            yield advance
        finally:
            with closing:
                is_closed = True


class _Pace:
    """How much is done, and how fast.

    Args:
        resumed: how long the first amount took is not known.
    """

    def __init__(self, resumed: bool) -> None:
        self.done = 0.0
        self._before = None if resumed else 0.0
        self._started = time.monotonic()

    def add(self, amount: float) -> None:
        """Count an amount."""
        self.done += amount
        if self._before is None:
            self._before, self._started = self.done, time.monotonic()

    def is_at(self, total: float | None) -> bool:
        """Whether all is done, as far as a sum of fractions tells."""
        return total is not None and math.isclose(self.done, total)

    def time_left(self, total: float | None) -> str:
        """An estimate: ``, 34 s left``; nothing where there is none yet."""
        worked = self.done - (self._before or 0.0)
        if total is None or worked < _LEAST_SHARE * total or worked <= 0:
            return ""
        seconds = time.monotonic() - self._started
        left = max(round(seconds * (total - self.done) / worked), 0)
        hours, minutes = left // 3600, left % 3600 // 60
        if hours:
            return f", {hours} h {minutes} min left"
        return f", {minutes} min {left % 60} s left" if minutes else f", {left} s left"


def _rich_bar() -> Progress:
    """A bar on standard error that disappears when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[share]}"),
        TextColumn("{task.fields[left]}"),
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

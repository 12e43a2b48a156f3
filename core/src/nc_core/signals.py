"""Signals taken over while a block runs, and given back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest", "give_back", "heeded", "take_over"]


def take_over(
    names: Iterable[str], handler: Callable[[int, FrameType | None], None]
) -> dict[int, Any]:
    """Let a function handle signals; outside of the main thread, where none may, nothing happens.

    Args:
        names: of signals; those that the system lacks, and a SIGHUP that is ignored, are left out:
            whoever starts with nohup wants to outlive the terminal.
        handler: called with number and frame.

    Returns:
        the handlers that were there before, for :func:`give_back`.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return before
    for name in names:
        number = getattr(signal, name, None)
        if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            continue
        before[number] = signal.signal(number, handler)
    return before


def give_back(before: Mapping[int, Any]) -> None:
    """Restore handlers that :func:`take_over` returned."""
    for number, handler in before.items():
        signal.signal(number, handler)


def heeded(stop: StopRequest, is_heeded: bool) -> AbstractContextManager[object]:
    """A block that looks at ``stop`` after every step, or that a signal interrupts as usual."""
    return stop if is_heeded else nullcontext()


class StopRequest:
    """A first signal asks the work of a block to stop at its next good moment.

    A second one raises KeyboardInterrupt at once, as usual. Outside of the main thread, where
    Python allows no handlers, nothing changes.

    Attributes:
        asked: whether there was a signal.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __enter__(self) -> Self:
        self._before = take_over(("SIGINT", "SIGTERM", "SIGHUP"), self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        give_back(self._before)

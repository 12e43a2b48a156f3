"""Signals taken over while a block runs, and given back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any

__all__ = ["give_back", "take_over"]


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

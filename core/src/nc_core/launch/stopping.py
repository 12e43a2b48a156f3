"""Ctrl-C and SIGTERM as a request to let the processes of a sweep end well."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequests"]


class StopRequests:
    """Counts signals while its block runs; outside of the main thread it counts none.

    Handlers of their own also give started programs the system's handling of Ctrl-C, which those
    of a program in the background would otherwise lack.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # Whoever starts with nohup wants to outlive the terminal.
                if number is None or (
                    name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN
                ):
                    continue
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

"""Ctrl-C and SIGTERM as a request to let the processes of a sweep end well."""

from __future__ import annotations

from types import FrameType, TracebackType
from typing import Any, Self

from nc_core.signals import give_back, take_over

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
        self._before = take_over(("SIGINT", "SIGTERM", "SIGHUP"), self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        give_back(self._before)

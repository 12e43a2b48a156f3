"""Ctrl-C and SIGTERM as a request to stop at the next good moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import torch
from lightning_fabric import Fabric

from nc_core.signals import give_back, take_over
from nc_core.training.shards import reduce

__all__ = ["Interrupts", "StoppedAtOnce"]

_AGREE_EVERY = 8


class StoppedAtOnce(BaseException):
    """Raised where a signal may end a block without waiting (:meth:`Interrupts.at_once`).

    Not KeyboardInterrupt, which a second signal raises anywhere: the state cannot be saved then.
    """


class Interrupts:
    """Remembers the first signal; a second one raises KeyboardInterrupt, as usual.

    Outside of the main thread, where Python allows no handlers, it does nothing.

    Args:
        fabric: the processes that have to agree.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._asked = False
        self._at_once = False
        self._before: dict[int, Any] = {}

    def agreed(self, step: int) -> bool:
        """Whether to stop after this step; the same answer in every process.

        Several processes ask each other only every few steps, since asking waits for all.
        """
        if self._fabric.world_size == 1:
            return self._asked
        if step % _AGREE_EVERY:
            return False
        asked = torch.tensor(float(self._asked), device=self._fabric.device)
        return bool(reduce(self._fabric, asked, "sum") > 0)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a first signal end this block with StoppedAtOnce, where one process is alone."""
        self._at_once = self._fabric.world_size == 1
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if self._at_once:
            raise StoppedAtOnce

    def __enter__(self) -> Interrupts:
        self._before = take_over(("SIGINT", "SIGTERM"), self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        give_back(self._before)

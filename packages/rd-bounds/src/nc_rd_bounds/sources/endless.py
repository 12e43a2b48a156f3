"""Samplers without end: row i is a function of (source, split, seed, i), drawn block by block."""

from __future__ import annotations

import copy
import threading
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nc_core.protocols import Layout

__all__ = ["Endless"]

_KEPT_BLOCKS = 8


class Endless(ABC):
    """A dataset whose rows are drawn from a counter-based generator.

    Every block of rows has a Philox stream of its own, so that any row can be had without those
    before it; the last few blocks are kept, since batches read rows in order. Splits and seeds
    have streams of their own.

    Args:
        name: full name of the dataset.
        stream: what is drawn, and of which split (``banana:train``).
        seed: 0 to 2^32 - 1.
        shape: of a row.
        block: rows per block; other sizes give other rows.
    """

    fields: tuple[str, ...] = ("data",)
    layout: Layout = "none"
    dtype: np.dtype[Any] = np.dtype(np.float32)
    range: tuple[float, float] = (float("-inf"), float("inf"))

    def __init__(
        self, name: str, stream: str, seed: int, shape: tuple[int, ...], block: int
    ) -> None:
        self.name = name
        self.shape: tuple[int | None, ...] = shape
        self._row = shape
        self._purpose = zlib.crc32(stream.encode())
        self._size = block
        self._start(seed)

    def _start(self, seed: int) -> None:
        self._seed = seed
        self._blocks: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    @abstractmethod
    def draw(self, generator: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Draw rows, (count, *shape); a function of the generator's state alone."""

    def with_seed(self, seed: int) -> Self:
        """The same source, with another seed."""
        other = copy.copy(self)
        other._start(seed)
        return other

    def __len__(self) -> int:
        raise TypeError(f"{self.name} has no end")

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        if index < 0:
            raise IndexError(index)
        return {self.fields[0]: self.rows(np.array([index]))[0]}

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of these indices, float32 (B, *shape); threads may call it at once."""
        blocks, places = np.divmod(np.asarray(indices, np.int64), self._size)
        rows = np.empty((len(blocks), *self._row), np.float32)
        for block in np.unique(blocks).tolist():
            chosen = blocks == block
            rows[chosen] = self._block(block)[places[chosen]]
        return rows

    def _block(self, block: int) -> NDArray[np.float32]:
        with self._lock:
            if block in self._blocks:
                self._blocks.move_to_end(block)
                return self._blocks[block]
        key = np.array([self._seed, self._purpose], np.uint64)
        counter = np.array([0, 0, 0, block], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
        drawn = self.draw(generator, self._size)
        with self._lock:
            self._blocks[block] = drawn
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return drawn

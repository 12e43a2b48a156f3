"""The smallest models that the engine accepts: raw samples, with bits back, with options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.bits_back import borrow, push_symbols
from nc_core.ans.distributions.uniform import Uniform
from nc_core.ans.message import Message
from nc_core.model_file import ModelFile
from nc_core.protocols import Block, Coder

# Numbers of 16 bits that a block of LendingModel takes from the message and gives back.
_LENT = 300


class RawModel:
    """Codes every sample uniformly, one lane per block."""

    name = "raw"
    id = "0" * 64
    package = ("nc-test", "1")
    arithmetic: Literal["exact", "float"] = "exact"
    tables = 1
    group: int | None = 3
    lanes = 3
    initial_words = 0
    block = Block((1, 2, 3, 4), None, None, 4096, ("uint8", "uint16"))

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        symbols = blocks.reshape(len(blocks), -1).T.astype(np.uint64)
        precision = 8 * blocks.itemsize
        coder.push_intervals(message, symbols, np.ones_like(symbols), precision)
        return float(symbols.size * precision)

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        symbols = coder.pop(
            message, Uniform(1 << 8 * dtype.itemsize, (int(np.prod(shape[1:])), shape[0]))
        )
        return symbols.T.reshape(shape).astype(dtype)

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        return np.full(len(blocks), 8.0 * blocks[0].nbytes)

    def probe(self) -> str:
        return "f" * 64


class BorrowingModel(RawModel):
    """Pops 100 words of 16 bits before it pushes the samples and these words twice over."""

    name = "borrowing"
    id = "1" * 64
    group = 2
    lanes = 2
    initial_words = 500

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        noise = coder.pop(message, Uniform(1 << 16, (100, len(blocks)))).astype(np.uint64)
        bits = super().push(coder, message, blocks)
        coder.push_intervals(message, noise, np.ones_like(noise), 16)
        coder.push_intervals(message, noise, np.ones_like(noise), 16)
        return bits + 16.0 * noise.size

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        coder.pop(message, Uniform(1 << 16, (100, shape[0])))
        noise = coder.pop(message, Uniform(1 << 16, (100, shape[0]))).astype(np.uint64)
        blocks = super().pop(coder, message, shape, dtype)
        coder.push_intervals(message, noise, np.ones_like(noise), 16)
        return blocks


class ChoosyModel(RawModel):
    """Borrows noise, as much as it is told, and returns it before or after it pushes the samples.

    Its options are ``noise``, 0 to 99 numbers of 16 bits for each block (default 2), and
    ``order``, ``noise-first`` (default) or ``noise-last``.
    """

    name = "choosy"
    id = "2" * 64

    def __init__(self, coding: Mapping[str, str] | None = None) -> None:
        self.coding: Mapping[str, str] = dict(coding or {})
        self._noise = int(self.coding.get("noise", 2))
        self._last = self.coding.get("order") == "noise-last"
        self.initial_words = 2 * self._noise

    def with_coding(self, options: Mapping[str, str]) -> ChoosyModel:
        told = dict(options)
        for key, value in options.items():
            if key == "noise" and value.isdecimal() and int(value) < 100:
                told[key] = str(int(value))
            elif key == "noise":
                raise ValueError(f"noise is 0 to 99 numbers, not '{value}'")
            elif key != "order":
                raise ValueError(f"no coding option '{key}'; it has 'noise' and 'order'")
            elif value not in {"noise-first", "noise-last"}:
                raise ValueError(f"no order '{value}'; it has 'noise-first' and 'noise-last'")
        return ChoosyModel(told)

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        uniform = Uniform(1 << 16, (self._noise, len(blocks)))
        noise = coder.pop(message, uniform)
        if self._last:
            bits = super().push(coder, message, blocks)
            coder.push(message, noise, uniform)
            return bits
        coder.push(message, noise, uniform)
        return super().push(coder, message, blocks)

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        if not self._last:
            return super().pop(coder, message, shape, dtype)
        uniform = Uniform(1 << 16, (self._noise, shape[0]))
        noise = coder.pop(message, uniform)
        blocks = super().pop(coder, message, shape, dtype)
        coder.push(message, noise, uniform)
        return blocks


def load_choosy(file: ModelFile) -> ChoosyModel:
    """The target of its record."""
    return ChoosyModel()


class LendingModel(RawModel):
    """Draws numbers, pushes the samples, and returns the numbers."""

    name = "lending"
    id = "3" * 64
    lanes = 1
    group = None
    initial_words = 1000

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        bits = 0.0
        for block in blocks:
            numbers, borrowed = borrow(coder, message, Uniform(1 << 16, (_LENT, 1)))
            column = block.reshape(-1, 1).astype(np.int64)
            bits += push_symbols(coder, message, Uniform(256, column.shape), column) - borrowed
            bits += push_symbols(coder, message, Uniform(1 << 16, (_LENT, 1)), numbers)
        return bits

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        blocks = np.empty(shape, dtype)
        for index in reversed(range(len(blocks))):
            numbers = coder.pop(message, Uniform(1 << 16, (_LENT, 1)))
            column = coder.pop(message, Uniform(256, (blocks[0].size, 1)))
            coder.push(message, numbers, Uniform(1 << 16, (_LENT, 1)))
            blocks[index] = column.reshape(shape[1:])
        return blocks


def load_lending(file: ModelFile) -> LendingModel:
    """The target of its record."""
    return LendingModel()

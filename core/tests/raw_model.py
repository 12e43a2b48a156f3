"""The smallest models that the engine accepts: raw samples, and raw samples with bits back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions.uniform import Uniform
from nc_core.ans.message import Message
from nc_core.protocols import Block, Coder


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

"""The model: every position of an image has a table of integer frequencies.

Integers all the way, so a file decodes on every machine. A model with a network keeps this
form: what it hands to the coder are integers, which :mod:`nc_core.exact` computes.
"""

from __future__ import annotations

import hashlib
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions import Categorical
from nc_core.ans.message import Message
from nc_core.errors import DataError
from nc_core.model_file import ModelFile
from nc_core.protocols import Block, Coder
from nc_my_plugin import __version__

__all__ = ["FAMILY", "VALUES", "MyPluginModel", "load"]

FAMILY = "my-plugin"
VALUES = 256
_CHUNK_PIXELS = 1 << 20


def load(file: ModelFile) -> MyPluginModel:
    """The model of a model file; the target of the family's record.

    Raises:
        DataError: the file holds something else.
    """
    try:
        return MyPluginModel(file.name, file.id, file.tensors()["frequencies"])
    except (KeyError, ValueError) as error:
        raise DataError(f"model '{file.name}': not a model of family '{FAMILY}'") from error


class MyPluginModel:
    """A lossless model of 8-bit images; larger ones are tiled by the engine.

    Args:
        name: what messages and files call it.
        model_id: sha256 of everything that decoding needs.
        frequencies: uint32, (C, H, W, 256): of each value at each position, at least 1; every
            table sums to one and the same power of two.

    Raises:
        ValueError: frequencies of another form.
    """

    package = ("nc-my-plugin", __version__)
    arithmetic: Literal["exact", "float"] = "exact"
    tables = 1
    # One block a push on one head: a single small image carries no unused heads.
    lanes = 1
    group: int | None = 1
    initial_words = 0

    def __init__(self, name: str, model_id: str, frequencies: NDArray[Any]) -> None:
        if frequencies.ndim != 4 or frequencies.shape[-1] != VALUES or not frequencies.size:
            raise ValueError(f"frequencies have the shape (C, H, W, {VALUES})")
        if not frequencies.all():
            raise ValueError("a frequency of 0 would make its value impossible to code")
        channels, height, width, _ = frequencies.shape
        self.name = name
        self.id = model_id
        self.block = Block((channels,), height, width, _CHUNK_PIXELS)
        self._frequencies = frequencies
        self._full = Categorical(frequencies.reshape(-1, 1, VALUES))

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        """Push blocks, one per lane, and return their code length in bits.

        Args:
            coder: any.
            message: of as many lanes as there are blocks, or more.
            blocks: uint8, (B, C, H, W); those at an item's edge may be less high or wide.

        Raises:
            ValueError: another shape or dtype.
        """
        distribution = self._distribution(blocks.shape, blocks.dtype)
        symbols = _steps_first(blocks)
        coder.push(message, symbols, distribution)
        return float(distribution.bits(symbols).sum())

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Pop what one ``push`` of blocks of that shape and dtype pushed."""
        symbols = coder.pop(message, self._distribution(shape, dtype))
        return symbols.T.reshape(shape).astype(dtype)

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        """Code length of each block in bits, float64, (B,)."""
        distribution = self._distribution(blocks.shape, blocks.dtype)
        each: NDArray[np.float64] = distribution.bits(_steps_first(blocks)).sum(axis=0)
        return each

    def probe(self) -> str:
        """Hex sha256 of the intervals of a fixed block: equal where files can be decoded."""
        steps = self._full.shape[0]
        starts, freqs = self._full.intervals(np.arange(steps)[:, None] * 37 % VALUES)
        integers = np.stack([starts, freqs]).astype("<u8")
        return hashlib.sha256(integers.tobytes()).hexdigest()

    def _distribution(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Categorical:
        """The tables of all positions of a block, shared by the blocks beside it."""
        channels, height, width, _ = self._frequencies.shape
        fits = len(shape) == 4 and shape[1] == channels
        if not (fits and shape[2] <= height and shape[3] <= width):
            raise ValueError(f"blocks are (B, {channels}, {height}, {width}) or less, not {shape}")
        if dtype != np.uint8:
            raise ValueError(f"samples are uint8, not {dtype}")
        tables = self._full
        if shape[2:] != (height, width):
            part = self._frequencies[:, : shape[2], : shape[3]]
            tables = Categorical(part.reshape(-1, 1, VALUES))
        return tables.for_shape((prod(shape[1:]), shape[0]))


def _steps_first(blocks: NDArray[Any]) -> NDArray[Any]:
    """Blocks (B, C, H, W) as symbols (steps, lanes): a row for each position."""
    return blocks.reshape(len(blocks), -1).T

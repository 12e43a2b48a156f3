"""Data that contracts are tried on: small, seeded, and extreme where it matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.content import Content, Item
from nc_core.protocols import Block

__all__ = ["BlockCase", "SampleImages", "block_cases", "sample_array", "sample_images"]

_FREE = (12, 17)  # height and width where a model leaves them free
_MOST_PIXELS = 4096  # of an image that is larger than a block, where blocks are small enough


@dataclass(frozen=True)
class BlockCase:
    """Blocks (B, C, H, W), and what to call them in a message."""

    label: str
    blocks: NDArray[Any]

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.blocks.shape))
        return f"{self.label}: {shape} blocks of {self.blocks.dtype}"


def block_cases(block: Block) -> Iterator[BlockCase]:
    """Blocks that a model must code: every dtype and number of channels, extremes, odd shapes."""
    generator = np.random.default_rng(0)
    height, width = _sides(block)
    odd = (max(1, height - 5), max(1, width - 4))
    for dtype in block.dtypes:
        top = _largest(block, dtype)
        for channels in block.channels:

            def noise(
                count: int, sides: tuple[int, int], of: int = channels, kind: str = dtype
            ) -> NDArray[Any]:
                shape = (count, of, *sides)
                return generator.integers(0, _largest(block, kind), shape, kind, endpoint=True)

            yield BlockCase("random", noise(1, odd))
            if channels != block.channels[-1]:
                continue
            full = (2, channels, height, width)
            yield BlockCase("random", noise(3, (height, width)))
            yield BlockCase("a single pixel", noise(1, (1, 1)))
            yield BlockCase("one row", noise(2, (1, width)))
            yield BlockCase("one column", noise(2, (height, 1)))
            yield BlockCase("all smallest", np.zeros(full, dtype))
            yield BlockCase("all largest", np.full(full, top, dtype))
            stripes = np.zeros(full, dtype)
            stripes[..., ::2] = top
            yield BlockCase("stripes of both extremes", stripes)
            yield BlockCase("smooth", _smooth(full, dtype, top))


def sample_array(count: int) -> NDArray[np.uint8]:
    """Small grey images, smooth with some noise; uint8, (count, 16, 19)."""
    noise = np.random.default_rng(1).integers(0, 8, (count, 16, 19), np.uint8)
    return np.asarray(_smooth((count, 1, 16, 19), "uint8", 255)[:, 0] // 2 + noise, np.uint8)


def sample_images(block: Block) -> list[NDArray[Any]]:
    """Images of several shapes that a model can code, in blocks or cut into them."""
    generator = np.random.default_rng(2)
    height, width = _sides(block)
    shapes = [(height, width), (height, width), (1, 1), (max(1, height - 3), max(1, width - 2))]
    if height * width < _MOST_PIXELS and (block.height or block.width):
        shapes.append((height + 3, width + 2))
    channels, dtype = block.channels[-1], block.dtypes[0]
    top = _largest(block, dtype)
    images = []
    for rows, columns in shapes:
        smooth = _smooth((1, channels, rows, columns), dtype, top)[0] // 2
        planes = smooth + generator.integers(0, min(9, top - top // 2 + 1), smooth.shape, dtype)
        images.append(planes[0] if channels == 1 else planes.transpose(1, 2, 0))
    return images


class SampleImages:
    """Images in memory as a source of the engine; see :class:`nc_core.sources.Source`.

    Args:
        images: (H, W) or (H, W, C), uint8 or uint16.
    """

    def __init__(self, images: Sequence[NDArray[Any]]) -> None:
        self._images = images
        self.content = Content(
            "images",
            tuple(
                Item(image.shape, image.dtype.name, "hw" if image.ndim == 2 else "hwc", f"{k}.png")
                for k, image in enumerate(images)
            ),
        )

    def load(self, index: int) -> tuple[NDArray[Any], list[tuple[bytes, bytes]]]:
        """Image ``index``, without metadata."""
        return self._images[index], []


def _sides(block: Block) -> tuple[int, int]:
    """Height and width of a block that is as large as it gets, or conveniently small."""
    height = block.height or min(_FREE[0], block.max_pixels)
    width = block.width or max(1, min(_FREE[1], block.max_pixels // height))
    return height, width


def _largest(block: Block, dtype: str) -> int:
    """The largest sample that a model codes."""
    return int(np.iinfo(dtype).max) if block.largest is None else block.largest


def _smooth(shape: tuple[int, int, int, int], dtype: str, top: int) -> NDArray[Any]:
    """Slow waves from 0 to ``top``, another one in every block and channel."""
    block, channel, row, column = np.ogrid[tuple(map(slice, shape))]
    wave = np.sin((row + 2 * block) / 5 + channel) + np.cos((column - block) / 7 - channel)
    return np.asarray((wave + 2) / 4 * top, dtype)

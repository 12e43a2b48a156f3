"""Reversible colour transforms: from the planes of an image to those that are coded, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TRANSFORMS", "backward", "candidates", "forward"]

TRANSFORMS = ("identity", "green-red-blue", "ycocg")


def candidates(channels: int) -> tuple[int, ...]:
    """Transforms that an image with so many channels may use; colour needs three."""
    return (1, 2) if channels >= 3 else (0,)


def forward(blocks: NDArray[Any], transform: int) -> NDArray[np.int32]:
    """Planes to code.

    Args:
        blocks: unsigned integers, (B, C, H, W); red, green, blue first where C >= 3.
        transform: index into ``TRANSFORMS``.

    Returns:
        int32, same shape. ``green-red-blue`` reorders; ``ycocg`` is YCoCg-R, whose chroma has
        one bit more than the samples. Channels after the third stay.
    """
    planes = blocks.astype(np.int32)
    if transform == 0:
        return planes
    red, green, blue = planes[:, 0], planes[:, 1], planes[:, 2]
    if transform == 1:
        planes[:, :3] = np.stack([green, red, blue], 1)
        return planes
    orange = red - blue
    middle = blue + (orange >> 1)
    greenish = green - middle
    planes[:, :3] = np.stack([middle + (greenish >> 1), orange, greenish], 1)
    return planes


def backward(planes: NDArray[np.int32], transform: int) -> NDArray[np.int32]:
    """The inverse of ``forward``; a damaged file may give values outside the samples' range."""
    if transform == 0:
        return planes
    blocks = planes.copy()
    first, second, third = planes[:, 0], planes[:, 1], planes[:, 2]
    if transform == 1:
        blocks[:, :3] = np.stack([second, first, third], 1)
        return blocks
    middle = first - (third >> 1)
    blue = middle - (second >> 1)
    blocks[:, :3] = np.stack([blue + second, third + middle, blue], 1)
    return blocks

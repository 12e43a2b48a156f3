"""Images as planes and lattices: whole numbers only, and no networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

__all__ = ["complete", "lattice_shapes", "padded", "phase_shape", "to_planes", "to_rgb"]


def to_planes(blocks: NDArray[np.uint8]) -> Tensor:
    """Y, Co, Cg of RGB blocks: the reversible transform YCoCg-R.

    Args:
        blocks: (B, 3, H, W).

    Returns:
        float32, the same shape; Y in 0 ... 255, Co and Cg in -255 ... 255.
    """
    red, green, blue = np.moveaxis(blocks.astype(np.int16), 1, 0)
    orange = red - blue
    middle = blue + (orange >> 1)
    green_excess = green - middle
    luma = middle + (green_excess >> 1)
    return torch.from_numpy(np.stack([luma, orange, green_excess], 1).astype(np.float32))


def to_rgb(planes: Tensor) -> NDArray[np.uint8]:
    """RGB blocks of planes Y, Co, Cg; undoes :func:`to_planes`.

    Raises:
        ValueError: planes that no image has.
    """
    luma, orange, green_excess = np.moveaxis(planes.numpy().astype(np.int16), 1, 0)
    middle = luma - (green_excess >> 1)
    green = green_excess + middle
    blue = middle - (orange >> 1)
    colours = np.stack([blue + orange, green, blue], 1)
    if colours.size and not (colours.min() >= 0 and colours.max() <= 255):
        raise ValueError("colours lie outside 0 ... 255")
    return colours.astype(np.uint8)


def lattice_shapes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """(height, width) of x_0 ... x_levels: every second row and column of the one before."""
    shapes = [(height, width)]
    for _ in range(levels):
        height, width = (height + 1) // 2, (width + 1) // 2
        shapes.append((height, width))
    return shapes


def phase_shape(shape: tuple[int, int], phase: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of a phase's pixels in a lattice; the last cells may lack some, or all."""
    return (shape[0] - phase[0] + 1) // 2, (shape[1] - phase[1] + 1) // 2


def complete(values: Tensor, cells: Tensor) -> Tensor:
    """A phase for all cells: where a pixel lies outside the image, its cell's known one.

    Args:
        values: (B, 1, rows, columns), the pixels inside.
        cells: (B, 1, H, W), the same colour of the coarser lattice.
    """
    rows, columns = values.shape[2:]
    if values.shape == cells.shape:
        return values
    whole = cells.clone()
    whole[:, :, :rows, :columns] = values
    return whole


def padded(planes: Tensor, multiple: int) -> Tensor:
    """Planes (B, C, H, W) with copies of the last row and column up to multiples of a number."""
    height, width = planes.shape[2:]
    right, below = -width % multiple, -height % multiple
    if not (right or below):
        return planes
    return functional.pad(planes, (0, right, 0, below), mode="replicate")


def column(array: NDArray[Any]) -> NDArray[Any]:
    """Symbols as steps of one lane, (n, 1)."""
    return array.reshape(-1, 1)

"""Rows of sources as vectors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_core.training.randomness import Purpose, philox
from nc_rd_bounds.sources.vectors import Source

__all__ = ["chosen_rows", "flat_rows"]


def chosen_rows(source: Source, count: int, seed: int) -> NDArray[np.int64]:
    """Indices of some rows: all of them, or so many that a seed chooses, in order.

    Neighbours in a file are often alike, so its first rows would not do. A sampler without end
    gives its first ones.
    """
    if source.length is None or count >= source.length:
        return np.arange(count if source.length is None else source.length)
    words = philox(seed, Purpose.USER).random_raw(source.length)
    chosen: NDArray[np.int64] = np.sort(np.argsort(words, kind="stable")[:count])
    return chosen


def flat_rows(source: Source, indices: NDArray[np.int64]) -> Tensor:
    """Rows of a source as vectors, float32 (B, n), images in the order height, width, channels."""
    rows = source.rows(indices)
    if source.layout == "chw":
        rows = rows.transpose(0, 2, 3, 1)
    return torch.from_numpy(np.ascontiguousarray(rows.reshape(len(rows), -1)))

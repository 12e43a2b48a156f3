"""Rows of sources as vectors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_rd_bounds.sources.vectors import Source

__all__ = ["flat_rows"]


def flat_rows(source: Source, indices: NDArray[np.int64]) -> Tensor:
    """Rows of a source as vectors, float32 (B, n), images in the order height, width, channels."""
    rows = source.rows(indices)
    if source.layout == "chw":
        rows = rows.transpose(0, 2, 3, 1)
    return torch.from_numpy(np.ascontiguousarray(rows.reshape(len(rows), -1)))

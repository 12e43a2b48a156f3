"""MNIST digits in the sizes that networks of several levels take: 32x32 and 16x16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bordered", "halved"]

_BORDER = 2


def bordered(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images with two pixels of 0 around them: (n, 28, 28) to (n, 32, 32)."""
    return np.pad(images, ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER)))


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of 2x2 pixels, rounded half up: (n, H, W) to (n, H / 2, W / 2)."""
    count, height, width = images.shape
    squares = images.reshape(count, height // 2, 2, width // 2, 2)
    sums = squares.sum(axis=(2, 4), dtype=np.uint16)
    means: NDArray[np.uint8] = ((sums + 2) // 4).astype(np.uint8)
    return means

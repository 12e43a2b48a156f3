"""Numbers that are as good as random, and the same on every machine and in every version.

Model ids and code lengths rest on them: they never change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_for", "probe_pixels"]


def probe_pixels(shape: tuple[int, ...], levels: int = 256) -> NDArray[np.int64]:
    """Pixels 0 ... levels - 1 for the probe of a model, int64 of that shape."""
    ramp = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    pixels: NDArray[np.int64] = (ramp * ramp // 97 + ramp // 3) % levels
    return pixels


def counts_for(block: NDArray[np.uint8], precision: int) -> Callable[[int], NDArray[np.uint64]]:
    """What draws counts for the latents of a block, when its code length is measured.

    They follow from the pixels of the block: those for different blocks are independent, and those
    for one block the same whenever it is measured.

    Args:
        block: of any shape.
        precision: of the counts, which are below ``1 << precision``; 1 to 64.

    Returns:
        a function of a number n that draws the next n counts, uint64 (n,).
    """
    key = np.frombuffer(hashlib.sha256(block.tobytes()).digest()[:16], "<u8")
    generator = np.random.Philox(key=key)
    return lambda count: generator.random_raw(count) >> np.uint64(64 - precision)

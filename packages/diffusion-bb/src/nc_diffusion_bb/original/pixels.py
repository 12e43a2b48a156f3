"""Pixels under discretised normal distributions, with integer counts that leave no value out.

Value k is centred on low + k (high - low) / (2**bits - 1) and owns half a step to either side; the
first and the last own the tails. Masses are rounded to counts, none of them below 1, and what is
over or missing goes to the first of the largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import WorkError
from nc_diffusion_bb.original.bins import Normal

__all__ = ["PixelCounts"]

# Tables of that many dimensions are made at once: 257 float64 each, and three such arrays.
_DIMS_AT_ONCE = 4096


class PixelCounts:
    """Tables of counts for pixels.

    Args:
        bits: of a pixel.
        low, high: what the smallest and the largest value stand for.
        precision: bits of the counts.
    """

    def __init__(self, bits: int, low: float, high: float, precision: int) -> None:
        self._size = 1 << bits
        self._low, self._high = low, high
        self._precision = precision
        half = 0.5 * (high - low) / (self._size - 1)
        self._edges = np.linspace(low - half, high + half, self._size + 1)

    def values(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """What pixels stand for, float64 of the same shape."""
        return self._low + (self._high - self._low) * pixels / (self._size - 1)

    def intervals(
        self, pixels: NDArray[Any], normal: Normal
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of pixels, uint64 (n,).

        Raises:
            WorkError: the precision is too low for the table of a dimension.
        """
        starts = np.empty(len(pixels), np.uint64)
        freqs = np.empty(len(pixels), np.uint64)
        for part, below in self._tables(normal):
            starts[part], freqs[part] = _intervals(below, pixels[part])
        return starts, freqs

    def locate(
        self, counts: NDArray[np.uint64], normal: Normal
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Pixels that own counts, int64 (n,), with their starts and frequencies.

        Raises:
            WorkError: as for :meth:`intervals`.
        """
        pixels = np.empty(len(counts), np.int64)
        starts = np.empty(len(counts), np.uint64)
        freqs = np.empty(len(counts), np.uint64)
        for part, below in self._tables(normal):
            count = counts[part].astype(np.int64)
            pixels[part] = (below <= count[:, None]).sum(axis=1) - 1
            starts[part], freqs[part] = _intervals(below, pixels[part])
        return pixels, starts, freqs

    def _tables(self, normal: Normal) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Slices of the dimensions, each with its counts below every edge, (n, values + 1)."""
        for first in range(0, len(normal.mean), _DIMS_AT_ONCE):
            part = slice(first, first + _DIMS_AT_ONCE)
            yield part, self._counts_below(normal.mean[part], normal.deviation[part])

    def _counts_below(
        self, mean: NDArray[np.floating[Any]], deviation: NDArray[np.floating[Any]]
    ) -> NDArray[np.int64]:
        from scipy.special import ndtr

        mass = ndtr((self._edges - mean[:, None]) / deviation[:, None])
        mass[:, 0], mass[:, -1] = 0.0, 1.0
        freqs = np.rint(np.diff(mass, axis=1) * (1 << self._precision)).astype(np.int64)
        np.maximum(freqs, 1, out=freqs)
        rows, largest = np.arange(len(freqs)), freqs.argmax(axis=1)
        freqs[rows, largest] += (1 << self._precision) - freqs.sum(axis=1)
        if bool((freqs[rows, largest] < 1).any()):
            raise WorkError(
                f"pixels cannot be coded with {self._precision} bits: counts of 1 for rare values "
                "leave nothing for the others",
                "use more --pixel-bits",
            )
        below = np.zeros((len(freqs), self._size + 1), np.int64)
        np.cumsum(freqs, axis=1, out=below[:, 1:])
        return below


def _intervals(
    below: NDArray[np.int64], pixels: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.arange(len(pixels))
    start = below[rows, pixels]
    return start, below[rows, pixels.astype(np.int64) + 1] - start

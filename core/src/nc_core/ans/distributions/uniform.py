"""Uniform distributions over any number of symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.arguments import MAX_PRECISION
from nc_core.ans.distributions.base import (
    FusedDistribution,
    check_alphabet,
    check_bits,
    check_shape,
)

__all__ = ["Uniform"]


class Uniform(FusedDistribution):
    """Symbols 0 .. size - 1, all equally likely: start(k) = floor(k * 2 ** precision / size).

    Args:
        size: 1 .. 2 ** precision.
        shape: (steps, lanes).
        precision: None for the number of bits of a power of two, and 28 for other sizes,
            where frequencies then differ by at most one count.

    Raises:
        ValueError: an argument out of range.
    """

    kernel = "uniform"

    def __init__(self, size: int, shape: tuple[int, int], precision: int | None = None) -> None:
        if precision is None:
            power_of_two = size > 0 and size & (size - 1) == 0
            precision = max(1, size.bit_length() - 1) if power_of_two else MAX_PRECISION
        self.precision = check_bits(precision)
        self.shape = check_shape(shape)
        if not 1 <= size <= 1 << self.precision:
            raise ValueError(f"size {size} is outside 1 .. 2 ** {self.precision}")
        self.size = int(size)

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of each symbol; see :class:`FusedDistribution`."""
        return self._interval(check_alphabet(symbols, self.shape, self.size))

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Symbols that own ``counts``; see :class:`FusedDistribution`."""
        symbols = ((counts.astype(np.int64) + 1) * self.size - 1) >> self.precision
        return symbols, *self._interval(symbols)

    def kernel_arguments(self) -> tuple[Any, ...]:
        """The size."""
        return (self.size,)

    def _interval(
        self, symbols: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        starts = (symbols << self.precision) // self.size
        ends = ((symbols + 1) << self.precision) // self.size
        return starts.astype(np.uint64), (ends - starts).astype(np.uint64)

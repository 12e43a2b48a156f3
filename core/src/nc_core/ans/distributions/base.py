"""What core's own distributions share: integer intervals, and a kernel that knows them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.arguments import MAX_PRECISION, as_symbols

__all__ = ["FusedDistribution", "check_alphabet", "check_bits", "check_shape", "integers"]


class FusedDistribution(ABC):
    """A distribution that compiled kernels evaluate inside the coder's loop.

    Attributes:
        precision: the counts of all symbols sum to 2 ** precision.
        shape: (steps, lanes).
        size: symbols are the integers 0 .. size - 1.
        kernel: key of its pair of kernels in ``nc_core.ans.kernels.PUSH`` and ``POP``.
    """

    precision: int
    shape: tuple[int, int]
    size: int
    kernel: str

    @abstractmethod
    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of each symbol.

        Args:
            symbols: integers in 0 .. size - 1, (steps, lanes).

        Returns:
            starts, freqs: uint64, (steps, lanes).

        Raises:
            ValueError: a symbol outside the alphabet, or a wrong shape.
        """

    @abstractmethod
    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Symbols that own ``counts`` in row ``step``, with their starts and frequencies.

        Args:
            step: row, 0 <= step < shape[0].
            counts: uint64, (lanes,), each below 2 ** precision.

        Returns:
            symbols (int64), starts, freqs (uint64), each (lanes,).
        """

    @abstractmethod
    def kernel_arguments(self) -> tuple[Any, ...]:
        """What the kernels take after heads, stack, cursor, lanes, symbols and precision."""

    def bits(self, symbols: NDArray[Any]) -> NDArray[np.float64]:
        """Ideal code length of each symbol in bits: -log2(freq / 2 ** precision).

        Args:
            symbols: integers in 0 .. size - 1, (steps, lanes).

        Returns:
            float64, (steps, lanes); infinite for an impossible symbol.
        """
        _, freqs = self.intervals(symbols)
        with np.errstate(divide="ignore"):
            return self.precision - np.log2(freqs.astype(np.float64))


def check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """(steps, lanes) as plain integers.

    Raises:
        ValueError: not two integers, a negative number of steps, or no lane.
    """
    if len(shape) != 2 or int(shape[0]) < 0 or int(shape[1]) < 1:
        raise ValueError(f"shape is (steps, lanes) with at least one lane, not {shape}")
    return int(shape[0]), int(shape[1])


def check_bits(precision: int) -> int:
    """A precision as a plain integer.

    Raises:
        ValueError: outside 1 .. 28.
    """
    if not 1 <= precision <= MAX_PRECISION:
        raise ValueError(f"precision {precision} is outside 1 .. {MAX_PRECISION}")
    return int(precision)


def check_alphabet(symbols: NDArray[Any], shape: tuple[int, int], size: int) -> NDArray[np.int64]:
    """Symbols as int64, (steps, lanes).

    Raises:
        ValueError: a wrong shape or dtype, or a symbol outside 0 .. size - 1.
    """
    array = as_symbols(symbols, shape)
    if array.size and not (array.min() >= 0 and array.max() < size):
        raise ValueError(f"symbols lie in 0 .. {size - 1}, not {array.min()} .. {array.max()}")
    return array


def integers(values: NDArray[Any] | int, name: str, low: int, high: int) -> NDArray[Any]:
    """An array of integers in ``low .. high``.

    Raises:
        ValueError: another dtype, or a value out of range.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, not {array.dtype}")
    if array.size and not (array.min() >= low and array.max() <= high):
        raise ValueError(f"{name} must lie in {low} .. {high}")
    return array

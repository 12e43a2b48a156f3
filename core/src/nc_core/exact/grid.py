"""Grids: which numbers a tensor of the exact path may hold.

A tensor on a grid holds float32 numbers that are integer multiples of 2 ** -fraction_bits, at
most ``limit`` of them in magnitude. As long as limit <= 2 ** 24, float32 has every such number,
and a sum of two tensors on one grid is exact while the sum of their limits is not larger. Limits
are worst cases that follow from the operations alone, never from data, so that what is exact
once is exact always.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from nc_core.errors import UsageError

__all__ = [
    "FINEST_BITS", "FLOAT32_LIMIT", "ONE", "Grid", "common_grid", "dyadic", "in_range", "shifted",
]  # fmt: skip

# float32 holds all integers up to this one.
FLOAT32_LIMIT = 1 << 24

# Units are no finer than 2 ** -100, and elements below 2 ** 64: far from where float32 ends.
FINEST_BITS = 100
_LARGEST_BITS = 64

ONE = Fraction(1)


@dataclass(frozen=True)
class Grid:
    """The numbers that the elements of a tensor may be.

    Attributes:
        fraction_bits: elements are multiples of 2 ** -fraction_bits; may be negative.
        limit: elements are at most limit * 2 ** -fraction_bits in magnitude.
        unit: an element e stands for the real number e * unit. It is 1 everywhere but between an
            input whose scale is no power of two (pixels) and the first layer, which absorbs it.
    """

    fraction_bits: int
    limit: int
    unit: Fraction = ONE

    @cached_property
    def _hash(self) -> int:
        return hash((self.fraction_bits, self.limit, self.unit))

    def __hash__(self) -> int:
        """Computed once: grids are keys of what is remembered between calls of a network."""
        return self._hash

    @property
    def bound(self) -> float:
        """Largest magnitude of an element."""
        return float(Fraction(self.limit) / Fraction(2) ** self.fraction_bits)

    def at(self, fraction_bits: int) -> Grid:
        """The grid of the same elements after rounding to another number of fractional bits."""
        limit = shifted(self.limit, fraction_bits - self.fraction_bits)
        return Grid(fraction_bits, limit, self.unit)

    def within(self, limit: int) -> Grid:
        """The finest coarsening of this grid that keeps elements at ``limit`` or below."""
        grid = self
        while grid.limit > limit:
            grid = self.at(grid.fraction_bits - 1)
        return grid

    @property
    def is_in_range(self) -> bool:
        """Whether float32 has its units and elements, with exponents to spare."""
        bits = self.fraction_bits
        return bits <= FINEST_BITS and self.limit.bit_length() - bits <= _LARGEST_BITS

    def holds(self, other: Grid) -> bool:
        """Whether every number of another grid is a number of this one."""
        finer = other.fraction_bits <= self.fraction_bits and other.unit == self.unit
        return finer and other.at(self.fraction_bits).limit <= self.limit


def common_grid(grids: Iterable[Grid]) -> Grid:
    """The smallest grid that holds all given ones.

    Raises:
        UsageError: their units differ.
    """
    parts = list(grids)
    if len({grid.unit for grid in parts}) > 1:
        raise UsageError(
            "tensors of different units meet", "put a layer behind each input before they meet"
        )
    fraction_bits = max(grid.fraction_bits for grid in parts)
    limit = max(grid.at(fraction_bits).limit for grid in parts)
    return Grid(fraction_bits, limit, parts[0].unit)


def in_range(grid: Grid) -> Grid:
    """The grid itself.

    Raises:
        UsageError: its elements may be beyond the exponents of float32.
    """
    if not grid.is_in_range:
        raise UsageError(
            f"numbers up to {grid.limit} * 2^{-grid.fraction_bits} are out of the range of exact "
            "arithmetic",
            "keep the numbers between layers near 1",
        )
    return grid


def shifted(limit: int, bits: int) -> int:
    """A limit times 2 ** bits, rounded up."""
    return limit << bits if bits >= 0 else -(-limit >> -bits)


def dyadic(number: float) -> tuple[int, int]:
    """Integers n, b with number = n * 2 ** -b, where n is odd or 0.

    Raises:
        UsageError: n is beyond 2 ** 24: no short binary fraction.
    """
    numerator, denominator = float(number).as_integer_ratio()
    fraction_bits = denominator.bit_length() - 1
    while numerator and numerator % 2 == 0:
        numerator, fraction_bits = numerator // 2, fraction_bits - 1
    if abs(numerator) > FLOAT32_LIMIT:
        raise UsageError(
            f"{number!r} is no short binary fraction",
            "use one (0.5, 0.75), or fold the factor into the weights of a layer",
        )
    return numerator, fraction_bits

"""Distributions given by tables of integer frequencies."""

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
    integers,
)

__all__ = ["Bernoulli", "Categorical", "cumulative_from_weights", "frequencies_from_pmf"]

# Probabilities become integers of this many bits before anything is summed, so that the sums,
# and with them the frequencies, do not depend on the order of summation.
_WEIGHT_BITS = 34
_LOOKUP_BITS = 12
_MAX_SIZE = 1 << 16


class Bernoulli(FusedDistribution):
    """Symbols 0 and 1: symbol 0 owns the first ``zeros`` counts.

    Args:
        zeros: integers in 1 .. 2 ** precision - 1, (steps, lanes).
        precision: bits.

    Raises:
        ValueError: an argument out of range, or not two axes.
    """

    kernel = "categorical"
    size = 2

    def __init__(self, zeros: NDArray[Any], precision: int) -> None:
        self.precision = check_bits(precision)
        array = integers(zeros, "frequencies of symbol 0", 1, (1 << self.precision) - 1)
        self.shape = check_shape(array.shape)
        self._zeros = np.ascontiguousarray(array, np.uint32)

    @classmethod
    def from_probability(cls, probability: NDArray[Any], precision: int = 24) -> Bernoulli:
        """Round the probability of symbol 1, kept off 0 and 1.

        Args:
            probability: float, 0 .. 1, (steps, lanes).
            precision: bits.

        Raises:
            ValueError: a probability outside 0 .. 1.
        """
        ones = np.asarray(probability, np.float64)
        if not bool(((ones >= 0) & (ones <= 1)).all()):
            raise ValueError("probabilities lie in 0 .. 1")
        total = 1 << check_bits(precision)
        zeros = np.ceil((1.0 - ones) * total - 0.5).astype(np.int64)
        return cls(np.clip(zeros, 1, total - 1), precision)

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of each symbol; see :class:`FusedDistribution`."""
        return self._interval(check_alphabet(symbols, self.shape, 2), self._zeros)

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Symbols that own ``counts``; see :class:`FusedDistribution`."""
        zeros = self._zeros[step]
        symbols = (counts >= zeros).astype(np.int64)
        return symbols, *self._interval(symbols, zeros)

    def kernel_arguments(self) -> tuple[Any, ...]:
        """A table of two symbols for each symbol."""
        steps, lanes = self.shape
        cumulative = np.zeros((steps, lanes, 3), np.uint32)
        cumulative[..., 1] = self._zeros
        cumulative[..., 2] = 1 << self.precision
        return cumulative.ravel(), 2, lanes, 1

    def _interval(
        self, symbols: NDArray[np.int64], zeros: NDArray[np.uint32]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        wide = zeros.astype(np.uint64)
        total = np.uint64(1 << self.precision)
        one = symbols == 1
        return np.where(one, wide, np.uint64(0)), np.where(one, total - wide, wide)


class Categorical(FusedDistribution):
    """Symbols 0 .. S - 1 with given frequencies, which may be 0 for impossible symbols.

    Args:
        frequencies: integers, (S,) for one table that all symbols share, or (steps, lanes, S),
            where steps and lanes may be 1 to share along them. Each table sums to one and the
            same power of two, 2 ** 1 .. 2 ** 28: the precision.
        shape: (steps, lanes); None when ``frequencies`` has all of it.

    Raises:
        ValueError: a negative frequency, a sum that is no such power, or shapes that do not fit.
    """

    def __init__(self, frequencies: NDArray[Any], shape: tuple[int, int] | None = None) -> None:
        array = integers(frequencies, "frequencies", 0, 1 << MAX_PRECISION)
        if array.ndim == 1:
            array = array[None, None]
        if array.ndim != 3:
            raise ValueError(f"frequencies have 1 axis or 3 (steps, lanes, S), not {array.ndim}")
        if not 1 <= array.shape[2] <= _MAX_SIZE:
            raise ValueError(f"an alphabet has 1 .. {_MAX_SIZE} symbols, not {array.shape[2]}")
        cumulative = np.zeros((*array.shape[:2], array.shape[2] + 1), np.int64)
        np.cumsum(array, axis=2, dtype=np.int64, out=cumulative[..., 1:])
        self._set(cumulative, shape)

    @classmethod
    def from_pmf(
        cls, pmf: NDArray[Any], shape: tuple[int, int] | None = None, precision: int = 24
    ) -> Categorical:
        """Round probabilities so that every symbol keeps a frequency of at least 1.

        Args:
            pmf: float, (S,) or (steps, lanes, S); each table sums to 1 within 1e-4.
            shape: as for the constructor.
            precision: bits; 2 ** precision >= S.

        Raises:
            ValueError: a negative or infinite probability, a sum that is not 1, or too many
                symbols for the precision.
        """
        return cls(frequencies_from_pmf(pmf, precision), shape)

    def for_shape(self, shape: tuple[int, int]) -> Categorical:
        """The same tables, which must be shared along every axis that changes."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.shape = _fitting_shape(self._cumulative.shape, shape)
        return twin

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of each symbol; see :class:`FusedDistribution`."""
        index = check_alphabet(symbols, self.shape, self.size)
        tables = np.broadcast_to(self._cumulative, (*self.shape, self.size + 1))
        return _interval(tables, index)

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Symbols that own ``counts``; see :class:`FusedDistribution`."""
        row = self._cumulative[step if self._cumulative.shape[0] > 1 else 0]
        tables = np.broadcast_to(row, (self.shape[1], self.size + 1))
        # The last entry that is not above the count: entries of impossible symbols are skipped.
        symbols = (tables <= counts[:, None]).sum(axis=1, dtype=np.int64) - 1
        return symbols, *_interval(tables, symbols)

    def kernel_arguments(self) -> tuple[Any, ...]:
        """Tables and how to find a symbol's own; for a shared one also where to start looking."""
        rows, columns, _ = self._cumulative.shape
        if self.kernel == "shared-categorical":
            return self._cumulative.ravel(), self._first, self._push_steps.ravel()
        strides = (columns if rows > 1 else 0, 1 if columns > 1 else 0)
        return self._cumulative.ravel(), self.size, *strides

    def _set(self, cumulative: NDArray[Any], shape: tuple[int, int] | None) -> None:
        total = int(cumulative[..., -1].max(initial=2))
        if not bool((cumulative[..., -1] == total).all()) or total & (total - 1):
            raise ValueError("every table of frequencies sums to one and the same power of two")
        self.precision = check_bits(total.bit_length() - 1)
        self.size = cumulative.shape[2] - 1
        self.shape = _fitting_shape(cumulative.shape, shape)
        self._cumulative = cumulative.astype(np.uint32, copy=False)
        shared = cumulative.shape[:2] == (1, 1)
        self.kernel = "shared-categorical" if shared else "categorical"
        if shared:
            table = cumulative[0, 0].astype(np.int64)
            self._first = _first_symbols(table, self.precision)
            self._push_steps = push_steps(table, self.precision)


def frequencies_from_pmf(pmf: NDArray[Any], precision: int) -> NDArray[np.int64]:
    """Integer frequencies >= 1 that sum to 2 ** precision.

    Each probability is rounded to a multiple of 2 ** -34, then cumulative sums are scaled in
    integers: start(k) = floor(sum(k) * (2 ** precision - S) / total) + k.

    Args:
        pmf: float, (..., S); sums to 1 within 1e-4 along the last axis.
        precision: bits; 2 ** precision >= S.

    Returns:
        int64, (..., S).

    Raises:
        ValueError: as for :meth:`Categorical.from_pmf`.
    """
    array = np.asarray(pmf, np.float64)
    if not bool((array >= 0).all()) or not bool((array <= 2).all()):
        raise ValueError("probabilities lie in 0 .. 1")
    weights = np.rint(array * float(1 << _WEIGHT_BITS)).astype(np.int64)
    slack = (1 << _WEIGHT_BITS) // 10_000 + array.shape[-1]
    if not bool((np.abs(weights.sum(axis=-1) - (1 << _WEIGHT_BITS)) <= slack).all()):
        raise ValueError("probabilities sum to 1")
    return np.diff(cumulative_from_weights(weights, precision))


def cumulative_from_weights(weights: NDArray[np.int64], precision: int) -> NDArray[np.int64]:
    """Cumulative counts 0 .. 2 ** precision in which every symbol owns at least one.

    Args:
        weights: int64 >= 0, (..., S); not all 0, sum times 2 ** precision below 2 ** 63.
        precision: bits; 2 ** precision >= S.

    Returns:
        int64, (..., S + 1).

    Raises:
        ValueError: too many symbols for the precision.
    """
    size = weights.shape[-1]
    spare = (1 << check_bits(precision)) - size
    if spare < 0:
        raise ValueError(f"{size} symbols need a precision of {(size - 1).bit_length()} bits")
    cumulative = np.zeros((*weights.shape[:-1], size + 1), np.uint64)
    np.cumsum(weights, axis=-1, dtype=np.uint64, out=cumulative[..., 1:])
    scaled = cumulative * np.uint64(spare) // cumulative[..., -1:]
    return scaled.astype(np.int64) + np.arange(size + 1)


def _interval(
    tables: NDArray[np.uint32], symbols: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    starts = np.take_along_axis(tables, symbols[..., None], -1)[..., 0].astype(np.uint64)
    ends = np.take_along_axis(tables, symbols[..., None] + 1, -1)[..., 0].astype(np.uint64)
    return starts, ends - starts


def _fitting_shape(tables: tuple[int, ...], shape: tuple[int, int] | None) -> tuple[int, int]:
    steps, lanes = check_shape((tables[0], tables[1]) if shape is None else shape)
    if tables[0] not in (1, steps) or tables[1] not in (1, lanes):
        raise ValueError(f"tables for {tables[:2]} (steps, lanes) do not fit the shape {shape}")
    return steps, lanes


def _first_symbols(cumulative: NDArray[np.int64], precision: int) -> NDArray[np.uint16]:
    """For each count's leading 12 bits, the symbol that owns the first count of them."""
    bits = min(precision, _LOOKUP_BITS)
    counts = np.arange(1 << bits) << (precision - bits)
    return (np.searchsorted(cumulative, counts, side="right") - 1).astype(np.uint16)


def push_steps(cumulative: NDArray[np.int64], precision: int) -> NDArray[np.uint64]:
    """What pushing a symbol of a known table takes, with no division left to do.

    With f the frequency, s = ceil(log2(f)) and r = ceil(2 ** (63 + s) / f), the quotient
    head // f is (head * r >> 64) >> (s - 1) exactly for every head below 2 ** 63 (Granlund and
    Montgomery, Division by invariant integers using multiplication, 1994), and
    head + start + quotient * (2 ** precision - f) is the new head.

    Returns:
        uint64, (S, 5): head from which a word spills (0 for an impossible symbol), r, s - 1,
        start, 2 ** precision - f.
    """
    starts = cumulative[:-1].astype(np.uint64)
    freqs = np.diff(cumulative).astype(np.uint64)
    divisors = np.maximum(freqs, np.uint64(2))
    shifts = np.frexp((divisors - np.uint64(1)).astype(np.float64))[1].astype(np.uint64)
    # Long division in two halves; the dividend has up to 92 bits.
    upper = np.uint64(1) << (shifts + np.uint64(31))
    lower = (upper % divisors) << np.uint64(32)
    reciprocals = ((upper // divisors) << np.uint64(32)) + lower // divisors
    reciprocals += (lower % divisors != 0).astype(np.uint64)
    total = np.uint64(1 << precision)
    # f = 1 has no such r in 64 bits; (head * (2 ** 64 - 1) >> 64) is head - 1, made up for here.
    single = freqs == 1
    reciprocals[single] = np.iinfo(np.uint64).max
    shifts[single] = 1
    starts[single] += total - np.uint64(1)
    limits = freqs << np.uint64(63 - precision)
    return np.stack([limits, reciprocals, shifts - np.uint64(1), starts, total - freqs], axis=-1)

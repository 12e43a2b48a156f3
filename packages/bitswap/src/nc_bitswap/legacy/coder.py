"""The entropy coder of the original: one lane, 31-bit tables made of floating-point logistics.

Its state is a stack of 32-bit words below a head in [2^32, 2^64). It is kept for files and records
of the original program; :mod:`nc_core.ans` is smaller, faster and the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import CorruptFileError

__all__ = ["PRECISION", "LegacyCoder", "LegacyState", "LogisticTable", "UniformTable"]

PRECISION = 31
_WORD = (1 << 32) - 1
_COUNTS = (1 << PRECISION) - 1


@dataclass
class LegacyState:
    """A stack of words and a head.

    Args:
        words: 32-bit, the bottom first.
        head: in [2^32, 2^64).

    Attributes:
        low_water: fewest words that were ever there; those below were not touched.
    """

    words: list[int]
    head: int
    low_water: int = field(init=False)

    def __post_init__(self) -> None:
        self.low_water = len(self.words)

    @classmethod
    def initial(cls, seed: int = 100, count: int = 10_000) -> LegacyState:
        """The random words that the original starts with; the last of them makes the head."""
        drawn = np.random.RandomState(seed).randint(1 << 16, _WORD, count, dtype=np.uint32)
        *words, last = drawn.tolist()
        return cls(words, last << 32)

    def is_top_of(self, other: LegacyState) -> bool:
        """Whether this is what remains of another state without words at its bottom."""
        return (
            self.head == other.head
            and self.words == (other.words[len(other.words) - len(self.words) :])
        )


class LogisticTable:
    """Integer masses of logistic distributions on given bins; see ``Distribution`` of core.

    Args:
        means, scales: float64, (n,).
        edges: inner edges of the bins, float64 (1 or n, size - 1).

    Every bin has at least one count, and what rounding leaves goes to the first of the largest.
    """

    precision = PRECISION

    def __init__(
        self, means: NDArray[np.float64], scales: NDArray[np.float64], edges: NDArray[np.float64]
    ) -> None:
        size = edges.shape[1] + 1
        with np.errstate(over="ignore"):  # exp of a large number: a mass of 0 is right
            below = 1 / (1 + np.exp(-(edges - means[:, None]) / scales[:, None]))
        masses = np.diff(below, axis=1, prepend=0.0, append=1.0)
        counts = (masses * ((1 << PRECISION) - size)).astype(np.int64) + 1
        rows = np.arange(len(counts))
        counts[rows, counts.argmax(axis=1)] += (1 << PRECISION) - counts.sum(axis=1)
        self.shape = (len(counts), 1)
        self.cumulative = np.zeros((len(counts), size + 1), np.int64)
        np.cumsum(counts, axis=1, out=self.cumulative[:, 1:])

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of each symbol, uint64 (n, 1)."""
        rows, column = np.arange(len(symbols)), symbols[:, 0]
        starts, ends = self.cumulative[rows, column], self.cumulative[rows, column + 1]
        return starts[:, None].astype(np.uint64), (ends - starts)[:, None].astype(np.uint64)

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """The symbol of row ``step`` that owns a count, (1,), with its start and frequency."""
        row = self.cumulative[step]
        symbol = int(np.searchsorted(row, int(counts[0]), side="right")) - 1
        start = row[symbol : symbol + 1].astype(np.uint64)
        end = row[symbol + 1 : symbol + 2].astype(np.uint64)
        return np.array([symbol]), start, end - start


class UniformTable:
    """``2 ** bits`` symbols of equal mass; otherwise as :class:`LogisticTable`."""

    precision = PRECISION

    def __init__(self, bits: int, count: int) -> None:
        self.shape = (count, 1)
        self._shift = PRECISION - bits

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of each symbol, uint64 (n, 1)."""
        starts = symbols.astype(np.uint64) << np.uint64(self._shift)
        return starts, np.full_like(starts, 1 << self._shift)

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """The symbol that owns a count, (1,), with its start and frequency."""
        symbols = (counts >> np.uint64(self._shift)).astype(np.int64)
        return symbols, *self.intervals(symbols)


class LegacyCoder:
    """Pushes vectors from their first symbol to their last, and pops from the last to the first."""

    name = "legacy"

    def push(
        self, state: LegacyState, symbols: NDArray[Any], table: LogisticTable | UniformTable
    ) -> None:
        """Push symbols, (n, 1)."""
        self.push_intervals(state, *table.intervals(symbols), table.precision)

    def push_intervals(
        self,
        state: LegacyState,
        starts: NDArray[np.uint64],
        freqs: NDArray[np.uint64],
        precision: int = PRECISION,
    ) -> None:
        """Push given intervals of ``2 ** precision`` counts, uint64 (n, 1)."""
        head, words = state.head, state.words
        for start, freq in zip(_integers(starts), _integers(freqs), strict=True):
            if head >= freq << (64 - precision):
                words.append(head & _WORD)
                head >>= 32
            head = (head // freq << precision) + head % freq + start
        state.head = head

    def pop(self, state: LegacyState, table: LogisticTable | UniformTable) -> NDArray[np.int64]:
        """Pop symbols, (n, 1).

        Raises:
            CorruptFileError: the stack is empty.
        """
        symbols = np.empty(table.shape, np.int64)
        for step in range(len(symbols) - 1, -1, -1):
            count = state.head & _COUNTS
            found, start, freq = table.locate(step, np.array([count], np.uint64))
            symbols[step] = found
            self.pop_interval(state, int(start[0]), int(freq[0]))
        return symbols

    def pop_interval(self, state: LegacyState, start: int, freq: int) -> None:
        """Take the interval off that holds the count in the head.

        Raises:
            CorruptFileError: the stack is empty.
        """
        head = freq * (state.head >> PRECISION) + (state.head & _COUNTS) - start
        if head < 1 << 32:
            if not state.words:
                raise CorruptFileError("the words end too early")
            head = head << 32 | state.words.pop()
            state.low_water = min(state.low_water, len(state.words))
        state.head = head


def _integers(column: NDArray[np.uint64]) -> Sequence[int]:
    integers: list[int] = column.ravel().tolist()
    return integers

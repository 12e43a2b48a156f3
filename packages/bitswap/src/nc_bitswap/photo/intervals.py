"""Symbols on their way to a message: their intervals, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message
from nc_core.protocols import Coder, Distribution

__all__ = ["Intervals"]


@dataclass(frozen=True)
class Intervals:
    """Intervals of symbols in ``2 ** precision`` counts.

    Args:
        starts, freqs: uint64, (steps, lanes).
        precision: bits.
    """

    starts: NDArray[np.uint64]
    freqs: NDArray[np.uint64]
    precision: int

    @classmethod
    def of(cls, distribution: Distribution, symbols: NDArray[Any]) -> Intervals:
        """Those of symbols under a distribution."""
        return cls(*distribution.intervals(symbols), distribution.precision)

    @property
    def bits(self) -> float:
        """The symbols' information."""
        logarithms = np.log2(self.freqs.astype(np.float64))
        return self.precision * self.freqs.size - float(logarithms.sum())

    def push(self, coder: Coder, message: Message) -> None:
        """Push the symbols."""
        coder.push_intervals(message, self.starts, self.freqs, self.precision)

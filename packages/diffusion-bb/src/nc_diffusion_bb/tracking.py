"""What each level of a chain costs: information pushed and popped."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Track"]


@dataclass
class Track:
    """Bits by level, of everything that was pushed while it watched.

    Args:
        steps: of the chain, T.
        dims: samples that are pushed.

    Attributes:
        push: information pushed of each level, float64, (T + 1,); index 0 is the pixels.
        pop: information popped of each level; that of the pixels is 0.
    """

    steps: int
    dims: int = 0
    push: NDArray[np.float64] = field(init=False)
    pop: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.push, self.pop = np.zeros(self.steps + 1), np.zeros(self.steps + 1)

    def add(self, level: int, *, pushed: float = 0.0, popped: float = 0.0) -> None:
        """Take note of bits of one level."""
        self.push[level] += pushed
        self.pop[level] += popped

    def take(self, other: Track) -> None:
        """Take note of all that another one did."""
        self.push += other.push
        self.pop += other.pop
        self.dims += other.dims

    @property
    def push_bits_per_dim(self) -> NDArray[np.float64]:
        """(T + 1,)."""
        return self.push / max(self.dims, 1)

    @property
    def pop_bits_per_dim(self) -> NDArray[np.float64]:
        """(T + 1,)."""
        return self.pop / max(self.dims, 1)

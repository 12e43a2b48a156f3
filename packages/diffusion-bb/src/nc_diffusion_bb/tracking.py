"""What each level of a chain costs: information pushed and popped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
        begun: that of a group in work, which is taken when the group is pushed.
    """

    steps: int
    dims: int = 0
    push: NDArray[np.float64] = field(init=False)
    pop: NDArray[np.float64] = field(init=False)
    begun: Track | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.push, self.pop = np.zeros(self.steps + 1), np.zeros(self.steps + 1)

    def add(self, level: int, *, pushed: float = 0.0, popped: float = 0.0) -> None:
        """Take note of bits of one level."""
        self.push[level] += pushed
        self.pop[level] += popped

    def begin(self, dims: int) -> Track:
        """That of a group of so many samples; one that was begun before is forgotten."""
        self.begun = Track(self.steps, dims)
        return self.begun

    def take(self, other: Track) -> None:
        """Take note of all that another one did."""
        self.push += other.push
        self.pop += other.pop
        self.dims += other.dims
        self.begun = None

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`of` makes it of again, the part of a group that is done included."""
        begun = Track(self.steps) if self.begun is None else self.begun
        return {
            "pushed": self.push + begun.push,
            "popped": self.pop + begun.pop,
            "dims": np.array(self.dims),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Track:
        """From :meth:`to_arrays`; the rest of a group is begun and taken as a whole one is."""
        track = cls(len(arrays["pushed"]) - 1, int(arrays["dims"]))
        track.push, track.pop = arrays["pushed"].copy(), arrays["popped"].copy()
        return track

    @property
    def push_bits_per_dim(self) -> NDArray[np.float64]:
        """(T + 1,)."""
        return self.push / max(self.dims, 1)

    @property
    def pop_bits_per_dim(self) -> NDArray[np.float64]:
        """(T + 1,)."""
        return self.pop / max(self.dims, 1)

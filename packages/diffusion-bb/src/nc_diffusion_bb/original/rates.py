"""Rates of a message in the original's three ways, and the cost of every level.

With n dimensions coded so far, bytes of the flat message M, of the initial words I, and E the bytes
that the first batch borrowed before it pushed anything:

    total       8 M / n            what is transmitted if nobody has a use for the initial words
    used        8 (M - I + E) / n  without the initial words that were never touched
    effective   8 (M - I) / n      the published number: as if initial words cost nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message
from nc_diffusion_bb.original.words import flat_bytes

__all__ = ["Growth", "LevelBits", "Meter", "Rates", "Tally"]


@dataclass(frozen=True)
class Growth:
    """What pushing one batch did to the flat message.

    Args:
        borrowed: bytes that were popped before the first push.
        pushed, popped: bytes of every level, int64 (levels + 1,), index 0 for the pixels; None
            where they were not measured. Words are whole, so a byte count is a multiple of 4.
    """

    borrowed: int
    pushed: NDArray[np.int64] | None
    popped: NDArray[np.int64] | None


class Meter:
    """Measures a message while a batch is pushed.

    Args:
        message: which.
        levels: number of latents.
        track: measure every level.
    """

    def __init__(self, message: Message, levels: int, *, track: bool) -> None:
        self._message, self._track = message, track
        self._before = self._start = flat_bytes(message)
        self._pushed = np.zeros(levels + 1, np.int64)
        self._popped = np.zeros(levels + 1, np.int64)
        self._borrowed = 0

    def popped(self, level: int) -> None:
        """Just now a level was popped."""
        if self._track:
            self._popped[level] = -self._change()

    def drawn(self) -> None:
        """All latents have been popped."""
        now = self._before if self._track else flat_bytes(self._message)
        self._borrowed = self._start - now

    def pushed(self, level: int) -> None:
        """Just now a level was pushed."""
        if self._track:
            self._pushed[level] = self._change()

    def growth(self) -> Growth:
        """What was measured."""
        if not self._track:
            return Growth(self._borrowed, None, None)
        return Growth(self._borrowed, self._pushed, self._popped)

    def _change(self) -> int:
        before, self._before = self._before, flat_bytes(self._message)
        return self._before - before


class Rates(NamedTuple):
    """Bits per dimension of all images so far."""

    rate_total: float
    rate_used: float
    rate_effective: float


class LevelBits(NamedTuple):
    """Bits per dimension of every level over batches, float64 (levels + 1,) each.

    ``mean`` is over all dimensions that were coded; the others are of single batches.
    """

    mean: NDArray[np.float64]
    stdd: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]


@dataclass
class Tally:
    """What is known of the batches on a message.

    Args:
        dims: dimensions of an image.
        initial_bytes: of the flat message before the first batch.
        extra_bytes: that the first batch borrowed; 0 before there is one.
        batches: images of every batch, int64 (batches,).
        push_bytes, pop_bytes: of every batch and level, int64 (batches, levels + 1); no rows
            where they are not tracked.
    """

    dims: int
    initial_bytes: int
    extra_bytes: int
    batches: NDArray[np.int64]
    push_bytes: NDArray[np.int64]
    pop_bytes: NDArray[np.int64]

    @classmethod
    def empty(cls, dims: int, levels: int, message: Message) -> Tally:
        """No batches yet on this message."""
        none = np.zeros((0, levels + 1), np.int64)
        return cls(dims, flat_bytes(message), 0, np.zeros(0, np.int64), none, none)

    @property
    def images(self) -> int:
        """Images so far."""
        return int(self.batches.sum())

    def add(self, images: int, growth: Growth) -> None:
        """Count a batch."""
        if not len(self.batches):
            self.extra_bytes = growth.borrowed
        self.batches = np.append(self.batches, images)
        if growth.pushed is not None and growth.popped is not None:
            self.push_bytes = np.vstack([self.push_bytes, growth.pushed])
            self.pop_bytes = np.vstack([self.pop_bytes, growth.popped])

    def rates(self, message_bytes: int) -> Rates:
        """Rates of the flat message of that many bytes, which holds at least one image."""
        by = 8 / (self.images * self.dims)
        net = message_bytes - self.initial_bytes
        return Rates(by * message_bytes, by * (net + self.extra_bytes), by * net)

    def level_bits(self) -> tuple[LevelBits, LevelBits] | None:
        """Pushed and popped bits of every level; None where they were not tracked."""
        if not len(self.push_bytes):
            return None
        return self._level_bits(self.push_bytes), self._level_bits(self.pop_bytes)

    def _level_bits(self, level_bytes: NDArray[np.int64]) -> LevelBits:
        dims = self.batches * self.dims
        rows = 8 * level_bytes / dims[:, None]
        mean = 8 * level_bytes.sum(axis=0) / dims.sum()
        return LevelBits(mean, rows.std(axis=0), rows.min(axis=0), rows.max(axis=0))

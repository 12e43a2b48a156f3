"""The state of a rANS coder: ``lanes`` heads over one shared stack of words.

Invariant: every head lies in [2**31, 2**63). A push that would leave the interval first moves
the low 32 bits of that head to the stack; a pop that leaves it takes a word back. Within one
push the lanes spill from the last to the first and within one pop they take from the first to
the last, which is the order of the chunked tail of vectorised rANS (``to_words`` gives the
words of that layout).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import CorruptFileError

__all__ = ["HEAD_MAX", "HEAD_MIN", "Message"]

HEAD_MIN = 1 << 31
HEAD_MAX = 1 << 63
_WORD_BITS = np.uint64(32)


class Message:
    """Heads and a stack of 32-bit words, which grow and shrink in place.

    Args:
        lanes: number of heads.
        initial_words: words laid on the stack from ``seed``, for bits-back coding to borrow.
        seed: of the initial words and, when there are any, of the heads' low 31 bits.

    Attributes:
        heads: uint64, (lanes,).
        stack: uint32, (capacity,); words 0 .. size - 1 are in use, the last is the top.
        cursor: int64, (2,): size, and the smallest size since construction (low water).
    """

    __slots__ = ("cursor", "heads", "initial_words", "seed", "stack")

    def __init__(self, lanes: int = 1, initial_words: int = 0, seed: int = 0) -> None:
        if lanes < 1 or initial_words < 0:
            raise ValueError("a message has at least one lane and no negative number of words")
        self.seed = seed
        self.initial_words = initial_words
        self.heads: NDArray[np.uint64] = np.full(lanes, HEAD_MIN, np.uint64)
        self.stack: NDArray[np.uint32] = np.empty(max(initial_words, 64), np.uint32)
        if initial_words:
            raw = np.random.PCG64(seed).random_raw(lanes + initial_words)
            self.heads |= raw[:lanes] >> np.uint64(33)
            self.stack[:initial_words] = raw[lanes:] >> _WORD_BITS
        self.cursor: NDArray[np.int64] = np.array([initial_words, initial_words], np.int64)

    @property
    def lanes(self) -> int:
        """Number of heads."""
        return len(self.heads)

    @property
    def size(self) -> int:
        """Words on the stack."""
        return int(self.cursor[0])

    @property
    def low_water(self) -> int:
        """Smallest number of words that ever lay on the stack; those below were never used."""
        return int(self.cursor[1])

    @property
    def bits(self) -> float:
        """Information in the message in bits: words, and log2 of every head over its minimum."""
        return 32.0 * self.size + float(np.log2(self.heads / HEAD_MIN).sum())

    def reserve(self, words: int) -> None:
        """Make room for that many more words."""
        needed = self.size + words
        if needed > len(self.stack):
            grown = np.empty(max(needed, 2 * len(self.stack)), np.uint32)
            grown[: self.size] = self.stack[: self.size]
            self.stack = grown

    def copy(self) -> Message:
        """An independent message in the same state."""
        twin = object.__new__(Message)
        twin.seed, twin.initial_words = self.seed, self.initial_words
        twin.heads, twin.stack = self.heads.copy(), self.stack.copy()
        twin.cursor = self.cursor.copy()
        return twin

    def take(self, other: Message) -> None:
        """Be in the state of another message of the same lanes, which is not to be used again."""
        self.heads[:] = other.heads
        self.stack = other.stack
        self.cursor[:] = other.cursor

    def is_initial(self) -> bool:
        """Whether it holds exactly what it was constructed with."""
        fresh = Message(self.lanes, self.initial_words, self.seed)
        return (
            self.size == fresh.size
            and np.array_equal(self.heads, fresh.heads)
            and np.array_equal(self.stack[: self.size], fresh.stack[: fresh.size])
        )

    def to_words(self, floor: int = 0) -> NDArray[np.uint32]:
        """High halves of the heads, their low halves, and the stack above ``floor``, top first.

        Returns:
            uint32, (2 * lanes + size - floor,).
        """
        high = (self.heads >> _WORD_BITS).astype(np.uint32)
        low = self.heads.astype(np.uint32)
        return np.concatenate([high, low, self.stack[floor : self.size][::-1]])

    @classmethod
    def from_words(cls, words: NDArray[Any], lanes: int, base: Message | None = None) -> Message:
        """The message whose ``to_words(floor)`` is ``words``.

        Args:
            words: uint32, (at least 2 * lanes,).
            lanes: number of heads.
            base: a message whose whole stack lies under the words (its size was the floor).

        Raises:
            CorruptFileError: too few words, or a head outside its interval.
        """
        words = np.ascontiguousarray(words, np.uint32)
        if len(words) < 2 * lanes:
            raise CorruptFileError("message ends inside its heads")
        message = cls(lanes) if base is None else base.copy()
        high = words[:lanes].astype(np.uint64)
        message.heads = (high << _WORD_BITS) | words[lanes : 2 * lanes].astype(np.uint64)
        if bool(((message.heads < HEAD_MIN) | (message.heads >= HEAD_MAX)).any()):
            raise CorruptFileError("message head lies outside its interval")
        tail = words[2 * lanes :]
        message.reserve(len(tail))
        message.stack[message.size : message.size + len(tail)] = tail[::-1]
        message.cursor[0] += len(tail)
        return message

"""The original's message as words: the random ones that it starts from, and how many it has.

The flat message is the folded one of :mod:`nc_core.ans.folding`. Its size is measured after every
batch, and around every push and pop where that is asked for, so it must not cost a copy of the
message: folding only pushes, and so the words of the stack can stay where they are.

Reference: https://github.com/j-towns/craystack, ``rans.py``.
"""

from __future__ import annotations

import importlib

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.folding import unfold
from nc_core.ans.message import Message

__all__ = ["flat_bytes", "initial_message", "message_of_random_words"]

_LENGTH_BITS = np.uint64(5)
_WORD_BITS = np.uint64(32)


def initial_message(lanes: int, words: int, seed: int) -> Message:
    """Random words for bits-back coding to borrow, unfolded into lanes.

    Args:
        lanes: dimensions of a batch.
        words: how many to draw; unfolding takes part of them.
        seed: of NumPy's legacy generator.

    Raises:
        CorruptFileError: too few words for that many lanes.
    """
    drawn = np.random.RandomState(seed).randint(1 << 32, size=words, dtype=np.uint32)
    return message_of_random_words(drawn, lanes)


def message_of_random_words(words: NDArray[np.uint32], lanes: int) -> Message:
    """The message that arbitrary words unfold to.

    The first two make a head of up to 64 bits, and a legal one has 63 at most. The first pop of
    unfolding, of five bits, makes it legal; the legal message from which that pop gives the same is
    taken instead. It is one word longer, as the original's is when it is folded again.

    Args:
        words: uint32, (at least 2,).
        lanes: number of heads.

    Raises:
        CorruptFileError: too few words for that many lanes.
    """
    if len(words) >= 2 and words[0] >> 31:
        head = words[0].astype(np.uint64) << _WORD_BITS | words[1].astype(np.uint64)
        popped = head >> _LENGTH_BITS
        count = head & np.uint64(31)
        legal = (popped >> _WORD_BITS << _LENGTH_BITS) + count
        words = np.concatenate(
            [np.array([0, legal, popped], np.uint64).astype(np.uint32), words[2:]]
        )
    return unfold(words, lanes)


def flat_bytes(message: Message) -> int:
    """Bytes of the folded message, 4 * len(fold(message)), without folding it."""
    # Imports numba, half a second, so only where something is coded.
    kernels = importlib.import_module("nc_diffusion_bb.original.folded_size")
    return 4 * (2 + message.size + int(kernels.words_of_folding(message.heads.copy())))

"""Intervals with any denominator, lane by lane: rANS beyond powers of two.

A plain push with frequency f out of 2**p keeps a head in [2**31, 2**63) because 2**p divides
2**31. A denominator N that does not divide it lets heads leave the interval, and one
renormalisation is no longer the inverse of the other (head 2**63 - 1, f = 1, N = 3). With
M = 2**31 // N the interval is therefore left and entered on both sides of the arithmetic:

    push   spill until the head is below f*M * 2**32     head = (head // f) * N + head % f + start
           take a word while the head is below 2**31
    pop    spill until the head is below N*M * 2**32     count = head % N, symbol from the count
           head = f * (head // N) + count - start        take a word while the head is below 2**31

Between the two renormalisations a head lies in [f*M, f*M * 2**32) before a push and in
[N*M, N*M * 2**32) after it, so that each step of a pop undoes one step of the push. Where
N is a power of two the second renormalisation never acts and the words are those of ordinary
rANS. Denominators may differ from lane to lane.

Reference: Jarek Duda, "Asymmetric numeral systems", arXiv 1311.2540 (b-uniqueness).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nc_core.ans.message import HEAD_MIN, Message
from nc_core.errors import CorruptFileError

__all__ = ["Lanes", "Locate", "pop_fraction", "push_fraction"]

Lanes: TypeAlias = NDArray[np.uint64]
Locate: TypeAlias = Callable[[Lanes], tuple[NDArray[Any], Lanes, Lanes]]
"""From counts, uint64, (lanes,), to the symbols that own them, their starts and frequencies."""

_WORD_BITS = np.uint64(32)


def push_fraction(
    message: Message, starts: ArrayLike, freqs: ArrayLike, totals: ArrayLike, first_lane: int = 0
) -> None:
    """Push one interval per lane: ``start <= count < start + freq`` of ``total``.

    Args:
        message: grows in place.
        starts: integers, (lanes,) or ().
        freqs: integers, (lanes,) or (), at least 1.
        totals: integers, (lanes,) or (); start + freq <= total <= 2**31.
        first_lane: the lanes used are ``first_lane .. first_lane + lanes - 1``.

    Raises:
        ValueError: an empty or impossible interval, or more lanes than the message has.
    """
    start, freq, total = _lanes(starts, freqs, totals)
    heads = _heads(message, first_lane, len(total))
    if bool(((freq < 1) | (start >= total) | (start + freq > total)).any()):
        raise ValueError("impossible interval: 1 <= freq and start + freq <= total must hold")
    heads, spilled = _spill(heads, freq * _multiples(total) << _WORD_BITS)
    _lay(message, spilled)
    # A head that did not spill does not shrink here, so the words laid are enough to take from.
    heads = _take(message, heads // freq * total + heads % freq + start)
    message.heads[first_lane : first_lane + len(heads)] = heads


def pop_fraction(
    message: Message, totals: ArrayLike, locate: Locate, first_lane: int = 0
) -> NDArray[Any]:
    """Pop one symbol per lane; the inverse of ``push_fraction``.

    Args:
        message: shrinks in place.
        totals: integers, (lanes,) or (); as for the push.
        locate: finds symbols from counts below their totals.
        first_lane: as for the push.

    Returns:
        The symbols, (lanes,).

    Raises:
        CorruptFileError: the stack is empty; the message is unchanged then.
    """
    (total,) = _lanes(totals)
    heads = _heads(message, first_lane, len(total))
    heads, spilled = _spill(heads, total * _multiples(total) << _WORD_BITS)
    count = heads % total
    symbols, start, freq = locate(count)
    heads = freq * (heads // total) + count - start
    if int((heads < HEAD_MIN).sum()) > message.size + len(spilled):
        raise CorruptFileError("message is exhausted: a pop found its stack empty")
    _lay(message, spilled)
    heads = _take(message, heads)
    message.cursor[1] = min(message.low_water, message.size)
    message.heads[first_lane : first_lane + len(heads)] = heads
    return symbols


def _lanes(*values: ArrayLike) -> list[Lanes]:
    arrays = [np.atleast_1d(np.asarray(value).astype(np.uint64)) for value in values]
    return list(np.broadcast_arrays(*arrays))


def _heads(message: Message, first_lane: int, lanes: int) -> Lanes:
    if not 0 <= first_lane <= first_lane + lanes <= message.lanes:
        raise ValueError(f"the message has {message.lanes} lanes, too few for these symbols")
    return message.heads[first_lane : first_lane + lanes]


def _multiples(total: Lanes) -> Lanes:
    """M, the largest number of totals that fit below 2**31."""
    if bool(((total < 1) | (total > HEAD_MIN)).any()):
        raise ValueError("a total lies between 1 and 2**31")
    return HEAD_MIN // total


def _spill(heads: Lanes, bound: Lanes) -> tuple[Lanes, NDArray[np.uint32]]:
    """Heads below their bounds, and the low words that this frees, in lane order."""
    full = heads >= bound
    return np.where(full, heads >> _WORD_BITS, heads), heads[full].astype(np.uint32)


def _lay(message: Message, words: NDArray[np.uint32]) -> None:
    """Lay words on the stack, the first lane's on top."""
    message.reserve(len(words))
    message.stack[message.size : message.size + len(words)] = words[::-1]
    message.cursor[0] += len(words)


def _take(message: Message, heads: Lanes) -> Lanes:
    """Heads of at least 2**31: low ones take a word from the stack's top, in lane order."""
    low = heads < HEAD_MIN
    floor = message.size - int(low.sum())
    heads[low] = heads[low] << _WORD_BITS | message.stack[floor : message.size][::-1]
    message.cursor[0] = floor
    return heads

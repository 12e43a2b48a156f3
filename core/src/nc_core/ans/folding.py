"""Folding the heads of all lanes into one, which nearly halves what thousands of lanes cost.

A message of n lanes stores n heads of 64 bits, of which only log2(head) are in use (31 in a
fresh head). Folding codes heads as data: of the sizes 1, 2, 4, ... up to n it goes from each to
the next smaller, pushing the heads beyond the smaller size onto the first lanes of what
remains, under a distribution that is right for heads: x in [2**31, 2**63) with probability
proportional to 1 / x (Benford's law), log2(x) + 4.5 bits each. Unfolding pops them again.

Both codecs of this module treat one row, a symbol per lane, and use the first lanes of the
message. The last thing pushed is the first popped.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nc_core.ans.finer import pop_fraction, push_fraction
from nc_core.ans.message import Message

__all__ = [
    "fold",
    "pop_benford",
    "pop_big_uniform",
    "push_benford",
    "push_big_uniform",
    "unfold",
]

_LIMB_BITS = 16
_LEADING_BITS = 4
_LENGTH_BITS = 5
_SHORTEST = 31

# Of the four bits s that follow the leading one: 2**16 * log2(1 + s / 16), rounded.
_BENFORD_TOTAL = 1 << 16
# fmt: off
_BENFORD_STARTS = np.array([
    0, 5732, 11136, 16248, 21098, 25711, 30109, 34312,
    38336, 42196, 45904, 49472, 52911, 56229, 59434, 62534, _BENFORD_TOTAL,
], np.uint64)
# fmt: on


def fold(message: Message, floor: int = 0) -> NDArray[np.uint32]:
    """Words of the message after all lanes were folded into one; the message is not changed.

    Args:
        message: of any number of lanes.
        floor: words at the bottom of the stack to leave out, as in ``Message.to_words``.

    Returns:
        uint32: high and low half of the one head, then the stack above ``floor``, top first.
    """
    folded = message.copy()
    for size in reversed(_sizes(message.lanes)[:-1]):
        heads, folded.heads = folded.heads, folded.heads[:size].copy()
        push_benford(folded, heads[size:])
    return folded.to_words(floor)


def unfold(words: NDArray[Any], lanes: int, base: Message | None = None) -> Message:
    """The message of that many lanes whose ``fold(floor)`` is ``words``.

    Args:
        words: uint32, (at least 2,).
        lanes: number of heads.
        base: a message whose whole stack lies under the words, as in ``Message.from_words``.

    Raises:
        CorruptFileError: too few words, or a head outside its interval.
    """
    message = Message.from_words(words, 1, base)
    for size, larger in pairwise(_sizes(lanes)):
        upper = pop_benford(message, larger - size)
        message.heads = np.concatenate([message.heads, upper])
    return message


def push_benford(message: Message, values: ArrayLike) -> None:
    """Push integers of 32 to 63 bits that follow Benford's law, P(x) proportional to 1 / x.

    Costs log2(x) + 5 - log2(log2(e)) bits. The value is split: four bits after the leading
    one (16-bit table), all lower bits (uniform), number of bits (uniform).

    Args:
        message: grows in place.
        values: uint64, (lanes,), 2**31 <= value < 2**63.

    Raises:
        ValueError: a value outside the interval.
    """
    value = np.asarray(values, np.uint64)
    if bool(((value < 1 << _SHORTEST) | (value >= 1 << 63)).any()):
        raise ValueError("a value lies outside [2**31, 2**63)")
    length = _bit_length(value) - 1
    rest = length - _LEADING_BITS
    leading = (value >> rest.astype(np.uint64)) & np.uint64(15)
    push_fraction(message, *_benford_interval(leading), _BENFORD_TOTAL)
    _push_limbs(message, value, rest)
    push_fraction(message, length - _SHORTEST, 1, 1 << _LENGTH_BITS)


def pop_benford(message: Message, lanes: int) -> NDArray[np.uint64]:
    """Pop what ``push_benford`` pushed.

    Args:
        message: shrinks in place.
        lanes: number of values.

    Raises:
        CorruptFileError: the stack is empty.
    """
    length = _pop_uniform(message, np.full(lanes, _LENGTH_BITS)).astype(np.int64) + _SHORTEST
    rest = length - _LEADING_BITS
    low = _pop_limbs(message, rest)
    leading = pop_fraction(message, np.full(lanes, _BENFORD_TOTAL), _locate_benford)
    return (leading + np.uint64(16) << rest.astype(np.uint64)) | low


def push_big_uniform(message: Message, values: ArrayLike, precision: int) -> None:
    """Push integers below ``2**precision``, all equally likely, 16 bits at a time.

    Args:
        message: grows in place.
        values: uint64, (lanes,).
        precision: bits, 0 to 64.

    Raises:
        ValueError: a value of more bits.
    """
    value = np.asarray(values, np.uint64)
    if not 0 <= precision <= 64 or bool((_bit_length(value) > precision).any()):
        raise ValueError(f"a value has more than {precision} bits")
    _push_limbs(message, value, np.full(len(value), precision))


def pop_big_uniform(message: Message, lanes: int, precision: int) -> NDArray[np.uint64]:
    """Pop what ``push_big_uniform`` pushed.

    Args:
        message: shrinks in place.
        lanes: number of values.
        precision: bits, 0 to 64.

    Raises:
        CorruptFileError: the stack is empty.
    """
    return _pop_limbs(message, np.full(lanes, precision))


def _sizes(lanes: int) -> list[int]:
    powers = [1 << bit for bit in range(lanes.bit_length()) if 1 << bit < lanes]
    return [*powers, lanes]


def _bit_length(value: NDArray[np.uint64]) -> NDArray[np.int64]:
    # Halves, because a float64 of the whole value may round up to the next power of two.
    high = np.frexp((value >> np.uint64(32)).astype(np.float64))[1].astype(np.int64)
    low = np.frexp((value & np.uint64(0xFFFFFFFF)).astype(np.float64))[1].astype(np.int64)
    return np.where(high > 0, high + 32, low)


def _limb_bits(bits: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Bits of each limb, lowest limb first; a lane that has run out of bits has 0."""
    lows = range(0, int(bits.max(initial=0)), _LIMB_BITS)
    return [np.clip(bits - low, 0, _LIMB_BITS) for low in lows]


def _push_limbs(message: Message, value: NDArray[np.uint64], bits: NDArray[np.int64]) -> None:
    for limb, limb_bits in enumerate(_limb_bits(bits)):
        totals = np.uint64(1) << limb_bits.astype(np.uint64)
        digits = (value >> np.uint64(limb * _LIMB_BITS)) & (totals - np.uint64(1))
        push_fraction(message, digits, 1, totals)


def _pop_limbs(message: Message, bits: NDArray[np.int64]) -> NDArray[np.uint64]:
    value = np.zeros(len(bits), np.uint64)
    for limb_bits in reversed(_limb_bits(bits)):
        digits = _pop_uniform(message, limb_bits)
        value = (value << np.uint64(_LIMB_BITS)) | digits
    return value


def _pop_uniform(message: Message, bits: NDArray[np.int64]) -> NDArray[np.uint64]:
    ones = np.ones(len(bits), np.uint64)
    totals = ones << bits.astype(np.uint64)
    return pop_fraction(message, totals, lambda count: (count, count, ones))


def _benford_interval(
    leading: NDArray[np.uint64],
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    start = _BENFORD_STARTS[leading]
    return start, _BENFORD_STARTS[leading + 1] - start


def _locate_benford(
    count: NDArray[np.uint64],
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    leading = np.searchsorted(_BENFORD_STARTS, count, side="right").astype(np.uint64) - 1
    return (leading, *_benford_interval(leading))

"""How many words leave the heads when lanes are folded. Importing this imports numba.

Folding pushes the heads beyond each power of two onto as many lanes below it, lane by lane; see
:mod:`nc_core.ans.folding`. Nothing is popped, so the stack does not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types as t

from nc_core.ans.compiled import kernel, primitive

__all__ = ["words_of_folding"]

_HEADS = t.uint64[::1]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_FOUR = np.uint64(4)
_LENGTH_BITS = np.uint64(5)
_LIMB_BITS = np.uint64(16)
_LEADING_MASK = np.uint64(15)
_SHORTEST = np.uint64(31)
_WORD_BITS = np.uint64(32)
_HEAD_BITS = np.uint64(63)

# Of the four bits s after the leading one, 2**16 * log2(1 + s / 16), to nearest.
_STARTS = np.ceil(65536 * (np.log2(np.arange(16, 33)) - 4) - 0.5).astype(np.uint64)


@primitive
def _push(head: Any, start: Any, freq: Any, precision: Any) -> Any:
    """Head after the push of an interval, and the words that it spilled. All uint64."""
    spilled = head >= freq << (_HEAD_BITS - precision)
    head = head >> _WORD_BITS if spilled else head
    return ((head // freq) << precision) + head % freq + start, np.int64(spilled)


@primitive
def _push_head(head: Any, value: Any) -> Any:
    """Head after the push of another head, and the words that it spilled."""
    length = _SHORTEST
    while value >> (length + _ONE):
        length += _ONE
    rest = length - _FOUR
    leading = (value >> rest) & _LEADING_MASK
    start = _STARTS[leading]
    head, words = _push(head, start, _STARTS[leading + _ONE] - start, _LIMB_BITS)
    low = _ZERO
    while low < rest:
        bits = min(rest - low, _LIMB_BITS)
        digit = (value >> low) & ((_ONE << bits) - _ONE)
        head, spilled = _push(head, digit, _ONE, bits)
        words += spilled
        low += _LIMB_BITS
    head, spilled = _push(head, length - _SHORTEST, _ONE, _LENGTH_BITS)
    return head, words + spilled


@kernel(t.int64(_HEADS))
def words_of_folding(heads: Any) -> Any:
    """Words that fold all lanes into the first spills; ``heads`` is used up.

    Args:
        heads: uint64, (lanes,), each in [2**31, 2**63).
    """
    words = 0
    larger = len(heads)
    while larger > 1:
        size = 1
        while 2 * size < larger:
            size *= 2
        for lane in range(larger - size):
            heads[lane], spilled = _push_head(heads[lane], heads[size + lane])
            words += spilled
        larger = size
    return words

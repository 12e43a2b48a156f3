"""Compiled rANS: one interval at a time, and arrays of given intervals.

Symbols lie flat, row after row. ``push`` kernels go from the last to the first and ``pop``
kernels from the first to the last, which is "rows, then lanes" in that direction. Every kernel
takes the message's heads, stack and cursor, and the number of lanes, and returns a status. On
anything but ``OK`` heads and cursor hold an unfinished state, and the caller restores them (a
push only writes above the old size, a pop writes no words).

``push_interval`` and ``pop_interval`` are the whole coder, to be inlined in other kernels. They
expect, and keep, heads in [2**31, 2**63), with 1 <= freq <= 2**precision and precision <= 28.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types as t
from numba.extending import intrinsic

from nc_core.ans.compiled import kernel, primitive

__all__ = [
    "CURSOR",
    "HEADS",
    "I16",
    "I32",
    "I64",
    "IMPOSSIBLE",
    "OK",
    "OUTSIDE",
    "OUT_OF_WORDS",
    "STACK",
    "SYMBOLS",
    "U16",
    "U32",
    "U64",
    "low_bits",
    "multiply_high",
    "pop_interval",
    "pop_intervals",
    "push_interval",
    "push_intervals",
]

OK = 0
OUT_OF_WORDS = 1  # a pop found the stack empty
IMPOSSIBLE = 2  # a symbol of frequency 0
OUTSIDE = 3  # a symbol that is not in the alphabet, or a count that is not in the interval

HEADS = t.uint64[::1]
STACK = t.uint32[::1]
CURSOR = t.int64[::1]
SYMBOLS = t.int64[::1]
# Parameters may be read-only arrays.
U64 = t.Array(t.uint64, 1, "C", readonly=True)
U32 = t.Array(t.uint32, 1, "C", readonly=True)
U16 = t.Array(t.uint16, 1, "C", readonly=True)
U8 = t.Array(t.uint8, 1, "C", readonly=True)
I64 = t.Array(t.int64, 1, "C", readonly=True)
I32 = t.Array(t.int32, 1, "C", readonly=True)
I16 = t.Array(t.int16, 1, "C", readonly=True)

# Constants of the right type: uint64 and int64 together would become float64.
_HEAD_MIN = np.uint64(1 << 31)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_SIX = np.uint64(6)
_WORD_BITS = np.uint64(32)
_HEAD_BITS = np.uint64(63)


def _multiply_high(typing_context: Any, left: Any, right: Any) -> Any:
    """The upper 64 bits of the product of two uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = arguments[0].type
        wide = type(word)(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, wide(64)), word)

    return t.uint64(t.uint64, t.uint64), generate


multiply_high: Any = intrinsic(_multiply_high)


@primitive
def low_bits(head: Any, precision: Any) -> Any:
    """The count that a head holds: its low ``precision`` bits. All uint64."""
    return head & ((_ONE << precision) - _ONE)


@primitive
def push_interval(head: Any, stack: Any, size: Any, start: Any, freq: Any, precision: Any) -> Any:
    """Push one interval: head and size after it. All uint64; room for one word is given."""
    # The word is written whether it is kept or not: a store is cheaper than a missed branch.
    stack[size] = np.uint32(head)
    spills = head >= freq << (_HEAD_BITS - precision)
    size += np.uint64(spills)
    head = head >> _WORD_BITS if spills else head
    # Changes nothing, as precisions are below 64. But LLVM takes the result of an exclusive or
    # for a large number, and so leaves out its test for a shorter division, which would be
    # mispredicted once for every few symbols and cost a quarter of the speed.
    head ^= precision >> _SIX
    return ((head // freq) << precision) + head % freq + start, size


@primitive
def pop_interval(head: Any, stack: Any, size: Any, start: Any, freq: Any, precision: Any) -> Any:
    """Pop one interval that holds the head's count: head, size and success. All uint64."""
    head = freq * (head >> precision) + low_bits(head, precision) - start
    # Read whether it is needed or not, for the same reason; from an empty stack a negative index
    # reads the array's last word.
    word = np.uint64(stack[np.int64(size) - 1])
    low = head < _HEAD_MIN
    head = (head << _WORD_BITS) | word if low else head
    size -= np.uint64(low)
    return head, size, np.int64(size) >= 0


@kernel(t.int64(HEADS, STACK, CURSOR, t.int64, U64, U64, U8))
def push_intervals(
    heads: Any, stack: Any, cursor: Any, lanes: Any, starts: Any, freqs: Any, precisions: Any
) -> Any:
    """Push given intervals; ``precisions`` holds one value, or one for each interval."""
    size = np.uint64(cursor[0])
    lane = lanes - 1
    head = heads[lane]
    precision = np.uint64(precisions[0])
    for i in range(len(starts) - 1, -1, -1):
        if len(precisions) > 1:
            precision = np.uint64(precisions[i])
        freq = freqs[i]
        if freq == _ZERO:
            return IMPOSSIBLE
        head, size = push_interval(head, stack, size, starts[i], freq, precision)
        if lanes > 1:
            heads[lane] = head
            lane = lanes - 1 if lane == 0 else lane - 1
            head = heads[lane]
    heads[lane] = head
    cursor[0] = size
    return OK


@kernel(t.int64(HEADS, STACK, CURSOR, t.int64, U64, U64, U8))
def pop_intervals(
    heads: Any, stack: Any, cursor: Any, lanes: Any, starts: Any, freqs: Any, precisions: Any
) -> Any:
    """Pop given intervals, the inverse of ``push_intervals``."""
    size = np.uint64(cursor[0])
    lane = 0
    head = heads[0]
    precision = np.uint64(precisions[0])
    for i in range(len(starts)):
        if len(precisions) > 1:
            precision = np.uint64(precisions[i])
        count = low_bits(head, precision)
        if count - starts[i] >= freqs[i]:
            return OUTSIDE
        head, size, enough = pop_interval(head, stack, size, starts[i], freqs[i], precision)
        if not enough:
            return OUT_OF_WORDS
        if lanes > 1:
            heads[lane] = head
            lane = lane + 1 if lane + 1 < lanes else 0
            head = heads[lane]
    heads[lane] = head
    cursor[0] = size
    cursor[1] = min(cursor[1], cursor[0])
    return OK

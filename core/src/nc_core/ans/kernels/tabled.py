"""Compiled coding of symbols with uniform and categorical distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types as t

from nc_core.ans.compiled import kernel
from nc_core.ans.kernels.interval import (
    CURSOR,
    HEADS,
    IMPOSSIBLE,
    OK,
    OUT_OF_WORDS,
    OUTSIDE,
    STACK,
    SYMBOLS,
    U16,
    U32,
    U64,
    low_bits,
    multiply_high,
    pop_interval,
    push_interval,
)

__all__ = [
    "pop_categorical",
    "pop_shared_categorical",
    "pop_uniform",
    "push_categorical",
    "push_shared_categorical",
    "push_uniform",
]

_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_WORD_BITS = np.uint64(32)
_LOOKUP_BITS = 12

_UNIFORM = t.int64(HEADS, STACK, CURSOR, t.int64, SYMBOLS, t.int64, t.int64)
_SHARED = t.int64(HEADS, STACK, CURSOR, t.int64, SYMBOLS, t.int64, U32, U16, U64)
_TABLES = t.int64(HEADS, STACK, CURSOR, t.int64, SYMBOLS, t.int64, U32, t.int64, t.int64, t.int64)


@kernel(_UNIFORM)
def push_uniform(
    heads: Any, stack: Any, cursor: Any, lanes: Any, symbols: Any, precision: Any, alphabet: Any
) -> Any:
    """Push symbols 0 .. alphabet - 1 of equal frequency."""
    size = np.uint64(cursor[0])
    lane = lanes - 1
    head = heads[lane]
    bits = np.uint64(precision)
    for i in range(len(symbols) - 1, -1, -1):
        symbol = symbols[i]
        if symbol < 0 or symbol >= alphabet:
            return OUTSIDE
        start = (symbol << precision) // alphabet
        freq = ((symbol + 1) << precision) // alphabet - start
        head, size = push_interval(head, stack, size, np.uint64(start), np.uint64(freq), bits)
        if lanes > 1:
            heads[lane] = head
            lane = lanes - 1 if lane == 0 else lane - 1
            head = heads[lane]
    heads[lane] = head
    cursor[0] = size
    return OK


@kernel(_UNIFORM)
def pop_uniform(
    heads: Any, stack: Any, cursor: Any, lanes: Any, symbols: Any, precision: Any, alphabet: Any
) -> Any:
    """Pop symbols 0 .. alphabet - 1 of equal frequency."""
    size = np.uint64(cursor[0])
    lane = 0
    head = heads[0]
    bits = np.uint64(precision)
    for i in range(len(symbols)):
        count = np.int64(low_bits(head, bits))
        symbol = ((count + 1) * alphabet - 1) >> precision
        symbols[i] = symbol
        start = (symbol << precision) // alphabet
        freq = ((symbol + 1) << precision) // alphabet - start
        head, size, enough = pop_interval(
            head, stack, size, np.uint64(start), np.uint64(freq), bits
        )
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


@kernel(_SHARED)
def push_shared_categorical(
    heads: Any,
    stack: Any,
    cursor: Any,
    lanes: Any,
    symbols: Any,
    precision: Any,
    cumulative: Any,
    first: Any,
    steps: Any,
) -> Any:
    """Push symbols that all have the same table, without a division.

    ``steps`` holds five numbers for each symbol (see ``push_steps`` in
    ``nc_core.ans.distributions.categorical``).
    """
    size = np.uint64(cursor[0])
    lane = np.uint64(lanes - 1)
    top = lane
    head = heads[lane]
    alphabet = np.uint64(len(cumulative) - 1)
    for i in range(len(symbols) - 1, -1, -1):
        symbol = np.uint64(symbols[np.uint64(i)])
        if symbol >= alphabet:
            return OUTSIDE
        entry = symbol * np.uint64(5)
        limit = steps[entry]
        if limit == _ZERO:
            return IMPOSSIBLE
        stack[size] = np.uint32(head)
        spills = head >= limit
        size += np.uint64(spills)
        head = head >> _WORD_BITS if spills else head
        quotient = multiply_high(head, steps[entry + _ONE]) >> steps[entry + np.uint64(2)]
        head += steps[entry + np.uint64(3)] + quotient * steps[entry + np.uint64(4)]
        if lanes > 1:
            heads[lane] = head
            lane = top if lane == _ZERO else lane - _ONE
            head = heads[lane]
    heads[lane] = head
    cursor[0] = size
    return OK


@kernel(_SHARED)
def pop_shared_categorical(
    heads: Any,
    stack: Any,
    cursor: Any,
    lanes: Any,
    symbols: Any,
    precision: Any,
    cumulative: Any,
    first: Any,
    steps: Any,
) -> Any:
    """Pop symbols that all have the same table; ``first`` says where to start looking."""
    size = np.uint64(cursor[0])
    lane = 0
    head = heads[0]
    bits = np.uint64(precision)
    shift = np.uint64(max(0, precision - _LOOKUP_BITS))
    for i in range(len(symbols)):
        count = low_bits(head, bits)
        symbol = np.uint64(first[count >> shift])
        while np.uint64(cumulative[symbol + _ONE]) <= count:
            symbol += _ONE
        symbols[i] = symbol
        start = np.uint64(cumulative[symbol])
        freq = np.uint64(cumulative[symbol + _ONE]) - start
        head, size, enough = pop_interval(head, stack, size, start, freq, bits)
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


@kernel(_TABLES)
def push_categorical(
    heads: Any,
    stack: Any,
    cursor: Any,
    lanes: Any,
    symbols: Any,
    precision: Any,
    cumulative: Any,
    alphabet: Any,
    step_stride: Any,
    lane_stride: Any,
) -> Any:
    """Push symbols whose tables differ; strides, in tables, find a symbol's own."""
    size = np.uint64(cursor[0])
    lane = lanes - 1
    step = len(symbols) // lanes - 1
    head = heads[lane]
    for i in range(len(symbols) - 1, -1, -1):
        symbol = symbols[i]
        if symbol < 0 or symbol >= alphabet:
            return OUTSIDE
        entry = (step * step_stride + lane * lane_stride) * (alphabet + 1) + symbol
        start = np.uint64(cumulative[entry])
        freq = np.uint64(cumulative[entry + 1]) - start
        if freq == _ZERO:
            return IMPOSSIBLE
        head, size = push_interval(head, stack, size, start, freq, np.uint64(precision))
        heads[lane] = head
        if lane == 0:
            lane = lanes
            step -= 1
        lane -= 1
        head = heads[lane]
    cursor[0] = size
    return OK


@kernel(_TABLES)
def pop_categorical(
    heads: Any,
    stack: Any,
    cursor: Any,
    lanes: Any,
    symbols: Any,
    precision: Any,
    cumulative: Any,
    alphabet: Any,
    step_stride: Any,
    lane_stride: Any,
) -> Any:
    """Pop symbols whose tables differ, by bisection."""
    size = np.uint64(cursor[0])
    lane = 0
    step = 0
    bits = np.uint64(precision)
    for i in range(len(symbols)):
        head = heads[lane]
        count = low_bits(head, bits)
        base = (step * step_stride + lane * lane_stride) * (alphabet + 1)
        low = base
        high = base + alphabet
        while high - low > 1:
            middle = (low + high) >> 1
            if np.uint64(cumulative[middle]) <= count:
                low = middle
            else:
                high = middle
        symbols[i] = low - base
        start = np.uint64(cumulative[low])
        freq = np.uint64(cumulative[high]) - start
        head, size, enough = pop_interval(head, stack, size, start, freq, bits)
        if not enough:
            return OUT_OF_WORDS
        heads[lane] = head
        lane += 1
        if lane == lanes:
            lane = 0
            step += 1
    cursor[0] = size
    cursor[1] = min(cursor[1], cursor[0])
    return OK

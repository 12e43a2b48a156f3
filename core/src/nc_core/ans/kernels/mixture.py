"""Compiled coding of symbols with mixtures of location-scale distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types as t

from nc_core.ans.compiled import kernel, primitive
from nc_core.ans.kernels.interval import (
    CURSOR,
    HEADS,
    I16,
    I32,
    I64,
    OK,
    OUT_OF_WORDS,
    OUTSIDE,
    STACK,
    SYMBOLS,
    low_bits,
    pop_interval,
    push_interval,
)

__all__ = ["pop_mixture", "push_mixture"]

_HEIGHT_BITS = 18
_LIMIT = 24 << 16
_TOP = 2 * _LIMIT
_NODES = 3074

# heads, stack, cursor, lanes, symbols, precision; means, scales, weights (a symbol's components
# together); intercepts, slopes (component after component); inverse scales; offsets or edges,
# widths or none; geometry (alphabet, shift, strides over steps and lanes, components, weight bits).
_SIGNATURE = t.int64(
    HEADS,
    STACK,
    CURSOR,
    t.int64,
    SYMBOLS,
    t.int64,
    I32,
    I16,
    I64,
    I64,
    I64,
    I64,
    I32,
    I32,
    I64,
)


@primitive
def _start(
    symbol: Any,
    parameter: Any,
    means: Any,
    scales: Any,
    weights: Any,
    intercepts: Any,
    slopes: Any,
    inverse_scales: Any,
    edges: Any,
    row: Any,
    width: Any,
    geometry: Any,
    total: Any,
) -> Any:
    """The count at which a symbol starts; its parameters begin at index ``parameter``."""
    alphabet, shift = geometry[0], geometry[1]
    inner = max(min(symbol, alphabet - 1), 1) - 1
    index = row if width > 0 else row * (alphabet - 1) + inner
    edge = np.int64(edges[index]) + symbol * width
    height = np.int64(0)
    for component in range(geometry[4]):
        i = parameter + component
        v = min(
            max((((edge - means[i]) * inverse_scales[scales[i] & 1023]) >> shift) + _LIMIT, 0), _TOP
        )
        cell = component * _NODES + (v >> 10)
        height += weights[i] * (intercepts[cell] + slopes[cell] * v)
    start = (height >> (_HEIGHT_BITS + geometry[5])) + symbol
    start = 0 if symbol <= 0 else start
    return total if symbol >= alphabet else start


@kernel(_SIGNATURE)
def push_mixture(
    heads: Any,
    stack: Any,
    cursor: Any,
    lanes: Any,
    symbols: Any,
    precision: Any,
    means: Any,
    scales: Any,
    weights: Any,
    intercepts: Any,
    slopes: Any,
    inverse_scales: Any,
    edges: Any,
    widths: Any,
    geometry: Any,
) -> Any:
    """Push symbols, each from a mixture of its own."""
    total = np.int64(1) << precision
    size = np.uint64(cursor[0])
    lane = lanes - 1
    step = len(symbols) // lanes - 1
    head = heads[lane]
    for i in range(len(symbols) - 1, -1, -1):
        symbol = symbols[i]
        if symbol < 0 or symbol >= geometry[0]:
            return OUTSIDE
        row = step * geometry[2] + lane * geometry[3]
        width = np.int64(widths[row]) if len(widths) else 0
        parameter = i * geometry[4]
        start = _start(
            symbol, parameter, means, scales, weights, intercepts, slopes, inverse_scales, edges,
            row, width, geometry, total,
        )  # fmt: skip
        end = _start(
            symbol + 1, parameter, means, scales, weights, intercepts, slopes, inverse_scales,
            edges, row, width, geometry, total,
        )  # fmt: skip
        head, size = push_interval(
            head, stack, size, np.uint64(start), np.uint64(end - start), np.uint64(precision)
        )
        heads[lane] = head
        if lane == 0:
            lane = lanes
            step -= 1
        lane -= 1
        head = heads[lane]
    cursor[0] = size
    return OK


@kernel(_SIGNATURE)
def pop_mixture(
    heads: Any,
    stack: Any,
    cursor: Any,
    lanes: Any,
    symbols: Any,
    precision: Any,
    means: Any,
    scales: Any,
    weights: Any,
    intercepts: Any,
    slopes: Any,
    inverse_scales: Any,
    edges: Any,
    widths: Any,
    geometry: Any,
) -> Any:
    """Pop symbols, each from a mixture of its own, by bisection."""
    total = np.int64(1) << precision
    bits = np.uint64(precision)
    size = np.uint64(cursor[0])
    lane = 0
    step = 0
    for i in range(len(symbols)):
        head = heads[lane]
        count = np.int64(low_bits(head, bits))
        row = step * geometry[2] + lane * geometry[3]
        width = np.int64(widths[row]) if len(widths) else 0
        parameter = i * geometry[4]
        symbol, above = np.int64(0), geometry[0]
        start, end = np.int64(0), total
        while above - symbol > 1:
            middle = (symbol + above) >> 1
            value = _start(
                middle, parameter, means, scales, weights, intercepts, slopes, inverse_scales,
                edges, row, width, geometry, total,
            )  # fmt: skip
            if value <= count:
                symbol, start = middle, value
            else:
                above, end = middle, value
        symbols[i] = symbol
        head, size, enough = pop_interval(
            head, stack, size, np.uint64(start), np.uint64(end - start), bits
        )
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

"""Compiled coding of symbols with discretized location-scale distributions and mixtures.

The formula is that of :mod:`nc_core.ans.distributions.location_scale`, with its interpolation
written as lines: in cell c the polygon is ``intercepts[c] + slopes[c] * v`` (18 fractional
bits), where ``v`` is the argument counted from -24.

Decoding guesses a symbol from a table of quantiles, and where the guess is wrong finds it from
exact counts alone.
"""

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
    IMPOSSIBLE,
    OK,
    OUT_OF_WORDS,
    OUTSIDE,
    STACK,
    SYMBOLS,
    low_bits,
    pop_interval,
    push_interval,
)

__all__ = [
    "HEIGHT_BITS",
    "LIMIT",
    "LOOKUP_BITS",
    "QUANTILE_BITS",
    "SIGNATURE",
    "TOP",
    "height",
    "pop_location_scale",
    "push_location_scale",
    "search",
]

HEIGHT_BITS = 18  # fractional bits of a height
LIMIT = 24 << 16  # arguments reach from -LIMIT to LIMIT
TOP = 2 * LIMIT
LOOKUP_BITS = 12  # leading bits of a count that a quantile is looked up by
QUANTILE_BITS = 32  # fractional bits of a quantile (16) times a scale (16)

_CELL_BITS = np.uint64(10)

# heads, stack, cursor, lanes, symbols, precision; means, scales; intercepts, slopes; inverse and
# forward scales, quantiles; offsets or edges, widths or none; geometry: alphabet, fractional bits
# of positions, shift of arguments, strides over steps and lanes, arguments that end the window.
SIGNATURE = t.int64(
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
    I32,
    I64,
)


@primitive
def _last_scale(inverse_scales: Any) -> Any:
    """The last index of a table of scales: a mask, as their number is a power of two.

    Indices were checked when the distribution was made. Its arrays are the user's own, though,
    and should they have been changed since, the mask keeps one from reading foreign memory.
    """
    return np.uint64(len(inverse_scales) - 1)


@primitive
def height(intercepts: Any, slopes: Any, v: Any) -> Any:
    """The distribution function at ``v`` in 0 .. TOP, in counts."""
    cell = np.uint64(v) >> _CELL_BITS
    return intercepts[cell] + slopes[cell] * v


@primitive
def _start(
    symbol: Any,
    mean: Any,
    inverse: Any,
    shift: Any,
    intercepts: Any,
    slopes: Any,
    edges: Any,
    row: Any,
    width: Any,
    alphabet: Any,
    total: Any,
    low_cut: Any,
    high_cut: Any,
) -> Any:
    """The count at which a symbol starts. Bins of width 0 have tabulated edges.

    Selects instead of branches: numba counts references to arrays wherever paths join.
    """
    inner = max(min(symbol, alphabet - 1), 1) - 1
    index = row if width > 0 else row * (alphabet - 1) + inner
    edge = np.int64(edges[np.uint64(index)]) + symbol * width
    v = min(max((((edge - mean) * inverse) >> shift) + LIMIT, 0), TOP)
    # The table is exactly 0 and 1 at its ends, which is where the outer edges lie.
    v = 0 if symbol <= 0 else v
    v = TOP if symbol >= alphabet else v
    start = (height(intercepts, slopes, v) >> HEIGHT_BITS) + symbol
    start = 0 if v <= low_cut else start
    return total if v >= high_cut else start


@primitive
def search(
    count: Any,
    guess: Any,
    mean: Any,
    inverse: Any,
    shift: Any,
    intercepts: Any,
    slopes: Any,
    edges: Any,
    row: Any,
    width: Any,
    alphabet: Any,
    total: Any,
    low_cut: Any,
    high_cut: Any,
) -> Any:
    """The symbol that owns a count, its start and its end, from at least two symbols.

    Strides away from the guess, twice as far each time, until the count lies between two
    starts; then bisects. A guess however wrong costs a few dozen steps, not thousands.
    """
    low, high = np.int64(0), alphabet
    start, end = np.int64(0), total
    stride = 1
    searching = True
    while searching:
        guess = min(max(guess, low + 1), high - 1)
        middle = _start(
            guess, mean, inverse, shift, intercepts, slopes, edges, row, width, alphabet, total,
            low_cut, high_cut,
        )  # fmt: skip
        if middle <= count:
            low, start = guess, middle
            guess += stride
        else:
            high, end = guess, middle
            guess -= stride
        stride *= 2
        if start > 0 and end < total:
            guess = (low + high) >> 1
        searching = high - low > 1
    return low, start, end


@kernel(SIGNATURE)
def push_location_scale(
    heads: Any,
    stack: Any,
    cursor: Any,
    lanes: Any,
    symbols: Any,
    precision: Any,
    means: Any,
    scales: Any,
    intercepts: Any,
    slopes: Any,
    inverse_scales: Any,
    forward_scales: Any,
    quantiles: Any,
    edges: Any,
    widths: Any,
    geometry: Any,
) -> Any:
    """Push symbols with any bins, with or without a window."""
    alphabet, shift = geometry[0], geometry[2]
    step_stride, lane_stride = geometry[3], geometry[4]
    low_cut, high_cut = geometry[5], geometry[6]
    total = np.int64(1) << precision
    scale_mask = _last_scale(inverse_scales)
    size = np.uint64(cursor[0])
    lane = lanes - 1
    step = len(symbols) // lanes - 1
    head = heads[lane]
    for i in range(len(symbols) - 1, -1, -1):
        symbol = symbols[i]
        if symbol < 0 or symbol >= alphabet:
            return OUTSIDE
        row = step * step_stride + lane * lane_stride
        width = np.int64(widths[row]) if len(widths) else 0
        scale = np.uint64(scales[i]) & scale_mask
        mean, inverse = np.int64(means[i]), inverse_scales[scale]
        start = _start(
            symbol, mean, inverse, shift, intercepts, slopes, edges, row, width, alphabet, total,
            low_cut, high_cut,
        )  # fmt: skip
        end = _start(
            symbol + 1, mean, inverse, shift, intercepts, slopes, edges, row, width, alphabet,
            total, low_cut, high_cut,
        )  # fmt: skip
        if end == start:
            return IMPOSSIBLE
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


@kernel(SIGNATURE)
def pop_location_scale(
    heads: Any,
    stack: Any,
    cursor: Any,
    lanes: Any,
    symbols: Any,
    precision: Any,
    means: Any,
    scales: Any,
    intercepts: Any,
    slopes: Any,
    inverse_scales: Any,
    forward_scales: Any,
    quantiles: Any,
    edges: Any,
    widths: Any,
    geometry: Any,
) -> Any:
    """Pop symbols with any bins, with or without a window."""
    alphabet, shift = geometry[0], geometry[2]
    step_stride, lane_stride = geometry[3], geometry[4]
    low_cut, high_cut = geometry[5], geometry[6]
    total = np.int64(1) << precision
    scale_mask = _last_scale(inverse_scales)
    bits = np.uint64(precision)
    lookup_shift = np.uint64(precision - LOOKUP_BITS)
    size = np.uint64(cursor[0])
    lane = 0
    step = 0
    for i in range(len(symbols)):
        head = heads[lane]
        row = step * step_stride + lane * lane_stride
        width = np.int64(widths[row]) if len(widths) else 0
        scale = np.uint64(scales[i]) & scale_mask
        mean, inverse = np.int64(means[i]), inverse_scales[scale]
        count = np.int64(low_bits(head, bits))
        quantile = quantiles[np.uint64(count) >> lookup_shift]
        position = mean + ((quantile * forward_scales[scale]) >> (QUANTILE_BITS + 8 - shift))
        if width > 0:
            symbol = max(position - edges[row], 0) // width
        else:
            symbol, above = np.int64(0), alphabet
            while above - symbol > 1:
                middle = (symbol + above) >> 1
                below = edges[row * (alphabet - 1) + middle - 1] <= position
                symbol = middle if below else symbol
                above = above if below else middle
        symbol = min(max(symbol, 0), alphabet - 1)
        start = _start(
            symbol, mean, inverse, shift, intercepts, slopes, edges, row, width, alphabet, total,
            low_cut, high_cut,
        )  # fmt: skip
        end = _start(
            symbol + 1, mean, inverse, shift, intercepts, slopes, edges, row, width, alphabet,
            total, low_cut, high_cut,
        )  # fmt: skip
        if np.uint64(count - start) >= np.uint64(end - start):
            symbol, start, end = search(
                count, symbol, mean, inverse, shift, intercepts, slopes, edges, row, width,
                alphabet, total, low_cut, high_cut,
            )  # fmt: skip
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

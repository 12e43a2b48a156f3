"""Compiled coding of pixels: location-scale distributions on the integers, without a window.

The formula is that of :mod:`nc_core.ans.kernels.location_scale` for the case that matters most
for speed: one grid for all symbols, of width 1, on which every symbol is possible, and the usual
1024 scales.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nc_core.ans.compiled import kernel
from nc_core.ans.kernels.interval import (
    OK,
    OUT_OF_WORDS,
    OUTSIDE,
    low_bits,
    pop_interval,
    push_interval,
)
from nc_core.ans.kernels.location_scale import (
    HEIGHT_BITS,
    LIMIT,
    LOOKUP_BITS,
    QUANTILE_BITS,
    SIGNATURE,
    TOP,
    height,
    search,
)

__all__ = ["pop_pixel_location_scale", "push_pixel_location_scale"]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_SPAN = np.uint64(TOP)
# What ``_last_scale`` of that module finds, as a constant: a twentieth of a push.
_LAST_SCALE = np.uint64(1023)


@kernel(SIGNATURE)
def push_pixel_location_scale(
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
    """Push symbols at the integers, all possible: one affine grid, no window."""
    alphabet, fraction_bits, shift = geometry[0], geometry[1], geometry[2]
    half = np.int64(1) << (fraction_bits - 1)
    zero = np.int64(LIMIT) << shift
    last = alphabet - 1
    size = np.uint64(cursor[0])
    lane = np.uint64(lanes - 1)
    top = lane
    head = heads[lane]
    bits = np.uint64(precision)
    for i in range(len(symbols) - 1, -1, -1):
        j = np.uint64(i)
        symbol = symbols[j]
        if np.uint64(symbol) >= np.uint64(alphabet):
            return OUTSIDE
        inverse = inverse_scales[np.uint64(scales[j]) & _LAST_SCALE]
        argument = zero + ((symbol << fraction_bits) - half - means[j]) * inverse
        low = argument >> shift
        high = (argument + (inverse << fraction_bits)) >> shift
        # The table is exactly 0 and 1 at its ends, which is where the outer edges lie.
        low = 0 if symbol == 0 else low
        high = TOP if symbol == last else high
        # Hardly ever needed, so that a test is cheaper than four selects. Negative is large.
        if np.uint64(low) > _SPAN or np.uint64(high) > _SPAN:
            low = min(max(low, 0), TOP)
            high = min(max(high, 0), TOP)
        start = (height(intercepts, slopes, low) >> HEIGHT_BITS) + symbol
        end = (height(intercepts, slopes, high) >> HEIGHT_BITS) + symbol + 1
        head, size = push_interval(
            head, stack, size, np.uint64(start), np.uint64(end - start), bits
        )
        if lanes > 1:
            heads[lane] = head
            lane = top if lane == _ZERO else lane - _ONE
            head = heads[lane]
    heads[lane] = head
    cursor[0] = size
    return OK


@kernel(SIGNATURE)
def pop_pixel_location_scale(
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
    """Pop symbols at the integers, all possible: one affine grid, no window."""
    alphabet, fraction_bits, shift = geometry[0], geometry[1], geometry[2]
    half = np.int64(1) << (fraction_bits - 1)
    zero = np.int64(LIMIT) << shift
    last = alphabet - 1
    total = np.int64(1) << precision
    size = np.uint64(cursor[0])
    lane = _ZERO
    head = heads[0]
    bits = np.uint64(precision)
    lookup_shift = np.uint64(precision - LOOKUP_BITS)
    # shift = 8 + fraction_bits + scale_shift, so this is 32 - fraction_bits - scale_shift.
    guess_bits = QUANTILE_BITS + 8 - shift
    i = _ZERO
    remaining = np.uint64(len(symbols))
    while i < remaining:
        # As long as guesses are right. What to do about a wrong one stands outside, so that it
        # takes no registers from this loop.
        count: Any = np.int64(0)
        symbol: Any = np.int64(0)
        while i < remaining:
            scale = np.uint64(scales[i]) & _LAST_SCALE
            inverse = inverse_scales[scale]
            mean = np.int64(means[i]) + half
            count = np.int64(low_bits(head, bits))
            quantile = quantiles[np.uint64(count) >> lookup_shift]
            guess = (mean << guess_bits) + quantile * forward_scales[scale]
            guess >>= guess_bits + fraction_bits
            symbol = 0 if guess < 0 else guess
            symbol = last if guess > last else symbol
            argument = zero - mean * inverse + symbol * (inverse << fraction_bits)
            low = argument >> shift
            high = (argument + (inverse << fraction_bits)) >> shift
            low = 0 if symbol == 0 else low
            high = TOP if symbol == last else high
            if np.uint64(low) > _SPAN or np.uint64(high) > _SPAN:
                break
            start = (height(intercepts, slopes, low) >> HEIGHT_BITS) + symbol
            end = (height(intercepts, slopes, high) >> HEIGHT_BITS) + symbol + 1
            # Unsigned: also true for a count below the start.
            if np.uint64(count - start) >= np.uint64(end - start):
                break
            symbols[i] = symbol
            head, size, enough = pop_interval(
                head, stack, size, np.uint64(start), np.uint64(end - start), bits
            )
            if not enough:
                return OUT_OF_WORDS
            i += _ONE
            if lanes > 1:
                heads[lane] = head
                lane = lane + _ONE if lane + _ONE < np.uint64(lanes) else _ZERO
                head = heads[lane]
        if i < remaining:
            inverse = inverse_scales[np.uint64(scales[i]) & _LAST_SCALE]
            symbol, start, end = search(
                count, symbol, np.int64(means[i]), inverse, shift, intercepts, slopes, edges, 0,
                2 * half, alphabet, total, -1, TOP + 1,
            )  # fmt: skip
            symbols[i] = symbol
            head, size, enough = pop_interval(
                head, stack, size, np.uint64(start), np.uint64(end - start), bits
            )
            if not enough:
                return OUT_OF_WORDS
            i += _ONE
            if lanes > 1:
                heads[lane] = head
                lane = lane + _ONE if lane + _ONE < np.uint64(lanes) else _ZERO
                head = heads[lane]
    heads[lane] = head
    cursor[0] = size
    cursor[1] = min(cursor[1], cursor[0])
    return OK

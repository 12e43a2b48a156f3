"""Compiled elementwise kernels: one pass over memory, no branches.

All arithmetic is on float32 numbers that are integers below 2 ** 24 in some unit, by powers of
two, so that every operation but ``rint`` is exact. Kernels take the addresses of memory without
gaps and the number of elements there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, intp, types

from nc_core.ans.compiled import kernel
from nc_core.exact.memory import floats

__all__ = ["add", "look_up", "quantize"]

# Tables are read-only arrays, which have a type of their own.
_TABLE = types.Array(float32, 1, "C", readonly=True)


@kernel(types.void(intp, intp, intp, float32, float32, float32))
def quantize(source: Any, target: Any, size: Any, factor: Any, step: Any, limit: Any) -> None:
    """Compute out = clamp(rint(values * factor), -limit, limit) * step."""
    values, out = floats(source, size), floats(target, size)
    for index in range(size):
        rounded = np.rint(values[index] * factor)
        out[index] = min(max(rounded, -limit), limit) * step


@kernel(types.void(intp, intp, intp, intp, float32, float32))
def add(first: Any, second: Any, target: Any, size: Any, factor: Any, step: Any) -> None:
    """Compute out = (rint(left * factor) + rint(right * factor)) * step."""
    left, right, out = floats(first, size), floats(second, size), floats(target, size)
    for index in range(size):
        out[index] = (np.rint(left[index] * factor) + np.rint(right[index] * factor)) * step


@kernel(types.void(intp, intp, intp, _TABLE, float32, float32, float32, float32, float32))
def look_up(
    source: Any,
    target: Any,
    size: Any,
    table: Any,
    factor: Any,
    low: Any,
    high: Any,
    top: Any,
    slope: Any,
) -> None:
    """Compute out = table[clamp(t, low, high) - low] + slope * (t above high).

    t is rint(values * factor). ``slope`` is the value's unit for each unit of t, or 0; ``top``
    ends the linear side.
    """
    values, out = floats(source, size), floats(target, size)
    # Comparisons keep the index in range, even that of a NaN; unsigned, it needs no wrap-around.
    for index in range(size):
        rounded = np.rint(values[index] * factor)
        above_low = rounded if rounded > low else low
        inside = above_low if above_low < high else high
        above = min(max(rounded, high), top) - high
        out[index] = table[np.uint32(np.int32(inside - low))] + above * slope

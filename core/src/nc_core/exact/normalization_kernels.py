"""Compiled group normalisation: exact sums, then one pass that also applies SiLU.

Sums are taken of integers. Everything after them is one rounded operation at a time, + - * / and
square roots, in the order in which it is written: float64 for each channel, float32 for each
element. :mod:`nc_core.exact.normalization` repeats it in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float32, float64, int64, intp, types

from nc_core.ans.compiled import kernel, primitive
from nc_core.exact.memory import floats

__all__ = [
    "EXPONENT_LIMIT", "GAIN_LIMIT", "MINUS_LOG2_E", "OFFSET_LIMIT", "POWER_SERIES",
    "normalize_columns", "normalize_rows",
]  # fmt: skip

# 2 ** f for |f| <= 1/2 is the sum of coefficient * f ** k, last first, to within 2 ** -22.
POWER_SERIES = tuple(
    np.float32(coefficient)
    for coefficient in (
        1.5403530e-04,
        1.3333558e-03,
        9.6181291e-03,
        5.5504109e-02,
        2.4022651e-01,
        6.9314718e-01,
        1.0,
    )
)
MINUS_LOG2_E = np.float32(-1.4426950)
EXPONENT_LIMIT = np.float32(126)
# Elements are below 2 ** 64, so that float32 holds whatever is made of them within these limits,
# which no trained network comes near.
GAIN_LIMIT, OFFSET_LIMIT = 2.0**60, 2.0**125
_C6, _C5, _C4, _C3, _C2, _C1, _C0 = POWER_SERIES
_BIAS, _FRACTION_BITS = np.int32(127), np.int32(23)
_ONE = np.float32(1)

_SIGNATURE = types.void(
    intp,
    intp,
    types.UniTuple(intp, 3),  # type: ignore[no-untyped-call]
    int64,
    float64,
    float64,
    types.Array(float64, 1, "C"),
    types.Array(float64, 1, "C"),
    intp,
    intp,
    int64,
    boolean,
    types.UniTuple(float32, 5),  # type: ignore[no-untyped-call]
)


@primitive
def _coefficients(
    gains: Any,
    offsets: Any,
    first: Any,
    last: Any,
    total: Any,
    squares: Any,
    count: Any,
    step: Any,
    epsilon: Any,
    weight: Any,
    bias: Any,
    scale: Any,
    shift: Any,
    row: Any,
) -> None:
    """Set gains and offsets of one group: normalisation, affine map, conditioning."""
    mean = np.float64(total) / count
    variance = max(np.float64(squares) / count - mean * mean, 0.0) * (step * step)
    inverse = 1.0 / np.sqrt(variance + epsilon)
    mean *= step
    for channel in range(first, last):
        gain = inverse * weight[channel]
        offset = bias[channel] - mean * gain
        if row < len(scale):
            one = 1.0 + np.float64(scale[row, channel])
            gain *= one
            offset = offset * one + np.float64(shift[row, channel])
        gains[channel] = min(max(gain, -GAIN_LIMIT), GAIN_LIMIT)
        offsets[channel] = min(max(offset, -OFFSET_LIMIT), OFFSET_LIMIT)


@primitive
def _silu(value: Any) -> Any:
    """SiLU: value / (1 + 2 ** (-value / log 2)), the power by its exponent's bits and a series."""
    exponent = min(max(value * MINUS_LOG2_E, -EXPONENT_LIMIT), EXPONENT_LIMIT)
    whole = np.rint(exponent)
    rest = exponent - whole
    series = _C6 * rest + _C5
    series = series * rest + _C4
    series = series * rest + _C3
    series = series * rest + _C2
    series = series * rest + _C1
    series = series * rest + _C0
    power = np.int32((np.int32(whole) + _BIAS) << _FRACTION_BITS).view(np.float32)
    return value / (_ONE + series * power)


@primitive
def _number(value: Any, inverse_step: Any) -> Any:
    """The integer that a multiple of a step is."""
    return np.int64(np.int32(np.float64(value) * inverse_step))


@primitive
def _placed(value: Any, fineness: Any, limit: Any) -> Any:
    """The nearest number of units, at most ``limit`` of them."""
    return min(max(np.rint(value * fineness), -limit), limit)


@primitive
def _result(value: Any, gain: Any, offset: Any, activate: Any, rounding: Any) -> Any:
    """What becomes of one element."""
    fineness, limit, ratio, final_limit, final_step = rounding
    value = value * gain + offset
    if activate:
        value = _silu(value)
    units = _placed(value, fineness, limit)
    return _placed(units, ratio, final_limit) * final_step


@kernel(_SIGNATURE)
def normalize_rows(
    source: Any,
    target: Any,
    shape: Any,
    groups: Any,
    step: Any,
    epsilon: Any,
    weight: Any,
    bias: Any,
    scales: Any,
    shifts: Any,
    rows: Any,
    activate: Any,
    rounding: Any,
) -> None:
    """Normalise values (B, C, positions).

    Args:
        source: address of the values, multiples of ``step``.
        target: address of the results, multiples of ``final_step``.
        shape: of both.
        groups: of channels.
        step: a power of two.
        epsilon: is added to variances.
        weight: (C,).
        bias: (C,).
        scales: address of what examples add to 1 before it multiplies, (rows, C).
        shifts: address of what they add after that, (rows, C).
        rows: B, 1 or 0.
        activate: whether to apply SiLU.
        rounding: fineness, limit, ratio, final limit and final step: results are first rounded to
            multiples of 1 / fineness, at most ``limit`` of them, and then to multiples of 1 / ratio
            times these, at most ``final limit`` of them; the final step is the unit of ``out``.
    """
    batch, channels, positions = shape
    values, out = floats(source, shape), floats(target, shape)
    scale, shift = floats(scales, (rows, channels)), floats(shifts, (rows, channels))
    size = channels // groups
    inverse_step = 1.0 / step
    gains, offsets = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for example in range(batch):
        row = min(example, max(rows - 1, 0))
        for group in range(groups):
            first, last = group * size, (group + 1) * size
            total, squares = np.int64(0), np.int64(0)
            for channel in range(first, last):
                for position in range(positions):
                    number = _number(values[example, channel, position], inverse_step)
                    total += number
                    squares += number * number
            _coefficients(
                gains, offsets, first, last, total, squares, size * positions, step, epsilon,
                weight, bias, scale, shift, row,
            )  # fmt: skip
            for channel in range(first, last):
                gain, offset = gains[channel], offsets[channel]
                for position in range(positions):
                    value = values[example, channel, position]
                    out[example, channel, position] = _result(
                        value, gain, offset, activate, rounding
                    )


@kernel(_SIGNATURE)
def normalize_columns(
    source: Any,
    target: Any,
    shape: Any,
    groups: Any,
    step: Any,
    epsilon: Any,
    weight: Any,
    bias: Any,
    scales: Any,
    shifts: Any,
    rows: Any,
    activate: Any,
    rounding: Any,
) -> None:
    """As :func:`normalize_rows`, for values (B, positions, C)."""
    batch, positions, channels = shape
    values, out = floats(source, shape), floats(target, shape)
    scale, shift = floats(scales, (rows, channels)), floats(shifts, (rows, channels))
    size = channels // groups
    inverse_step = 1.0 / step
    gains, offsets = np.empty(channels, np.float32), np.empty(channels, np.float32)
    totals, squares = np.empty(channels, np.int64), np.empty(channels, np.int64)
    for example in range(batch):
        row = min(example, max(rows - 1, 0))
        totals[:] = 0
        squares[:] = 0
        for position in range(positions):
            for channel in range(channels):
                number = _number(values[example, position, channel], inverse_step)
                totals[channel] += number
                squares[channel] += number * number
        for group in range(groups):
            first, last = group * size, (group + 1) * size
            _coefficients(
                gains, offsets, first, last, totals[first:last].sum(), squares[first:last].sum(),
                size * positions, step, epsilon, weight, bias, scale, shift, row,
            )  # fmt: skip
        for position in range(positions):
            for channel in range(channels):
                value = values[example, position, channel]
                out[example, position, channel] = _result(
                    value, gains[channel], offsets[channel], activate, rounding
                )

"""The climbs of vectors on the CPU, compiled: one start at a time, in the cache from end to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import float32, float64, int64, void
from numpy.typing import NDArray

from nc_core.ans.compiled import kernel

__all__ = ["climb_all"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compile: Callable[..., Any] = numba.njit
Floats = NDArray[np.float32]

_F = np.float32
_LOG2_E = _F(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
_SMALLEST = _F(-87.0)  # exp of less is 0 beside the largest term, which is exp(0)
_C2, _C3, _C4 = _F(0.5), _F(1.6666665459e-1), _F(4.1665795894e-2)
_C5, _C6, _C7 = _F(8.3334519073e-3), _F(1.3981999507e-3), _F(1.9875691500e-4)
_ONE, _HALF = _F(1.0), _F(0.5)
_BIAS, _MANTISSA_BITS = np.int32(127), np.int32(23)


def _vectorised(function: _Function) -> _Function:
    """Compile; sums may be reordered, so that they become vector instructions."""
    options = {"error_model": "numpy", "no_cpython_wrapper": True}
    compiled = _compile(fastmath={"reassoc", "contract", "nsz"}, **options)(function)
    return cast(_Function, compiled)


@_vectorised
def _exponents(
    columns: Floats, y: Floats, fixed: Floats, rate: np.float32, logits: Floats
) -> np.float32:
    """``fixed_i - rate * |x_i - y|^2`` of every sample; returns the largest."""
    k = len(fixed)
    for i in range(k):
        logits[i] = _F(0.0)
    for j in range(len(y)):
        column, at = columns[j], y[j]
        for i in range(k):
            difference = column[i] - at
            logits[i] += difference * difference
    top = _F(-np.inf)
    for i in range(k):
        logits[i] = fixed[i] - rate * logits[i]
        top = max(top, logits[i])
    return top


@_vectorised
def _exponentials(
    logits: Floats, top: np.float32, bits: NDArray[np.int32], weights: Floats
) -> np.float32:
    """``weights = exp(logits - top)`` to 1e-7; ``bits`` is the same memory as integers.

    Cephes' expf: powers of two by the exponent's bits, the rest by a polynomial.
    """
    k = len(logits)
    for i in range(k):
        z = max(logits[i] - top, _SMALLEST)
        power = np.floor(z * _LOG2_E + _HALF)
        z = (z - power * _LN2_HIGH) - power * _LN2_LOW
        p = ((((_C7 * z + _C6) * z + _C5) * z + _C4) * z + _C3) * z + _C2
        logits[i] = p * z * z + z + _ONE
        bits[i] = (np.int32(power) + _BIAS) << _MANTISSA_BITS
    total = _F(0.0)
    for i in range(k):
        weights[i] *= logits[i]
        total += weights[i]
    return total


@_vectorised
def _pull(column: Floats, at: np.float32, weights: Floats) -> np.float32:
    """``sum_i w_i (x_i - y)`` of one dimension."""
    total = _F(0.0)
    for i in range(len(weights)):
        total += weights[i] * (column[i] - at)
    return total


@kernel(
    void(
        float32[:, ::1], float32[:, ::1], float32[::1], float64, int64, float64, float64,
        float32[:, ::1], float32[::1], float32[::1], int64[::1],
    )
)  # fmt: skip
def climb_all(
    starts: Floats,
    columns: Floats,
    fixed: Floats,
    lamb: float,
    most: int,
    lr: float,
    tol: float,
    ends: Floats,
    values: Floats,
    heights: Floats,
    stops: NDArray[np.int64],
) -> None:
    """Climb from every start.

    Args:
        starts: (S, n).
        columns: the minibatch, (n, k): a row per dimension.
        fixed: ``-log u``, (k,).
        lamb: lambda.
        most: steps of a climb, at least 1.
        lr: Adam's step size.
        tol: a climb ends where two successive values differ by less.
        ends: where they ended, (S, n); written.
        values: the objective there, (S,); written.
        heights: the objective at the starts, (S,); written.
        stops: at which step each stopped, or -1; written.
    """
    n, k = columns.shape
    rate = np.float32(lamb / n)
    logits, weights = np.empty(k, np.float32), np.empty(k, np.float32)
    bits = weights.view(np.int32)
    first, second = np.empty(n, np.float32), np.empty(n, np.float32)
    b1, b2, epsilon = np.float32(0.9), np.float32(0.999), np.float32(1e-7)
    tolerance, log_k = np.float32(tol), np.float32(np.log(k))
    for start in range(len(starts)):
        y = ends[start]
        for j in range(n):
            y[j] = starts[start, j]
            first[j] = second[j] = np.float32(0.0)
        previous = np.float32(np.inf)
        value = previous
        stops[start] = -1
        power1, power2 = 1.0, 1.0
        for step in range(most):
            top = _exponents(columns, y, fixed, rate, logits)
            total = _exponentials(logits, top, bits, weights)
            value = np.float32(np.log(total)) + top - log_k
            if step == 0:
                heights[start] = value
            if abs(previous - value) < tolerance:
                stops[start] = step
                break
            previous = value
            power1 *= 0.9
            power2 *= 0.999
            size = np.float32(lr * np.sqrt(1.0 - power2) / (1.0 - power1))
            scale = np.float32(-2.0) * rate / total
            for j in range(n):
                gradient = scale * _pull(columns[j], y[j], weights)
                first[j] += (gradient - first[j]) * (np.float32(1.0) - b1)
                second[j] += (gradient * gradient - second[j]) * (np.float32(1.0) - b2)
                y[j] -= size * first[j] / (np.sqrt(second[j]) + epsilon)
        values[start] = value

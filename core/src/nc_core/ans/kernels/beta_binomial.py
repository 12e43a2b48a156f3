"""Compiled tables of beta-binomial distributions.

What is computed, in which order, is written in :mod:`nc_core.ans.distributions.beta_binomial`.
Distributions are taken some at a time, side by side in the innermost loop, which then is
independent of itself and uses vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types as t

from nc_core.ans.compiled import kernel

__all__ = ["beta_binomial_tables"]

_SIDE_BY_SIDE = 16
# A ratio of neighbouring probabilities is below 2 ** 48 and above 2 ** -48: this many of them
# leave a number that began in [1/2, 1) inside the range of float64, where scaling is exact.
_RUN = 8
_MANTISSA_BITS = 52
_EXPONENT_BIAS = 1023
_SMALLEST_EXPONENT = -1022

_F64 = t.Array(t.float64, 1, "C", readonly=True)


@kernel(t.void(_F64, _F64, t.int64, t.int64, t.int64, t.uint32[:, ::1]))
def beta_binomial_tables(
    alphas: Any, betas: Any, trials: Any, weight_bits: Any, precision: Any, tables: Any
) -> None:
    """Write cumulative counts 0 .. 2 ** precision, uint32 (n, trials + 2).

    Args:
        alphas: concentrations, float64 (n,).
        betas: likewise.
        trials: number of trials; symbols are 0 .. trials.
        weight_bits: the largest weight is between half of and all of 2 ** weight_bits.
        precision: bits.
        tables: where they go.
    """
    size = trials + 1
    runs = (size + _RUN - 1) // _RUN
    values = np.empty((size, _SIDE_BY_SIDE))
    value_bits = values.view(np.int64)
    now = np.empty(_SIDE_BY_SIDE)
    now_bits = now.view(np.int64)
    exponent = np.empty(_SIDE_BY_SIDE, np.int64)
    largest = np.empty(_SIDE_BY_SIDE, np.int64)
    a = np.ones(_SIDE_BY_SIDE)
    b = np.ones(_SIDE_BY_SIDE)
    exponents = np.empty((runs, _SIDE_BY_SIDE), np.int64)
    scale = np.empty(1)
    scale_bits = scale.view(np.int64)
    n = np.float64(trials)
    spare = (1 << precision) - size
    for first in range(0, len(alphas), _SIDE_BY_SIDE):
        here = min(_SIDE_BY_SIDE, len(alphas) - first)
        for j in range(here):
            a[j] = alphas[first + j]
            b[j] = betas[first + j]
        for j in range(_SIDE_BY_SIDE):
            now[j] = 0.5
            exponent[j] = 1
            largest[j] = -(1 << 40)
        for run in range(runs):
            for j in range(_SIDE_BY_SIDE):
                # Split off a power of two, so that the number is in [1/2, 1).
                shift = (now_bits[j] >> _MANTISSA_BITS) - (_EXPONENT_BIAS - 1)
                now_bits[j] -= shift << _MANTISSA_BITS
                exponent[j] += shift
                exponents[run, j] = exponent[j]
            for symbol in range(run * _RUN, min(run * _RUN + _RUN, size)):
                k = np.float64(symbol)
                for j in range(_SIDE_BY_SIDE):
                    values[symbol, j] = now[j]
                    there = exponent[j] + (now_bits[j] >> _MANTISSA_BITS)
                    largest[j] = max(largest[j], there)
                    now[j] = now[j] * ((n - k) * (k + a[j])) / ((k + 1.0) * (n - k - 1.0 + b[j]))
        for j in range(here):
            # The largest weight is in [1/2, 1) times 2 ** weight_bits.
            lift = weight_bits - (largest[j] - (_EXPONENT_BIAS - 1))
            total = np.int64(0)
            for symbol in range(size):
                if symbol % _RUN == 0:
                    power = max(exponents[symbol // _RUN, j] + lift, _SMALLEST_EXPONENT)
                    scale_bits[0] = (power + _EXPONENT_BIAS) << _MANTISSA_BITS
                weight = np.int64(np.rint(values[symbol, j] * scale[0]))
                value_bits[symbol, j] = weight
                total += weight
            share = np.float64(spare) / np.float64(total)
            row = first + j
            cumulative = np.int64(0)
            for symbol in range(size):
                # cumulative * spare // total: guessed in float64, and put right.
                quotient = np.int64(np.float64(cumulative) * share)
                rest = cumulative * spare - quotient * total
                quotient += np.int64(rest >= total) - np.int64(rest < 0)
                tables[row, symbol] = np.uint32(quotient + symbol)
                cumulative += value_bits[symbol, j]
            tables[row, size] = np.uint32(1 << precision)

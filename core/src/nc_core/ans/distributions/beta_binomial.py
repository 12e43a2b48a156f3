"""Beta-binomial distributions with integer parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions.base import check_bits, integers
from nc_core.ans.distributions.categorical import Categorical, cumulative_from_weights
from nc_core.ans.distributions.grids import CONCENTRATIONS, concentration_value

__all__ = ["BetaBinomial"]

MAX_TRIALS = 4095


class BetaBinomial(Categorical):
    """The number of successes in n trials, 0 .. n, under a beta-distributed probability.

    Probabilities follow from their ratios,
    pmf(k + 1) / pmf(k) = (n - k) (k + a) / ((k + 1) (n - k - 1 + b)),
    by multiplications and divisions of float64 in this order, each rounded once, so they are
    the same on every machine; then they become integers, and every symbol keeps a count.

    Args:
        alpha, beta: indices 0 .. 3071 of concentrations 2 ** (i / 64 - 24), (steps, lanes).
        trials: n, 1 .. 4095; 255 for pixels.
        precision: bits, 2 ** precision > n.

    Raises:
        ValueError: an argument out of range, or shapes that do not fit.
    """

    def __init__(
        self, alpha: NDArray[Any], beta: NDArray[Any], trials: int = 255, precision: int = 24
    ) -> None:
        if not 1 <= trials <= MAX_TRIALS:
            raise ValueError(f"trials {trials} are outside 1 .. {MAX_TRIALS}")
        a_index, b_index = np.broadcast_arrays(
            integers(alpha, "alpha indices", 0, CONCENTRATIONS - 1),
            integers(beta, "beta indices", 0, CONCENTRATIONS - 1),
        )
        if a_index.ndim != 2:
            raise ValueError("alpha and beta have the shape (steps, lanes)")
        size = trials + 1
        # The largest weight is 2 ** bits, and all of them times 2 ** precision stay below 2 ** 62.
        bits = 62 - check_bits(precision) - size.bit_length()
        weights = _weights(concentration_value(a_index), concentration_value(b_index), size, bits)
        self._set(cumulative_from_weights(weights, precision), a_index.shape)


def _weights(
    a: NDArray[np.float64], b: NDArray[np.float64], size: int, bits: int
) -> NDArray[np.int64]:
    """Unnormalised probabilities, the largest 2 ** bits. int64, (steps, lanes, size)."""
    n = float(size - 1)
    mantissas = np.empty((size, *a.shape))
    exponents = np.empty((size, *a.shape), np.int64)
    mantissa, exponent = np.full(a.shape, 0.5), np.ones(a.shape, np.int64)
    mantissas[0], exponents[0] = mantissa, exponent
    for k in range(size - 1):
        # A power of two is split off at each step, exactly, because the product may reach
        # far beyond the range of float64.
        product = mantissa * ((n - k) * (k + a)) / ((k + 1.0) * (n - k - 1.0 + b))
        mantissa, shift = np.frexp(product)
        exponent = exponent + shift
        mantissas[k + 1], exponents[k + 1] = mantissa, exponent
    relative = np.maximum(exponents - exponents.max(axis=0), -1000)
    scaled = np.ldexp(mantissas, (relative + bits).astype(np.int32))
    return np.moveaxis(np.rint(scaled).astype(np.int64), 0, -1)

"""Beta-binomial distributions with integer parameters."""

from __future__ import annotations

import importlib
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions.base import check_bits, integers
from nc_core.ans.distributions.categorical import Categorical
from nc_core.ans.distributions.grids import CONCENTRATIONS, concentration_value

__all__ = ["BetaBinomial"]

MAX_TRIALS = 4095


class BetaBinomial(Categorical):
    """The number of successes in n trials, 0 .. n, under a beta-distributed probability.

    Probabilities follow from their ratios,
    pmf(k + 1) / pmf(k) = (n - k) (k + a) / ((k + 1) (n - k - 1 + b)),
    by multiplications and divisions of float64 in this order, each rounded once, so they are
    the same on every machine; then they become integers, and every symbol keeps a count:
    start(k) = floor((w(0) + ... + w(k - 1)) (2 ** precision - n - 1) / W) + k for weights w of sum
    W, the largest of them in [2 ** (B - 1), 2 ** B], B = 62 - precision - (bits of n + 1).

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
        if size > 1 << check_bits(precision):
            raise ValueError(f"{size} symbols need more than {precision} bits of precision")
        # The largest weight is 2 ** bits, and all of them times 2 ** precision stay below 2 ** 62.
        bits = 62 - precision - size.bit_length()
        tables = np.empty((a_index.size, size + 1), np.uint32)
        a, b = (concentration_value(index).ravel() for index in (a_index, b_index))
        _kernels().beta_binomial_tables(a, b, trials, bits, precision, tables)
        self._set(tables.reshape(*a_index.shape, size + 1), a_index.shape)


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    # Imports numba, half a second, so only where a distribution is made.
    return importlib.import_module("nc_core.ans.kernels.beta_binomial")

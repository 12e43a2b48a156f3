"""Integer tables of the predictive codec, computed with integers only: the same everywhere."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "SIGMOID_LIMIT", "inverse_sigmoid", "levels", "sigmoid"]

SIGMOID_LIMIT = 12  # the argument lies in -12 .. 12, steps of 1/64
LEVELS = 40  # classes of local error energy

_ONE = 1 << 96  # fixed point while a table is computed
_STEPS = 2 * SIGMOID_LIMIT * 64


@cache
def sigmoid() -> NDArray[np.int64]:
    """Sigmoid at k / 64 - 12, times 2**22, rounded; k = 0 .. 1536, and one more entry to read."""
    half = _exponentials()
    unit = 1 << 22
    positive = [(unit * _ONE + (_ONE + e) // 2) // (_ONE + e) for e in half]
    values = [unit - value for value in reversed(positive)] + positive[1:]
    return _frozen([*values, values[-1]])


@cache
def inverse_sigmoid() -> NDArray[np.int64]:
    """Argument, scaled by 2**14, where the sigmoid passes (k + 1/2) / 4096, k = 0 .. 4095."""
    known = sigmoid()[:-1].tolist()
    arguments = []
    for k in range(4096):
        target = (2 * k + 1) << 9
        i = min(max(bisect_right(known, target) - 1, 0), _STEPS - 1)
        gap = max(known[i + 1] - known[i], 1)
        arguments.append((i << 8) + ((target - known[i]) << 8) // gap - (SIGMOID_LIMIT << 14))
    return _frozen(arguments)


@cache
def levels() -> NDArray[np.int64]:
    """Class of an energy, four classes an octave: entry k for energy k, k = 0 .. 4095."""
    classes = []
    for energy in range(4096):
        mantissa, octave = energy + 4, 0
        while mantissa >= 8:
            mantissa >>= 1
            octave += 1
        classes.append(min(4 * octave + mantissa - 4, LEVELS - 1))
    return _frozen(classes)


def _exponentials() -> list[int]:
    """exp(-k / 64) for k = 0 .. 768 in units of 2**-96."""
    step, term, k = 0, _ONE, 0
    while term:
        step += term if k % 2 == 0 else -term
        k += 1
        term //= 64 * k
    powers = [_ONE]
    for _ in range(SIGMOID_LIMIT * 64):
        powers.append(powers[-1] * step // _ONE)
    return powers


def _frozen(values: list[int]) -> NDArray[np.int64]:
    array = np.array(values, np.int64)
    array.flags.writeable = False
    return array

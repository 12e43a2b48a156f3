"""How fast noise grows: the betas of a full chain.

The cosine is taken in integers, so that every machine has the same bits.

Reference: Jonathan Ho, Ajay Jain, Pieter Abbeel, "Denoising Diffusion Probabilistic Models",
arXiv 2006.11239 (linear); Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion
Probabilistic Models", arXiv 2102.09672, section 3.2 (cosine).
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import UsageError

__all__ = ["SCHEDULES", "betas"]

SCHEDULES = ("cosine", "linear")

_REFERENCE_STEPS = 1000
_LINEAR_START, _LINEAR_END = 0.0001, 0.02
_COSINE_OFFSET = 0.008
_MOST_BETA = 0.999
_FRACTION_BITS = 120
_TERMS = 20


def betas(name: str, steps: int) -> NDArray[np.float64]:
    """Variances of the noise that each step adds.

    - linear: evenly spaced from 0.0001 s to 0.02 s with s = 1000 / steps.
    - cosine: min(1 - g((i + 1) / steps) / g(i / steps), 0.999) for i = 0, 1, ..., where
      g(u) = cos((u + 0.008) / 1.008 * pi / 2) ** 2.

    Args:
        name: ``cosine`` or ``linear``.
        steps: of the chain, at least 1.

    Returns:
        (steps,), each above 0 and below 1.

    Raises:
        UsageError: no schedule has this name, or this one needs more steps.
    """
    if name == "cosine":
        return _cosine(steps)
    if name == "linear":
        return _linear(steps)
    raise UsageError(f"no noise schedule '{name}'", f"there are {', '.join(SCHEDULES)}")


def _linear(steps: int) -> NDArray[np.float64]:
    scale = _REFERENCE_STEPS / steps
    start, end = scale * _LINEAR_START, scale * _LINEAR_END
    if end >= 1:
        least = math.floor(_REFERENCE_STEPS * _LINEAR_END) + 1
        raise UsageError(
            f"the linear noise schedule has no chain of {steps} steps", f"{least} are the fewest"
        )
    stride = (end - start) / (steps - 1)
    result = np.arange(steps, dtype=np.float64) * stride + start
    result[-1] = end
    return result


def _cosine(steps: int) -> NDArray[np.float64]:
    left = [_signal(i / steps) for i in range(steps + 1)]
    ratios = [1 - after / before for before, after in pairwise(left)]
    return np.array([min(beta, _MOST_BETA) for beta in ratios])


def _signal(u: float) -> float:
    cosine = _exact_cosine((u + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * math.pi / 2)
    return cosine * cosine


def _exact_cosine(angle: float) -> float:
    """Cos of an angle from 0 to pi / 2, correctly rounded: its Taylor series in integers."""
    numerator, denominator = angle.as_integer_ratio()
    square = ((numerator * numerator) << _FRACTION_BITS) // (denominator * denominator)
    total = one = 1 << _FRACTION_BITS
    for k in range(_TERMS, 0, -1):
        total = one - ((square * total) >> _FRACTION_BITS) // ((2 * k - 1) * (2 * k))
    return total / one

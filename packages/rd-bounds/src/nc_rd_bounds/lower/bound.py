"""From maxima to a bound: ``xi = -E[log u] - C_k / alpha - log alpha + 1``, in nats.

``E[xi]`` is below the intercept of the rate-distortion function for every constant alpha > 0;
alpha = E[C_k] is best. Training follows it by a moving average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["MovingAlpha", "clamped", "log_mean_exp", "xi_samples"]

_FARTHEST = 10.0


@dataclass(frozen=True)
class MovingAlpha:
    """``log alpha`` of training, and the estimate of ``log E[C_k]`` that it last saw.

    Args:
        log_alpha: in nats.
        latest: of the step before, clamped, in nats.
    """

    log_alpha: float
    latest: float

    def moved(self, beta: float) -> MovingAlpha:
        """The average with the estimate of the step before; beta is the weight of history.

        Averages are of alpha itself. An estimate that is more than 10 nats off changes nothing.
        """
        if not abs(self.latest - self.log_alpha) <= _FARTHEST:
            return self
        if beta == 0:
            return MovingAlpha(self.latest, self.latest)
        old, new = self.log_alpha + math.log(beta), self.latest + math.log1p(-beta)
        return MovingAlpha(float(np.logaddexp(old, new)), self.latest)


def clamped(estimate: Tensor, latest: float, most: float) -> Tensor:
    """An estimate of ``log E[C_k]`` within ``latest - most`` and ``latest + most``.

    The gradient of the loss with respect to the estimate is positive, so descent lowers it. From
    above it leads back, and passes; below it would lead away, and is blocked.
    """
    upper = latest + most
    estimate = estimate + (estimate.clamp(max=upper) - estimate).detach()
    return estimate.clamp(min=latest - most)


def log_mean_exp(values: NDArray[np.floating]) -> float:
    """``log mean exp`` in float64."""
    values = np.asarray(values, np.float64)
    top = values.max()
    return float(top + np.log(np.mean(np.exp(values - top))))


def xi_samples(
    log_u_means: NDArray[np.floating], log_maxima: NDArray[np.floating], log_alpha: float
) -> NDArray[np.float64]:
    """A sample of xi for every minibatch.

    Args:
        log_u_means: mean of log u over each minibatch.
        log_maxima: ``log C_k`` of each.
        log_alpha: a constant that does not depend on these minibatches.

    Returns:
        samples in nats, float64; minus infinity where a maximum is beyond all bounds.
    """
    with np.errstate(over="ignore"):
        ratios = np.exp(np.asarray(log_maxima, np.float64) - log_alpha)
    return -np.asarray(log_u_means, np.float64) - ratios - log_alpha + 1.0

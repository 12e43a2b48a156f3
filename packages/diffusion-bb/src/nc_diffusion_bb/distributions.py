"""Terms of the variational bound in floating point, as training and evaluation need them.

Everything is in nats and elementwise; means and units are the diffusion's business. The integer
distributions that files are coded with are core's (:mod:`nc_core.ans.distributions`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["gaussian_kl", "grey_level_log_mass"]

_HALF_BIN = 1 / 255
_SMALLEST_MASS = 1e-12
_EDGE = 0.999


def gaussian_kl(
    mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor
) -> Tensor:
    """KL divergence of one Gaussian from another; all arguments broadcast."""
    precision = torch.exp(-other_log_variance)
    spread = other_log_variance - log_variance + torch.exp(log_variance - other_log_variance)
    return 0.5 * (spread - 1 + (mean - other_mean) ** 2 * precision)


def grey_level_log_mass(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-mass that a Gaussian gives to the bin of a grey level; open at both ends.

    The normal distribution function is approximated by a hyperbolic tangent, as in all published
    bounds, and no mass is below 1e-12.

    Args:
        x: -1 + 2 k / 255 with k = 0 ... 255.
        mean: of the Gaussian.
        log_scale: log of its standard deviation.
    """
    centred = x - mean
    precision = torch.exp(-log_scale)
    upper = _normal_cdf(precision * (centred + _HALF_BIN))
    lower = _normal_cdf(precision * (centred - _HALF_BIN))
    mass = torch.where(x < -_EDGE, upper, torch.where(x > _EDGE, 1 - lower, upper - lower))
    return mass.clamp(min=_SMALLEST_MASS).log()


def _normal_cdf(z: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

"""Logistic log-probabilities in floating point, as training and evaluation need them.

Everything is in nats and elementwise; sums and units are the model's business. The integer
distributions that files are coded with are core's (:mod:`nc_core.ans.distributions`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "GREY_LEVELS",
    "discretized_logistic_log_mass",
    "logistic_draw",
    "logistic_log_density",
    "logistic_noise",
    "scale_pixels",
    "stable_softplus",
]

GREY_LEVELS = 256
_HALF_RANGE = 127.5
_HALF_BIN = 1 / 255
# Below this mass the difference of two sigmoids has lost its digits in float32; the density at
# the centre, times the width of the bin, then takes its place.
_SMALLEST_DIFFERENCE = 1e-5
_SMALLEST_MASS = 1e-12
_EDGE = 0.999


def scale_pixels(pixels: Tensor) -> Tensor:
    """Grey levels 0 ... 255 as real numbers in [-1, 1]; the same shape."""
    return (pixels - _HALF_RANGE) / _HALF_RANGE


def stable_softplus(values: Tensor) -> Tensor:
    """log(1 + exp(values)) without overflow on either side."""
    return -functional.logsigmoid(-values)


def logistic_noise(
    shape: tuple[int, ...],
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str = "cpu",
    smallest: float = 1e-5,
) -> Tensor:
    """Samples of the standard logistic distribution, log u - log(1 - u) for uniform u.

    Args:
        shape: of the result.
        generator: of the uniform numbers; None for torch's own. They are drawn on its device.
        device: of the result.
        smallest: u is limited to ``smallest ... 1 - smallest``, so that no sample is infinite.
    """
    source = device if generator is None else generator.device
    uniform = torch.rand(shape, generator=generator, device=source).to(device)
    return uniform_to_logistic(uniform, smallest)


def uniform_to_logistic(uniform: Tensor, smallest: float = 1e-5) -> Tensor:
    """Log u - log(1 - u), u limited to ``smallest ... 1 - smallest``."""
    # In float32, 1 - 1e-30 is 1: the upper limit must be a number below it.
    largest = min(1 - smallest, 1 - torch.finfo(uniform.dtype).eps / 2)
    clamped = uniform.clamp(smallest, largest)
    return torch.log(clamped) - torch.log1p(-clamped)


def logistic_draw(
    parameters: tuple[Tensor, Tensor], generator: torch.Generator | None = None
) -> Tensor:
    """Samples of logistic distributions of these means and scales, of one shape."""
    means, scales = parameters
    return means + scales * logistic_noise(tuple(means.shape), generator, device=means.device)


def logistic_log_density(values: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Log density of logistic distributions, in nats; arguments broadcast."""
    argument = (values - means) / scales
    return argument - torch.log(scales) - 2 * stable_softplus(argument)


def discretized_logistic_log_mass(pixels: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Log probability of grey levels under logistic distributions cut into 256 bins, in nats.

    Grey level k owns the bin of width 2 / 255 around (k - 127.5) / 127.5; the first and the last
    bin are open. Bins of tiny mass take the density at their centre instead of a difference.

    Args:
        pixels: 0 ... 255, float or integer, any shape.
        means: in units where pixels span [-1, 1].
        scales: in the same units.
    """
    centres = scale_pixels(pixels)
    inverse = 1 / scales
    distance = centres - means
    upper, lower = inverse * (distance + _HALF_BIN), inverse * (distance - _HALF_BIN)
    mass = torch.sigmoid(upper) - torch.sigmoid(lower)
    middle = inverse * distance
    density = middle - torch.log(scales) - 2 * stable_softplus(middle) - math.log(_HALF_RANGE)
    inside = torch.where(
        mass > _SMALLEST_DIFFERENCE, torch.log(mass.clamp(min=_SMALLEST_MASS)), density
    )
    first, last = upper - stable_softplus(upper), -stable_softplus(lower)
    return torch.where(centres < -_EDGE, first, torch.where(centres > _EDGE, last, inside))

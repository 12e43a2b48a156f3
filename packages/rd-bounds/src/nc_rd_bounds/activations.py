"""Activations by the names that recipes use, with TensorFlow's defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ELEMENTWISE", "Gdn", "at_least"]

_PEDESTAL = 2.0**-36
_BETA_MIN = 1e-6

ELEMENTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "leaky_relu": lambda h: F.leaky_relu(h, 0.2),  # TensorFlow's slope
    "none": lambda h: h,
    "relu": torch.relu,
    "relu6": F.relu6,
    "selu": torch.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanh": torch.tanh,
}
"""Functions of each number alone; ``gdn`` and ``igdn`` are :class:`Gdn`."""


class Gdn(nn.Module):
    """Generalised divisive normalisation: ``h / (beta + |h| @ gamma)``; its inverse multiplies.

    ``beta`` and ``gamma`` are squares of the parameters, less a pedestal that keeps the gradient
    of a square off 0; ``beta`` is at least 1e-6 and ``gamma`` at least 0.

    Args:
        width: of the layer.
        inverse: multiply instead of divide.

    Reference:
        J. Balle, V. Laparra, E. Simoncelli, Density Modeling of Images Using a Generalized
        Normalization Transformation, arXiv 1511.06281; exponents 1 as in arXiv 1912.08771.
    """

    def __init__(self, width: int, *, inverse: bool) -> None:
        super().__init__()
        self._inverse = inverse
        self.reparam_beta = nn.Parameter(torch.full((width,), 1 + _PEDESTAL).sqrt())
        self.reparam_gamma = nn.Parameter((0.1 * torch.eye(width) + _PEDESTAL).sqrt())

    def forward(self, h: Tensor) -> Tensor:
        """The layer, (B, width)."""
        beta = _square(self.reparam_beta, _BETA_MIN)
        norm = torch.addmm(beta, h.abs(), _square(self.reparam_gamma, 0.0))
        return h * norm if self._inverse else h / norm


def _square(parameter: Tensor, least: float) -> Tensor:
    return at_least(parameter, (least + _PEDESTAL) ** 0.5) ** 2 - _PEDESTAL


def at_least(value: Tensor, bound: float) -> Tensor:
    """``max(value, bound)``, whose gradient also passes where descent would raise the value."""
    result: Tensor = _AtLeast.apply(value, bound)  # type: ignore[no-untyped-call]
    return result


class _AtLeast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.bound = bound
        return value.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        gradient = gradients[0]
        passes = (value >= ctx.bound) | (gradient < 0)
        return gradient * passes, None

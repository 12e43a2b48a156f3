"""Convolutions in 16 bits: a network that computes, and its float32 parameters, which are trained.

float16 gradients below 6e-8 vanish, so the loss is multiplied by a power of two first, which
follows what the gradients bear.

Reference: Paulius Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nc_diffusion_bb.unet import UNet

__all__ = ["DTYPES", "LossScale", "MasterWeights"]

DTYPES = {"none": None, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""Types of the convolutions by the names that configurations use; None for float32."""

_START_EXPONENT = 20.0


@dataclass
class LossScale:
    """2 to the power ``exponent``.

    Args:
        growth: added to the exponent after a step.
        exponent: less by 1 after a step whose gradients were not finite.
    """

    growth: float
    exponent: float = _START_EXPONENT

    @property
    def factor(self) -> float:
        """What the loss is multiplied by, and gradients are divided by."""
        return float(2.0**self.exponent)

    def adjust(self, *, finite: bool) -> None:
        """After a step: grow, or shrink where gradients were not finite."""
        self.exponent += self.growth if finite else -1


class MasterWeights:
    """A network in half precision beside one in float32, or one network that is both.

    Args:
        master: whose parameters are optimised, evaluated and kept.
        dtype: of the convolutions that compute; None for float32.

    Attributes:
        network: the one that computes, in training mode.
    """

    def __init__(self, master: UNet, dtype: torch.dtype | None) -> None:
        self._shares = dtype is None
        self.network = master
        if dtype is not None:
            self.network = deepcopy(master).train()
            self.network.convert_torso(dtype)
        self._masters: list[nn.Parameter] = list(master.parameters())
        self._working: list[nn.Parameter] = list(self.network.parameters())

    def clear_gradients(self) -> None:
        """Forget the gradients of the network that computes."""
        for parameter in self._working:
            parameter.grad = None

    def take_gradients(self, scale: float) -> bool:
        """Give the float32 parameters the gradients, divided by ``scale``; whether all are finite.

        One network that is both has them already, and is not asked.
        """
        if self._shares:
            return True
        gradients = [_gradient(parameter) for parameter in self._working]
        if not torch.stack([gradient.isfinite().all() for gradient in gradients]).all():
            return False
        for master, gradient in zip(self._masters, gradients, strict=True):
            master.grad = gradient.float() / scale
        return True

    @torch.no_grad()
    def publish(self) -> None:
        """Give the network that computes the float32 parameters, rounded to its types."""
        if not self._shares:
            for working, master in zip(self._working, self._masters, strict=True):
                working.copy_(master)


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad

"""Masked autoregressive networks: shift and log-scale of each number from those before it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from nc_rd_bounds.activations import ELEMENTWISE
from nc_rd_bounds.networks import Dense

__all__ = ["Made", "MaskedDense", "made_masks"]


def made_masks(dims: int, units: Sequence[int]) -> list[Tensor]:
    """The masks of a MADE with two outputs per number, as TensorFlow Probability has them.

    Degrees of the inputs, and of the outputs, are 1 ... dims. Unit k = 1 ... u of a hidden layer
    has degree ``ceil(k (dims - 1) / (u + 1))``, but at least the smallest degree of the layer
    before (or dims - 1). Hidden units see degrees up to their own, outputs lower ones only.

    Args:
        dims: numbers per item.
        units: widths of the hidden layers.

    Returns:
        Zeros and ones, (inputs, outputs) for each layer; columns 2j and 2j + 1 of the last
        belong to number j.

    Reference:
        M. Germain et al., MADE: Masked Autoencoder for Distribution Estimation, 1502.03509.
    """
    order = np.arange(1, dims + 1)
    degrees = [order]
    for width in units:
        spread = -(-np.arange(1, width + 1) * (dims - 1) // (width + 1))
        degrees.append(np.maximum(spread, min(int(degrees[-1].min()), dims - 1)))
    masks = [below[:, None] <= above for below, above in pairwise(degrees)]
    masks.append(np.repeat(degrees[-1][:, None] < order, 2, axis=1))
    return [torch.from_numpy(mask.astype(np.float32)) for mask in masks]


class MaskedDense(Dense):
    """A dense layer some of whose weights are 0.

    The gradient is not masked: :meth:`apply_mask` follows every update instead.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(*mask.shape)
        self.register_buffer("mask", mask.to(self.kernel.device), persistent=False)
        self.apply_mask()

    @torch.no_grad()
    def apply_mask(self) -> None:
        """Set to 0 what the mask excludes."""
        self.kernel.mul_(self.mask)


class Made(nn.Module):
    """Shift and log-scale of each number as functions of the numbers before it.

    Args:
        dims: numbers per item.
        units: widths of the hidden layers.
        activation: a name of :data:`ELEMENTWISE`; ``none`` makes the network linear.
    """

    def __init__(self, dims: int, units: Sequence[int], activation: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MaskedDense(mask) for mask in made_masks(dims, units))
        self._activation = ELEMENTWISE[activation]

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log-scale, each (B, dims), of numbers (B, dims)."""
        *hidden, last = self.layers
        h = y
        for layer in hidden:
            h = self._activation(layer(h))
        both: Tensor = last(h)
        shift, log_scale = both.view(len(y), -1, 2).unbind(dim=2)
        return shift, log_scale

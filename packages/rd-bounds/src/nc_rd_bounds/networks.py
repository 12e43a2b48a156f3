"""Multilayer perceptrons, with Keras' initialisation and layout of kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nc_rd_bounds.activations import ELEMENTWISE, Gdn

__all__ = ["Dense", "Mlp", "glorot_uniform"]


def glorot_uniform(inputs: int, outputs: int) -> Tensor:
    """A kernel (inputs, outputs), uniform within ``sqrt(6 / (inputs + outputs))``.

    Reference:
        X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010, equation 16.
    """
    limit = math.sqrt(6 / (inputs + outputs))
    return torch.empty(inputs, outputs).uniform_(-limit, limit)


class Dense(nn.Module):
    """``x @ kernel + bias``, the kernel of shape (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(glorot_uniform(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, outputs) for inputs (B, inputs)."""
        return torch.addmm(self.bias, x, self.kernel)


class Mlp(nn.Module):
    """Affine layers with an activation after each but the last.

    Args:
        inputs: numbers per item.
        units: widths of the hidden layers; empty for one affine layer.
        outputs: numbers per item.
        activation: a name of :data:`ELEMENTWISE`, ``gdn`` or ``igdn``. One and the same GDN
            serves all hidden layers, as in the original, so their widths are equal.
    """

    def __init__(
        self, inputs: int, units: Sequence[int], outputs: int, activation: str = "softplus"
    ) -> None:
        super().__init__()
        widths = [inputs, *units, outputs]
        self.layers = nn.ModuleList(map(Dense, widths[:-1], widths[1:]))
        self.gdn: Gdn | None = None
        if activation in ("gdn", "igdn") and units:
            if len(set(units)) > 1:
                raise ValueError(f"layers that share one GDN have equal widths, not {units}")
            self.gdn = Gdn(units[0], inverse=activation == "igdn")
        self._activation = self.gdn or ELEMENTWISE.get(activation, ELEMENTWISE["none"])

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, outputs) for inputs (B, inputs)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self._activation(layer(x))
        result: Tensor = last(x)
        return result

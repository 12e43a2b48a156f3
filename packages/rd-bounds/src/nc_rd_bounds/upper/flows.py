"""Autoregressive flows: layers of MADEs with permutations between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nc_rd_bounds.upper.made import Made

__all__ = ["InverseFlow", "MaskedFlow"]


class _Flow(nn.Module):
    """MADEs; the permutation of layer i rolls the numbers by i.

    Args:
        dims: numbers per item.
        stacks: layers.
        units: widths of the hidden layers of every MADE.
        activation: of every MADE.
    """

    def __init__(self, dims: int, stacks: int, units: Sequence[int], activation: str) -> None:
        super().__init__()
        self.mades = nn.ModuleList(Made(dims, units, activation) for _ in range(stacks))


class MaskedFlow(_Flow):
    """Masked autoregressive flow, from data to standard normal noise: one pass per layer.

    Reference:
        G. Papamakarios, T. Pavlakou, I. Murray, Masked Autoregressive Flow for Density
        Estimation, arXiv 1705.07057.
    """

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (B, dims), and the log-determinant of its Jacobian (B,)."""
        scales = []
        for i in reversed(range(len(self.mades))):
            y = _rolled(y, -i)
            shift, log_scale = self.mades[i](y)
            y = (y - shift) * torch.exp(-log_scale)
            scales.append(log_scale)
        return y, -_total(scales, y)


class InverseFlow(_Flow):
    """Inverse autoregressive flow, from noise to latents: one pass per layer.

    Reference:
        D. P. Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow,
        arXiv 1606.04934.
    """

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, dims), and by how much their log-density exceeds the noise's, (B,)."""
        scales = []
        for i, made in enumerate(self.mades):
            shift, log_scale = made(y)
            y = _rolled((y - shift) * torch.exp(-log_scale), i)
            scales.append(log_scale)
        return y, _total(scales, y)


def _rolled(y: Tensor, by: int) -> Tensor:
    """Number j becomes number j + by, cyclically."""
    return y.roll(by, dims=1) if by % y.shape[1] else y


def _total(scales: Sequence[Tensor], y: Tensor) -> Tensor:
    if not scales:
        return y.new_zeros(len(y))
    return torch.stack(list(scales)).sum(dim=(0, 2))

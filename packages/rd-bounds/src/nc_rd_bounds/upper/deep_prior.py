"""The deep factorised prior: a learned monotone network per dimension for the cumulative."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_rd_bounds.upper.intervals import log_logistic_interval

__all__ = ["DeepFactorized"]

_FILTERS = (1, 3, 3, 1)
_INIT_SCALE = 10.0


class DeepFactorized(nn.Module):
    """Independent dimensions with cumulative ``sigmoid(h(y))``, h monotone and learned.

    ``h`` is three layers ``softplus(matrix) @ h + bias``; after each but the last,
    ``h + tanh(factor) * tanh(h)``.

    Args:
        dims: of the latent.

    Reference:
        J. Balle et al., Variational Image Compression with a Scale Hyperprior, arXiv 1802.01436,
        appendix 6.1.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self._layers = len(_FILTERS) - 1
        scale = _INIT_SCALE ** (1 / self._layers)
        for i in range(self._layers):
            inputs, outputs = _FILTERS[i : i + 2]
            start = math.log(math.expm1(1 / (scale * outputs)))
            matrix = torch.full((dims, outputs, inputs), start)
            self.register_parameter(f"matrix_{i}", nn.Parameter(matrix))
            bias = torch.empty(dims, outputs, 1).uniform_(-0.5, 0.5)
            self.register_parameter(f"bias_{i}", nn.Parameter(bias))
            if i < self._layers - 1:
                factor = torch.zeros(dims, outputs, 1)
                self.register_parameter(f"factor_{i}", nn.Parameter(factor))

    def log_densities(self, y: Tensor) -> Tensor:
        """Log p of each coordinate in nats, (B, L), of latents (B, L)."""
        h = y.T[:, None, :]
        slope = torch.ones_like(h)
        for i in range(self._layers):
            matrix = F.softplus(self._of("matrix", i))
            h, slope = torch.baddbmm(self._of("bias", i), matrix, h), torch.bmm(matrix, slope)
            if i < self._layers - 1:
                factor, bend = torch.tanh(self._of("factor", i)), torch.tanh(h)
                h, slope = h + factor * bend, slope * (1 + factor * (1 - bend * bend))
        logs = F.logsigmoid(h) + F.logsigmoid(-h) + torch.log(slope)
        return logs[:, 0].T

    def log_intervals(self, y: Tensor) -> Tensor:
        """Log of the probability of [y - 1/2, y + 1/2] in nats, coordinate by coordinate."""
        lower, upper = self._logits(torch.cat([y - 0.5, y + 0.5])).chunk(2)
        return log_logistic_interval(lower, upper)

    def cumulative(self, y: Tensor) -> Tensor:
        """Probability of values up to each coordinate, (B, L)."""
        return torch.sigmoid(self._logits(y))

    def _logits(self, y: Tensor) -> Tensor:
        h = y.T[:, None, :]
        for i in range(self._layers):
            h = torch.baddbmm(self._of("bias", i), F.softplus(self._of("matrix", i)), h)
            if i < self._layers - 1:
                h = torch.addcmul(h, torch.tanh(self._of("factor", i)), torch.tanh(h))
        return h[:, 0].T

    def _of(self, name: str, layer: int) -> Tensor:
        return self.get_parameter(f"{name}_{layer}")

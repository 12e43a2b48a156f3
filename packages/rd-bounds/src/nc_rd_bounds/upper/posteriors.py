"""Posteriors of the latents: one reparameterised draw, and its log-density."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_rd_bounds.upper.config import ModelConfig
from nc_rd_bounds.upper.flows import InverseFlow

__all__ = ["GaussianPosterior", "UniformPosterior", "make_posterior"]

_LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)
_UNIT = math.log(math.expm1(1.0))  # softplus of it is 1, so an output of 0 is a deviation of 1


class GaussianPosterior(nn.Module):
    """A diagonal normal distribution, and flow layers after it if there are any.

    The encoder returns means, and then what deviations are made of: ``softplus(s + 0.5413)``.
    """

    outputs_per_latent = 2

    def __init__(self, flow: InverseFlow | None) -> None:
        super().__init__()
        self.flow = flow

    def noise(self, count: int, latents: int, device: torch.device | None = None) -> Tensor:
        """Standard normal noise (count, latents) of torch's generator."""
        return torch.randn(count, latents, device=device)

    def forward(self, encoded: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A latent (B, L) and log q of it in nats (B,), of the encoder's output (B, 2L)."""
        mean, raw = encoded.chunk(2, dim=1)
        deviation = F.softplus(raw + _UNIT)
        y = torch.addcmul(mean, deviation, noise)
        log_q = -(0.5 * noise * noise + _LOG_ROOT_TAU + torch.log(deviation)).sum(dim=1)
        if self.flow is None:
            return y, log_q
        y, excess = self.flow(y)
        return y, log_q + excess


class UniformPosterior(nn.Module):
    """Uniform of width 1 around the encoder's output: the noisy stand-in for rounding."""

    outputs_per_latent = 1

    def noise(self, count: int, latents: int, device: torch.device | None = None) -> Tensor:
        """Uniform noise in [-1/2, 1/2), (count, latents), of torch's generator."""
        return torch.rand(count, latents, device=device) - 0.5

    def forward(self, encoded: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A latent (B, L) and log q of it in nats, which is 0, of the encoder's output (B, L)."""
        return encoded + noise, encoded.new_zeros(len(encoded))


def make_posterior(config: ModelConfig) -> GaussianPosterior | UniformPosterior:
    """The posterior of a model whose sizes are resolved."""
    if config.posterior == "uniform":
        return UniformPosterior()
    if config.posterior == "gaussian":
        return GaussianPosterior(None)
    if config.latents is None:
        raise ValueError("the size of the latent is not resolved")
    return GaussianPosterior(
        InverseFlow(config.latents, config.iaf_stacks, config.flow_units, config.flow_activation)
    )

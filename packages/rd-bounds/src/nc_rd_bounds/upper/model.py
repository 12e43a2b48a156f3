"""Beta-VAEs of vectors: rate and distortion of one draw of the latent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nc_rd_bounds.networks import Mlp
from nc_rd_bounds.upper.config import ModelConfig, UpperConfig
from nc_rd_bounds.upper.made import MaskedDense
from nc_rd_bounds.upper.posteriors import make_posterior
from nc_rd_bounds.upper.priors import log_prior, make_prior

__all__ = ["Objective", "Terms", "VectorVae"]


@dataclass(frozen=True)
class Terms:
    """What coding a batch costs.

    Args:
        kl: log q - log p at the latents drawn, in nats, (B,).
        reconstruction: (B, n).
        squared_error: mean over the n dimensions, (B,).
    """

    kl: Tensor
    reconstruction: Tensor
    squared_error: Tensor


class VectorVae(nn.Module):
    """A beta-VAE of vectors; nonlinear transform coding where the posterior is uniform.

    Args:
        config: of the shape, with its sizes resolved.

    Reference:
        Y. Yang, S. Mandt, Towards Empirical Sandwich Bounds on the Rate-Distortion Function,
        arXiv 2111.12166, section 3.
    """

    location: Tensor
    scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.dims is None or config.latents is None:
            raise ValueError("the sizes of the model are not resolved")
        self.config, self.dims, self.latents = config, config.dims, config.latents
        self.posterior = make_posterior(config)
        self.encoder = Mlp(
            self.dims,
            config.encoder_units,
            self.latents * self.posterior.outputs_per_latent,
            config.encoder_activation,
        )
        self.decoder = (
            None
            if config.decoder_units is None
            else Mlp(self.latents, config.decoder_units, self.dims, config.decoder_activation)
        )
        self.prior = make_prior(config)
        if config.standardise:
            self.register_buffer("location", torch.zeros(self.dims))
            self.register_buffer("scale", torch.ones(self.dims))

    @property
    def quantised(self) -> bool:
        """Whether the posterior is uniform, so that latents can be rounded and coded."""
        return self.config.posterior == "uniform"

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Terms:
        """Cost of vectors at one draw of their latents.

        Args:
            x: float32, (B, n).
            noise: of the posterior, (B, L); drawn from torch's generator by default.
        """
        if noise is None:
            noise = self.posterior.noise(len(x), self.latents, x.device)
        y, log_q = self.posterior(self.encode(x), noise)
        return self.terms(x, y, log_q)

    def terms(self, x: Tensor, y: Tensor, log_q: Tensor | float = 0.0) -> Terms:
        """Cost of vectors (B, n) at given latents (B, L) of log-density ``log_q``."""
        kl = log_q - log_prior(self.prior, y, intervals=self.quantised)
        reconstruction = self.decode(y)
        return Terms(kl, reconstruction, (x - reconstruction).square().mean(dim=1))

    def encode(self, x: Tensor) -> Tensor:
        """What the posterior is made of, of vectors (B, n)."""
        if self.config.standardise:
            x = (x - self.location) / self.scale
        encoded: Tensor = self.encoder(x)
        return encoded

    def decode(self, y: Tensor) -> Tensor:
        """Reconstructions (B, n) of latents (B, L)."""
        decoded = y if self.decoder is None else self.decoder(y)
        if self.config.standardise:
            return torch.addcmul(self.location, self.scale, decoded)
        return decoded

    @torch.no_grad()
    def standardise(self, x: Tensor) -> None:
        """Take mean and deviation per dimension from vectors (B, n), where the shape has them."""
        if self.config.standardise:
            self.location.copy_(x.mean(dim=0))
            deviation = x.std(dim=0, correction=0)
            self.scale.copy_(torch.where(deviation > 0, deviation, 1.0))

    def apply_masks(self) -> None:
        """Set to 0 what autoregressive networks must not see; after every update."""
        for module in self.modules():
            if isinstance(module, MaskedDense):
                module.apply_mask()


@dataclass(frozen=True)
class Objective:
    """``rate + lamb * mse``, the rate in a unit.

    Args:
        lamb: lambda, in that unit per unit of mean squared error.
        nats: in one unit of the rate: 1, or ln 2 for bits, times the dimensions if per dimension.
    """

    lamb: float
    nats: float

    @classmethod
    def of(cls, config: UpperConfig, dims: int) -> Objective:
        """The objective of a configuration, for vectors of that many numbers."""
        unit = math.log(2) if config.unit == "bits" else 1.0
        return cls(config.lamb, unit * (dims if config.per_dimension else 1))

    def __call__(self, terms: Terms) -> dict[str, Tensor]:
        """``loss``, ``rate`` and ``mse`` of a batch, scalars."""
        rate = terms.kl.mean() / self.nats
        mse = torch.mean(terms.squared_error)
        return {"loss": rate + self.lamb * mse, "rate": rate, "mse": mse}

"""The VAEs of BB-ANS, in floating point: what is trained, evaluated and imported.

Names of parameters are the original's. A latent z of some 40 dimensions has the prior N(0, 1); an
encoder of one hidden layer gives mean and standard deviation of q(z | x), a decoder of one hidden
layer the parameters of p(x | z), pixel by pixel:

- ``bernoulli``, for pixels 0 and 1: log-odds;
- ``beta-binomial``, for pixels 0 ... 255: logarithms of alpha and beta, for 255 trials. Batch
  normalisation follows all its layers but the last.

Reference: James Townsend, Tom Bird, David Barber, "Practical Lossless Compression with Latent
Variables using Bits Back Coding", arXiv 1901.04866, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_core.sizes import MOST_PIXELS, MOST_WIDTH, check_sizes

__all__ = ["TRIALS", "Architecture", "Likelihood", "Terms", "Vae"]

Likelihood = Literal["bernoulli", "beta-binomial"]
TRIALS = 255
_LIMITS = {
    "height": (1, MOST_PIXELS),
    "width": (1, MOST_PIXELS),
    "hidden": (1, MOST_WIDTH),
    "latents": (1, MOST_WIDTH),
}


@dataclass(frozen=True)
class Architecture:
    """Shape of a VAE.

    Args:
        likelihood: of a pixel.
        height, width: of the images, which have one channel.
        hidden: units of each hidden layer.
        latents: dimensions of the latent.

    Raises:
        ValueError: sizes that no model has; the message says which.
    """

    likelihood: Likelihood
    height: int
    width: int
    hidden: int
    latents: int

    def __post_init__(self) -> None:
        if self.likelihood not in ("bernoulli", "beta-binomial"):
            raise ValueError(f"no likelihood {self.likelihood!r}")
        check_sizes(self, _LIMITS)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (1, self.height, self.width)

    @property
    def dims(self) -> int:
        """Pixels of an image."""
        return self.height * self.width

    @property
    def top(self) -> int:
        """The largest value of a pixel."""
        return 1 if self.likelihood == "bernoulli" else TRIALS

    @property
    def outputs(self) -> int:
        """Numbers that the decoder gives for an image."""
        return self.dims if self.likelihood == "bernoulli" else 2 * self.dims


class Terms(NamedTuple):
    """Bits of each image, float64 (B,), at one latent each.

    Attributes:
        reconstruction: -log2 p(x | z).
        divergence: log2 q(z | x) - log2 p(z).
    """

    reconstruction: Tensor
    divergence: Tensor

    @property
    def information(self) -> Tensor:
        """The negative ELBO."""
        return self.reconstruction + self.divergence


class Vae(nn.Module):
    """A VAE of one latent level; see the module's text.

    Args:
        architecture: its shape.
    """

    bn1: nn.Module
    bn21: nn.Module
    bn22: nn.Module
    bn3: nn.Module

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        hidden, latents = architecture.hidden, architecture.latents
        self.fc1 = nn.Linear(architecture.dims, hidden)
        self.fc21 = nn.Linear(hidden, latents)
        self.fc22 = nn.Linear(hidden, latents)
        self.fc3 = nn.Linear(latents, hidden)
        self.fc4 = nn.Linear(hidden, architecture.outputs)
        normalised = architecture.likelihood == "beta-binomial"
        sizes = {"bn1": hidden, "bn21": latents, "bn22": latents, "bn3": hidden}
        for name, size in sizes.items():
            self.add_module(name, nn.BatchNorm1d(size) if normalised else nn.Identity())

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of q(z | x), (B, latents).

        Args:
            pixels: 0 ... ``top``, any dtype, (B, dims).
        """
        inputs = pixels.float() / self.architecture.top
        features = functional.relu(self.bn1(self.fc1(inputs)))
        return self.bn21(self.fc21(features)), torch.exp(self.bn22(self.fc22(features)))

    def decode(self, latents: Tensor) -> Tensor:
        """Log-odds of p(x | z), (B, dims), or log alpha and then log beta, (B, 2 dims)."""
        features = functional.relu(self.bn3(self.fc3(latents)))
        outputs: Tensor = self.fc4(features)
        return outputs

    def forward(self, pixels: Tensor, noise: Tensor) -> Terms:
        """Code lengths at z = mean + noise * deviation.

        Args:
            pixels: 0 ... ``top``, any dtype, (B, dims).
            noise: (B, latents), from N(0, 1). Zeros give what the original prints as its test
                loss; that is no estimate of the ELBO.
        """
        means, deviations = self.posterior(pixels)
        latents = means + noise * deviations
        # log q(z) - log p(z): the constants of both cancel.
        nats = (latents**2 - noise**2) / 2 - torch.log(deviations)
        pixel_nats = -self._log_mass(pixels, self.decode(latents))
        per_bit = math.log(2)
        return Terms(pixel_nats.sum(1).double() / per_bit, nats.sum(1).double() / per_bit)

    def _log_mass(self, pixels: Tensor, outputs: Tensor) -> Tensor:
        if not self.training:
            outputs = outputs.double()  # log-gammas of large arguments cancel
        values = pixels.to(outputs.dtype)
        if self.architecture.likelihood == "bernoulli":
            return -functional.binary_cross_entropy_with_logits(outputs, values, reduction="none")
        alpha, beta = torch.exp(outputs).chunk(2, 1)
        return beta_binomial_log_mass(values, alpha, beta)


@lru_cache(maxsize=4)
def _log_ways(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Logarithms of the binomial coefficients of 255."""
    ways = [math.log(math.comb(TRIALS, k)) for k in range(TRIALS + 1)]
    return torch.tensor(ways, device=device, dtype=dtype)


def beta_binomial_log_mass(values: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Log probability of 0 ... 255 successes in 255 trials, in nats; all of one shape."""
    failures, gamma = TRIALS - values, torch.lgamma
    ways = _log_ways(values.device, values.dtype)[values.long()]
    total = gamma(alpha + beta) - gamma(TRIALS + alpha + beta)
    # Most pixels of digits are 0, where the terms of alpha cancel: a third of the time saved.
    inked = values > 0
    successes = gamma(values[inked] + alpha[inked]) - gamma(alpha[inked])
    rise = torch.zeros_like(total).masked_scatter(inked, successes)
    return ways + total + gamma(failures + beta) - gamma(beta) + rise

"""The same networks as they are lowered to integers: linear layers, ReLUs and heads.

Batch normalisation is folded into the layer before it, and natural logarithms become binary ones,
because the coder's grids of scales and concentrations are in octaves. What comes out are the
integers that distributions take.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nc_bitswap.bbans.model import Architecture, Vae
from nc_core.ans.distributions.grids import CONCENTRATIONS
from nc_core.exact import Input, IntegerHead, LocationScaleHead, ScaleMap

__all__ = [
    "CONCENTRATION_MIDDLE",
    "LATENT_BITS",
    "LOG_ODDS_BITS",
    "LOG_ODDS_LIMIT",
    "POSITION_BITS",
    "CodingNetworks",
    "folded",
]

# Latents are multiples of 2 ** -20. The coder's unit of length is 1/64, so that its scales reach
# from 2 ** -12 to 16, and its positions keep 14 of the 20 fractional bits.
LATENT_BITS = 20
POSITION_BITS = 14
_UNITS = float(1 << (LATENT_BITS - POSITION_BITS))
_LATENT_LIMIT = 8

# Log-odds in nats, in steps of 1/256; at 14 the rarer symbol owns one count of 2 ** 20.
LOG_ODDS_BITS = 8
LOG_ODDS_LIMIT = 14 << LOG_ODDS_BITS

# Concentrations 2 ** (i / 64 - 24): an index is the binary logarithm with 6 fractional bits, and
# 0 in the middle.
_CONCENTRATION_BITS = 6
CONCENTRATION_MIDDLE = CONCENTRATIONS // 2


class CodingNetworks(nn.Module):
    """Encoder and decoder between the grids of pixels, latents and parameters.

    Args:
        architecture: of the VAE.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        hidden, latents = architecture.hidden, architecture.latents
        self.image = Input(0, architecture.top, scale=float(architecture.top))
        self.encoder = nn.Sequential(nn.Linear(architecture.dims, hidden), nn.ReLU())
        self.means = nn.Linear(hidden, latents)
        self.scales = nn.Linear(hidden, latents)
        self.posterior_head = LocationScaleHead(
            ScaleMap("exponential"), gain=_UNITS, fraction_bits=POSITION_BITS
        )
        self.latent = Input(-_LATENT_LIMIT, _LATENT_LIMIT, fraction_bits=LATENT_BITS)
        self.decoder = nn.Sequential(nn.Linear(latents, hidden), nn.ReLU())
        self.pixels = nn.Linear(hidden, architecture.outputs)
        self.pixel_head = (
            IntegerHead(LOG_ODDS_BITS, LOG_ODDS_LIMIT)
            if architecture.likelihood == "bernoulli"
            else IntegerHead(_CONCENTRATION_BITS, CONCENTRATION_MIDDLE)
        )

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of q(z | x), (B, latents); integers where it is lowered.

        Args:
            pixels: 0 ... ``top``, any dtype, (B, dims).
        """
        features = self.encoder(self.image(pixels))
        parameters: tuple[Tensor, Tensor] = self.posterior_head(
            self.means(features), self.scales(features)
        )
        return parameters

    def likelihood(self, latents: Tensor) -> Tensor:
        """Parameters of p(x | z): log-odds (B, dims), or log2 alpha and log2 beta (B, 2 dims).

        Args:
            latents: real numbers, (B, latents).
        """
        outputs: Tensor = self.pixel_head(self.pixels(self.decoder(self.latent(latents))))
        return outputs


def folded(vae: Vae) -> CodingNetworks:
    """The networks of a trained VAE, ready to be lowered."""
    with torch.random.fork_rng(devices=[]):  # the initial weights are overwritten
        networks = CodingNetworks(vae.architecture)
    octaves = 1 / math.log(2)
    grey = vae.architecture.likelihood == "beta-binomial"
    _fold(networks.encoder[0], vae.fc1, vae.bn1)
    _fold(networks.means, vae.fc21, vae.bn21)
    _fold(networks.scales, vae.fc22, vae.bn22, octaves)
    _fold(networks.decoder[0], vae.fc3, vae.bn3)
    _fold(networks.pixels, vae.fc4, nn.Identity(), octaves if grey else 1.0)
    return networks.eval()


def _fold(into: nn.Module, linear: nn.Linear, norm: nn.Module, factor: float = 1.0) -> None:
    """Make one linear layer of a linear layer, a normalisation by running means, and a factor."""
    assert isinstance(into, nn.Linear)
    weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
    if isinstance(norm, nn.BatchNorm1d):
        assert norm.running_mean is not None and norm.running_var is not None
        slope = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = weight * slope[:, None]
        bias = (bias - norm.running_mean.double()) * slope + norm.bias.detach().double()
    with torch.no_grad():
        into.weight.copy_(weight * factor)
        into.bias.copy_(bias * factor)

"""From features to the distributions of three colour planes, one after the other.

A plane's pixels follow mixtures of discretised logistics, whose means are a linear prediction plus
a correction by the network. Numbers that describe probabilities are base 2 throughout: logits,
and logarithms of scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_bitswap.photo.layers import activation, replicate
from nc_core.exact import Input, IntegerHead, LocationScaleHead, ScaleMap

__all__ = [
    "HIGHEST",
    "LOGIT_BITS",
    "LOWEST",
    "Colours",
    "MixtureParameters",
    "PlaneOf",
    "log2_probability",
]

LOWEST = (0, -255, -255)
HIGHEST = (255, 255, 255)
"""Smallest and largest value of Y, Co, Cg."""
LOGIT_BITS = 6
"""Fractional bits of integer logits."""
_LOGIT_LIMIT = 64 << LOGIT_BITS
# log2 of the smallest and largest scale, in grey levels.
_SCALE_RANGE = (-5.625, 9.953125)
# Grey levels per unit of the residuals that later colours see, and of a mean's correction.
_SURPRISE = 8.0
_STEP = 4.0


@dataclass(frozen=True)
class MixtureParameters:
    """Mixtures of K discretised logistics, one for every pixel of a plane.

    Args:
        logits: (B, K, H, W), log2 of the weights but for a constant.
        means: (B, K, H, W), grey levels.
        scales: (B, K, H, W), grey levels.

    A lowered model gives integers: logits with ``LOGIT_BITS`` fractional bits, means of the
    symbols ``value - LOWEST`` with 8, and indices of scales.
    """

    logits: Tensor
    means: Tensor
    scales: Tensor


PlaneOf = Callable[[int, MixtureParameters], Tensor]
"""Codes a colour's plane, or looks it up: (colour, distributions) -> values (B, 1, H, W)."""


def log2_probability(values: Tensor, mixture: MixtureParameters, colour: int) -> Tensor:
    """log2 of the probability of integers under real-valued parameters, (B, H, W).

    Args:
        values: (B, 1, H, W); a colour's smallest and largest value take the tails.
        mixture: their distributions.
        colour: 0, 1 or 2.
    """
    inverse = 1 / mixture.scales
    centred = values - mixture.means
    below = functional.logsigmoid((centred + 0.5) * inverse)
    above = functional.logsigmoid((0.5 - centred) * inverse)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), precise in both tails.
    inside = below + above + torch.log(-torch.expm1(-inverse))
    inside = torch.where(values <= LOWEST[colour], below, inside)
    inside = torch.where(values >= HIGHEST[colour], above, inside)
    weights = functional.log_softmax(mixture.logits * math.log(2), 1)
    return torch.logsumexp(inside + weights, 1) / math.log(2)


class Colours(nn.Module):
    """Distributions of Y given features, of Co given also Y, of Cg given also Y and Co.

    Args:
        width: channels of the features.
        hidden: channels of the hidden layer of each colour.
        mixtures: logistics in the mixture of a pixel.
        crossed: whether the linear prediction of a colour takes in the colours coded before.
    """

    def __init__(self, width: int, hidden: int, mixtures: int, *, crossed: bool = True) -> None:
        super().__init__()
        self.activation = activation()
        self.features = nn.ModuleList(nn.Conv2d(width, hidden, 1) for _ in range(3))
        self.surprise = nn.ModuleList(
            nn.Conv2d(colours, hidden, 3, padding=1, bias=False) for colours in (1, 2)
        )
        self.out = nn.ModuleList(nn.Conv2d(hidden, 3 * mixtures, 1) for _ in range(3))
        cross = (nn.Conv2d(colours, 1, 3, bias=False) for colours in (1, 2))
        self.crossed = nn.ModuleList(cross) if crossed else None
        self.coded = Input(-255, 255)
        self.logits = IntegerHead(LOGIT_BITS, _LOGIT_LIMIT)
        self.logistics = nn.ModuleList(
            LocationScaleHead(ScaleMap("exponential"), offset=-lowest) for lowest in LOWEST
        )
        self._initialize(mixtures)

    def passes(self, features: Tensor, linear: Sequence[Tensor], plane: PlaneOf) -> Tensor:
        """Go through the three colours.

        Args:
            features: (B, width, H, W).
            linear: linear predictions of the colours, each (B, 1, H, W), in grey levels.
            plane: codes or looks up the values of a colour.

        Returns:
            The planes, (B, 3, H, W).
        """
        coded: list[Tensor] = []
        residuals: list[Tensor] = []
        for colour in range(3):
            predicted = linear[colour]
            if colour and self.crossed is not None:
                bordered = self.coded(replicate(torch.cat(coded, 1), 1))
                predicted = predicted + self.crossed[colour - 1](bordered)
            values = plane(colour, self._mixture(colour, features, predicted, residuals))
            coded.append(values)
            if colour < 2:
                residuals.append(self.coded(values) - predicted)
        return torch.cat(coded, 1)

    def _mixture(
        self, colour: int, features: Tensor, predicted: Tensor, residuals: list[Tensor]
    ) -> MixtureParameters:
        hidden = self.features[colour](features)
        if residuals:
            seen = torch.cat(residuals, 1) / _SURPRISE
            hidden = hidden + self.surprise[colour - 1](seen)
        logits, corrections, raw = self.out[colour](self.activation(hidden)).chunk(3, 1)
        means, scales = self.logistics[colour](
            predicted + _STEP * corrections, raw.clamp(*_SCALE_RANGE)
        )
        return MixtureParameters(self.logits(logits), means, scales)

    @torch.no_grad()
    def _initialize(self, mixtures: int) -> None:
        for layer in self.out:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.normal_(layer.weight, std=0.03)
            layer.bias.zero_()
            # Scales from one grey level up to some.
            layer.bias[2 * mixtures :] = torch.linspace(0.0, 3.0, mixtures)
        for layer in self.crossed or ():
            assert isinstance(layer, nn.Conv2d)
            nn.init.zeros_(layer.weight)

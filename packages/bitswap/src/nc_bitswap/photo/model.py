"""A photograph as a pyramid of lattices above a two-level Bit-Swap model.

The planes Y, Co, Cg of an image are split as x_0 = x, x_l = every 2^l-th row and column of x. The
coarsest lattice x_L, the base, is coded by a hierarchical latent-variable model
z_2 -> z_1 -> x_L with bits back in Bit-Swap order. Every finer lattice is coded given the next
coarser one in three phases, the pixels (1, 1), (0, 1), (1, 0) of its cells of 2 x 2; all pixels of
a phase at once, first Y, then Co given Y, then Cg given both:

    p(x) = E_q [p(z_2) p(z_1 | z_2) p(x_L | z_1) / (q(z_1 | x_L) q(z_2 | z_1))]
           * prod_levels prod_phases p(phase | phases before, x_{l+1})

No lattice but the base depends on the latents. So an encoder pushes the finest lattice first and
the base last, whose posterior then draws its bits from them: a single photograph needs no
initial bits.

Inputs and heads are declared, so that ``nc_core.exact.lower`` makes of a trained model one of
the same class that returns integers. Where planes are asked for below, they are plain tensors
of integers in float32.

Reference for the base: Friso Kingma, Pieter Abbeel, Jonathan Ho, "Bit-Swap: Recursive Bits-Back
Coding for Lossless Compression with Hierarchical Latent Variables", arXiv 1905.06845.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_bitswap.distributions import logistic_draw, logistic_log_density
from nc_bitswap.photo.colours import (
    Colours,
    MixtureParameters,
    PlaneOf,
    log2_probability,
)
from nc_bitswap.photo.layers import Residual, ZeroSumConv2d, activation, replicate
from nc_core.exact import Input, LocationScaleHead, ScaleMap
from nc_core.sizes import MOST_LATTICES, MOST_LAYERS, MOST_WIDTH, check_sizes

__all__ = [
    "BASE_MULTIPLE",
    "LATENT_BITS",
    "LATENT_RANGE",
    "PHASES",
    "POSITION_BITS",
    "Architecture",
    "Base",
    "Lattice",
    "PhasePlaneOf",
    "PhotoModel",
]

PHASES = ((1, 1), (0, 1), (1, 0))
"""(row, column) of a phase's pixel in its cell, in coding order; (0, 0) is the coarser lattice."""
BASE_MULTIPLE = 4
"""Sides of the base are multiples of this number."""
LATENT_RANGE = 16
"""Latents lie in bins between minus and plus this number."""
LATENT_BITS = 4
"""Bins of latents are 2 ** -LATENT_BITS wide; their centres have one fractional bit more."""
POSITION_BITS = 10
"""Fractional bits of the means of latents."""

# Grey levels per unit of what the networks of lattices and base see.
_CONTRAST = 16.0
_BASE_CONTRAST = 64.0
_MIDDLE = 127.5
_LATENT_MEAN_LIMIT = 8.0
_POSTERIOR_SCALE = ScaleMap("sigmoid", low=0.1, span=0.9, shift=2.0)
# A raw output of 0 is a scale of 1.
_LATENT_SCALE = ScaleMap("softplus", low=0.1, span=0.9, shift=math.log(math.e - 1))

_LIMITS = {
    "widths": (1, MOST_WIDTH),
    "blocks": (0, MOST_LAYERS),
    "hidden": (1, MOST_WIDTH),
    "mixtures": (1, MOST_WIDTH),
    "base_width": (1, MOST_WIDTH),
    "latents": (1, MOST_WIDTH),
}

PhasePlaneOf = Callable[[int, int, MixtureParameters], Tensor]
"""Codes or looks up a plane: (phase, colour, distributions) -> values (B, 1, H, W)."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the networks.

    Args:
        widths: channels of each lattice's networks, finest first; their number L sets the base
            at 1 / 2^L of the image's height and width.
        blocks: residual blocks per phase.
        hidden: channels of the hidden layer of each colour.
        mixtures: logistics in the mixture of a pixel.
        base_width: channels of the networks of the base.
        latents: channels of z_1 and z_2, which have 1/2 and 1/4 of the base's height and width.

    Raises:
        ValueError: sizes that no model has; the message says which.
    """

    widths: tuple[int, ...] = (48, 32, 32)
    blocks: int = 2
    hidden: int = 32
    mixtures: int = 3
    base_width: int = 48
    latents: int = 8

    def __post_init__(self) -> None:
        check_sizes(self, _LIMITS)
        if not 1 <= len(self.widths) <= MOST_LATTICES:
            raise ValueError(f"{len(self.widths)} lattices, not 1 to {MOST_LATTICES}")


class Lattice(nn.Module):
    """p(x_l | x_{l+1}): three phases, each in three colours.

    Args:
        width: channels of the features.
        architecture: other sizes.
    """

    def __init__(self, width: int, architecture: Architecture) -> None:
        super().__init__()
        self.activation = activation()
        self.pixels = Input(-255, 255)
        planes = (3, 6, 9)
        self.linear = nn.ModuleList(nn.Conv2d(inputs, 3, 5) for inputs in planes)
        self.entry = nn.ModuleList(ZeroSumConv2d(inputs, width, 5) for inputs in planes)
        self.chain = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in range(2))
        self.trunk = nn.ModuleList(
            nn.Sequential(*(Residual(width) for _ in range(architecture.blocks))) for _ in range(3)
        )
        self.colours = nn.ModuleList(
            Colours(width, architecture.hidden, architecture.mixtures) for _ in range(3)
        )
        for layer in self.chain:
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=0.5 / math.sqrt(width))

    def passes(self, coarse: Tensor, plane: PhasePlaneOf) -> Tensor:
        """Go through phases and colours.

        Args:
            coarse: planes of x_{l+1}, (B, 3, H, W).
            plane: codes or looks up the values of a phase and colour.

        Returns:
            Planes of x_l, (B, 3, 2 H, 2 W).
        """
        known, features = coarse, None
        for phase in range(3):
            features, linear = self._features(phase, known, features)
            colours = self.colours[phase]
            assert isinstance(colours, Colours)
            values = colours.passes(features, linear.chunk(3, 1), partial(plane, phase))
            known = torch.cat((known, values), 1)
        first, one_one, zero_one, one_zero = known.chunk(4, 1)
        cells = torch.stack((first, zero_one, one_zero, one_one), 2).flatten(1, 2)
        return functional.pixel_shuffle(cells, 2)

    def _features(
        self, phase: int, known: Tensor, previous: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Features, (B, width, H, W), and linear predictions, (B, 3, H, W), of a phase."""
        bordered = self.pixels(replicate(known, 2))
        hidden = self.entry[phase](bordered / _CONTRAST)
        if previous is not None:
            hidden = hidden + self.chain[phase - 1](previous)
        return self.activation(self.trunk[phase](hidden)), self.linear[phase](bordered)


class Base(nn.Module):
    """The base: z_2 -> z_1 -> x_L, with posteriors q(z_1 | x_L) and q(z_2 | z_1)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, latents = architecture.base_width, architecture.latents
        self.latent_channels = latents
        self.luma, self.chroma = Input(0, 255, offset=_MIDDLE), Input(-255, 255)
        self.latents = Input(-LATENT_RANGE, LATENT_RANGE, fraction_bits=LATENT_BITS + 1)
        self.posterior_head = LocationScaleHead(_POSTERIOR_SCALE, fraction_bits=POSITION_BITS)
        self.latent_head = LocationScaleHead(_LATENT_SCALE, fraction_bits=POSITION_BITS)

        def trunk() -> list[nn.Module]:
            return [Residual(width), Residual(width), activation()]

        def convolution(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1)

        def posterior(inputs: int) -> nn.Sequential:
            entry = nn.PixelUnshuffle(2), convolution(4 * inputs, width)
            return nn.Sequential(*entry, *trunk(), convolution(width, 2 * latents))

        self.posteriors = nn.ModuleList((posterior(3), posterior(latents)))
        self.prior = nn.Sequential(
            convolution(latents, 4 * width),
            nn.PixelShuffle(2),
            *trunk(),
            convolution(width, 2 * latents),
        )
        self.decoder = nn.Sequential(
            convolution(latents, width),
            *trunk(),
            convolution(width, 4 * width),
            nn.PixelShuffle(2),
            Residual(width),
            activation(),
        )
        self.linear = nn.Conv2d(width, 3, 1)
        self.colours = Colours(width, architecture.hidden, architecture.mixtures, crossed=False)
        for network in (*self.posteriors, self.prior):
            assert isinstance(network, nn.Sequential)
            head = network[-1]
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)

    def posterior(self, level: int, below: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of q(z_level | below).

        Args:
            level: 1 or 2.
            below: planes of the base, (B, 3, H, W), or z_1.

        Returns:
            means, scales: (B, latents, H/2, W/2); integers where the model is lowered.
        """
        if level == 1:
            centred = self.luma(below[:, :1]), self.chroma(below[:, 1:])
            inputs = torch.cat(centred, 1) / _BASE_CONTRAST
        else:
            inputs = self.latents(below)
        means, raw = self.posteriors[level - 1](inputs).chunk(2, 1)
        limited = means.clamp(-_LATENT_MEAN_LIMIT, _LATENT_MEAN_LIMIT)
        parameters: tuple[Tensor, Tensor] = self.posterior_head(limited, raw)
        return parameters

    def conditional(self, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of p(z_1 | z_2). The prior of z_2 is the standard logistic."""
        means, raw = self.prior(self.latents(z2)).chunk(2, 1)
        parameters: tuple[Tensor, Tensor] = self.latent_head(means, raw)
        return parameters

    def passes(self, z1: Tensor, plane: PlaneOf) -> Tensor:
        """Go through the colours of p(x_L | z_1); planes, (B, 3, H, W)."""
        features = self.decoder(self.latents(z1))
        luma, *chroma = (_BASE_CONTRAST * self.linear(features)).chunk(3, 1)
        return self.colours.passes(features, (luma + _MIDDLE, *chroma), plane)


class PhotoModel(nn.Module):
    """Lossless model of photographs; see the module's text.

    Args:
        architecture: its sizes.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.lattices = nn.ModuleList(Lattice(width, architecture) for width in architecture.widths)
        self.base = Base(architecture)

    @property
    def levels(self) -> int:
        """Number of lattices above the base."""
        return len(self.lattices)

    def lattice(self, level: int) -> Lattice:
        """The networks of p(x_level | x_{level+1})."""
        lattice = self.lattices[level]
        assert isinstance(lattice, Lattice)
        return lattice

    def lattice_bits(self, level: int, planes: Tensor) -> Tensor:
        """Bits of p(x_l | x_{l+1}), (B, 9): three phases of three colours.

        Args:
            level: l.
            planes: of x_l, (B, 3, H, W); even sides.
        """
        bits: list[Tensor] = []

        def look_up(phase: int, colour: int, mixture: MixtureParameters) -> Tensor:
            row, column = PHASES[phase]
            values = planes[:, colour : colour + 1, row::2, column::2]
            bits.append(-log2_probability(values, mixture, colour).sum((1, 2)))
            return values

        self.lattice(level).passes(planes[:, :, ::2, ::2], look_up)
        return torch.stack(bits, 1)

    def base_bits(self, planes: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Bits of the base at one draw of the latents, (B, 5): Y, Co, Cg, z_1, z_2.

        Those of the latents are net of what their posterior returns.

        Args:
            planes: of x_L, (B, 3, H, W); sides multiples of ``BASE_MULTIPLE``.
            generator: of the noise; None for torch's own.
        """
        bits: list[Tensor] = []

        def look_up(colour: int, mixture: MixtureParameters) -> Tensor:
            values = planes[:, colour : colour + 1]
            bits.append(-log2_probability(values, mixture, colour).sum((1, 2)))
            return values

        lower = self.base.posterior(1, planes)
        z1 = logistic_draw(lower, generator)
        upper = self.base.posterior(2, z1)
        z2 = logistic_draw(upper, generator)
        self.base.passes(z1, look_up)
        standard = torch.zeros_like(z2), torch.ones_like(z2)
        for z, prior, posterior in ((z1, self.base.conditional(z2), lower), (z2, standard, upper)):
            nats = logistic_log_density(z, *posterior) - logistic_log_density(z, *prior)
            bits.append(nats.sum((1, 2, 3)) / math.log(2))
        return torch.stack(bits, 1)

    def forward(self, planes: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Bits of each image at one draw of the latents, (B,): the negative ELBO.

        Args:
            planes: Y, Co, Cg, (B, 3, H, W), integers of any dtype; sides multiples of
                ``BASE_MULTIPLE * 2 ** levels``.
            generator: of the noise; None for torch's own.
        """
        lattice = planes.float()
        total = lattice.new_zeros(len(lattice))
        for level in range(self.levels):
            total = total + self.lattice_bits(level, lattice).sum(1)
            lattice = lattice[:, :, ::2, ::2]
        return total + self.base_bits(lattice, generator).sum(1)

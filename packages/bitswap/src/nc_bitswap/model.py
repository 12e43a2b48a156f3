"""The hierarchical VAE of Bit-Swap: a Markov chain of latents above the pixels.

From bottom to top x -> z_1 -> ... -> z_nz:

    inference    q(z_1 | x), q(z_{l+1} | z_l)
    generation   p(z_nz), the standard logistic; p(z_l | z_{l+1}); p(x | z_1)

All are factorised logistic distributions, that of the pixels cut into 256 bins. Level 0 is x,
grey levels 0 ... 255, whose means and scales are in units where they span [-1, 1].

Inputs and heads are declared, so that ``nc_core.exact.lower`` makes of a trained model one of the
same class whose methods ``posterior`` and ``likelihood`` return the integers that files are
coded with.

Reference: Friso Kingma, Pieter Abbeel, Jonathan Ho, "Bit-Swap: Recursive Bits-Back Coding for
Lossless Compression with Hierarchical Latent Variables", arXiv 1905.06845, sections 3 and 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nc_bitswap.discretization import POSITION_BITS, POSITION_LIMIT
from nc_bitswap.distributions import (
    discretized_logistic_log_mass,
    logistic_draw,
    logistic_log_density,
    logistic_noise,
)
from nc_bitswap.layers import ResNetBlock, Squeeze, Unsqueeze, WeightNormConv
from nc_core.exact import Input, LocationScaleHead, ScaleMap
from nc_core.sizes import (
    MOST_CHANNELS,
    MOST_LAYERS,
    MOST_LEVELS,
    MOST_PIXELS,
    MOST_WIDTH,
    check_flag,
    check_sizes,
)
from nc_core.training.shards import current_shard, sum_over_processes

__all__ = ["Architecture", "HierarchicalVAE", "LossTerms", "layers_per_level"]

_FIRST_KERNEL = 5
_OUTPUT_SCALE = 0.1
_NATS_TO_BITS = math.log2(math.e)
_POSTERIOR_SCALE = ScaleMap("sigmoid", low=0.1, span=0.9, shift=2.0)
# A raw output of 0 is a scale of 1.
_LATENT_SCALE = ScaleMap("softplus", low=0.1, span=0.9, shift=math.log(math.e - 1))
# An eighth of a grey level at least.
_PIXEL_SCALE = ScaleMap("softplus", low=(2 / 255) / 8)
_LIMITS = {
    "channels": (1, MOST_CHANNELS),
    "height": (2, MOST_PIXELS),
    "width": (2, MOST_PIXELS),
    "levels": (1, MOST_LEVELS),
    "latent_channels": (1, MOST_WIDTH),
    "hidden": (1, MOST_WIDTH),
    "processing": (0, MOST_LAYERS),
    "blocks": (0, MOST_LAYERS),
    "kernel_size": (1, 7),
}


@dataclass(frozen=True)
class Architecture:
    """The shape of a model.

    Args:
        channels: of the images.
        height, width: of the images; even.
        levels: number of latent levels, nz.
        latent_channels: of every latent, which has half the height and width of the images.
        hidden: channels of the hidden layers (``width`` of the original).
        processing: ResNet layers of kernel size 5 next to the image.
        blocks: ResNet layers in all; dealt out to the levels one by one, the lowest first.
        kernel_size: of these, and of all other convolutions but the first.
        conditional_scale: whether the pixels' scales depend on z_1, or are learned constants.

    Raises:
        ValueError: sizes that no model has; the message says which.
    """

    channels: int = 1
    height: int = 32
    width: int = 32
    levels: int = 2
    latent_channels: int = 1
    hidden: int = 64
    processing: int = 4
    blocks: int = 8
    kernel_size: int = 3
    conditional_scale: bool = False

    def __post_init__(self) -> None:
        check_sizes(self, _LIMITS)
        check_flag("conditional_scale", self.conditional_scale)
        if self.height % 2 or self.width % 2:
            raise ValueError(f"images of {self.height} x {self.width} pixels have an odd side")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}, not odd")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every latent."""
        return self.latent_channels, self.height // 2, self.width // 2

    @property
    def dims(self) -> int:
        """Samples of one image."""
        return math.prod(self.image_shape)

    def shape(self, level: int) -> tuple[int, int, int]:
        """(channels, height, width) of a level's variable; level 0 is the image."""
        return self.latent_shape if level else self.image_shape


@dataclass(frozen=True)
class LossTerms:
    """Log-probabilities of one pass, in bits.

    Args:
        reconstruction: log2 p(x | z_1), (B,).
        decoder: log2 p(z_l | z_{l+1}), or of the prior at the top, (B, levels, channels).
        encoder: log2 q(z_l | z_{l-1}), (B, levels, channels).
        latents: the samples z_1 ... z_nz, each (B, channels, H, W).
    """

    reconstruction: Tensor
    decoder: Tensor
    encoder: Tensor
    latents: tuple[Tensor, ...]

    def information(self) -> Tensor:
        """Code length of each image at these latents, in bits, (B,): the negative ELBO."""
        return (self.encoder - self.decoder).sum(dim=(1, 2)) - self.reconstruction

    def objective(self, free_bits: float) -> Tensor:
        """What training minimises: bits per image, each level and channel free up to a limit.

        The limit is of means over the batches of all processes.
        """
        divergence = (self.encoder - self.decoder).mean(dim=0)
        mean = sum_over_processes(divergence) / current_shard().world
        paid = torch.where(mean < free_bits, free_bits, divergence)
        return paid.sum() - self.reconstruction.mean()


def layers_per_level(blocks: int, levels: int) -> list[int]:
    """ResNet layers of each level: dealt out one by one, the lowest level first."""
    return [blocks // levels + (level < blocks % levels) for level in range(levels)]


class HierarchicalVAE(nn.Module):
    """The model; keys of its ``state_dict`` are those of the original checkpoints.

    Args:
        architecture: its shape.
        dropout: probability, inside ResNet layers, while training.
    """

    def __init__(self, architecture: Architecture, dropout: float = 0.0) -> None:
        super().__init__()
        self.architecture = shape = architecture
        layers = layers_per_level(shape.blocks, shape.levels)
        hidden, kernel, latent = shape.hidden, shape.kernel_size, shape.latent_channels
        spread = 1 / math.sqrt(shape.levels)
        squeezed = 4 * shape.channels

        def convolution(inputs: int, outputs: int, scale: float = 1.0) -> WeightNormConv:
            return WeightNormConv(inputs, outputs, kernel, init_scale=scale)

        def residual(count: int, size: int = kernel) -> nn.Sequential:
            # Without layers there is no activation either: nothing but a way through.
            if not count:
                return nn.Sequential()
            return nn.Sequential(ResNetBlock(count, hidden, size, dropout), nn.ELU())

        def entrance() -> nn.Sequential:
            return nn.Sequential(convolution(latent, hidden), nn.ELU())

        def head(scale: float) -> nn.Sequential:
            return nn.Sequential(convolution(hidden, latent, scale))

        def inferred_spread(level: int) -> float:
            return spread * (math.sqrt(2) if level == shape.levels else 1.0)

        self.pixels = Input(0, 255, offset=127.5, scale=127.5)
        self.latents = Input(-POSITION_LIMIT, POSITION_LIMIT, fraction_bits=POSITION_BITS)
        self.pixel_head = LocationScaleHead(_PIXEL_SCALE, gain=127.5, offset=127.5)
        self.latent_head = LocationScaleHead(_LATENT_SCALE, fraction_bits=POSITION_BITS)
        self.posterior_head = LocationScaleHead(_POSTERIOR_SCALE, fraction_bits=POSITION_BITS)
        upper = range(2, shape.levels + 1)
        first = WeightNormConv(squeezed, hidden, _FIRST_KERNEL)
        self.infer_in = nn.Sequential(Squeeze(), first, nn.ELU())
        self.infer_res0 = residual(shape.processing, _FIRST_KERNEL)
        self.infer_res1 = residual(layers[0])
        self.infer_mu = convolution(hidden, latent, inferred_spread(1))
        self.infer_std = convolution(hidden, latent, inferred_spread(1))
        self.deepinfer_in = nn.ModuleList(entrance() for _ in upper)
        self.deepinfer_res = nn.ModuleList(residual(layers[level - 1]) for level in upper)
        self.deepinfer_mu = nn.ModuleList(head(inferred_spread(level)) for level in upper)
        self.deepinfer_std = nn.ModuleList(head(inferred_spread(level)) for level in upper)
        self.deepgen_in = nn.ModuleList(entrance() for _ in upper)
        self.deepgen_res = nn.ModuleList(residual(layers[level - 1]) for level in upper)
        self.deepgen_mu = nn.ModuleList(head(spread) for _ in upper)
        self.deepgen_std = nn.ModuleList(head(spread) for _ in upper)
        self.gen_in = entrance()
        self.gen_res1 = residual(layers[0])
        self.gen_res0 = residual(shape.processing, _FIRST_KERNEL)
        self.gen_mu = nn.Sequential(convolution(hidden, squeezed, _OUTPUT_SCALE), Unsqueeze())
        self.gen_std: nn.Sequential | nn.Parameter
        if shape.conditional_scale:
            self.gen_std = nn.Sequential(convolution(hidden, squeezed, _OUTPUT_SCALE), Unsqueeze())
        else:
            self.gen_std = nn.Parameter(torch.zeros(shape.image_shape))

    def posterior(self, level: int, below: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of q(z_level | z_{level-1} = below).

        Args:
            level: 1 ... levels.
            below: (B, C, H, W), of the level below: grey levels, or latents.

        Returns:
            means, scales: (B, latent_channels, H/2, W/2); integers where the model is lowered.
        """
        if level == 1:
            hidden = self.infer_in(self.pixels(below))
            hidden = self.infer_res1(self.infer_res0(hidden))
            means, raw = self.infer_mu(hidden), self.infer_std(hidden)
        else:
            index = level - 2
            hidden = self.deepinfer_res[index](self.deepinfer_in[index](self.latents(below)))
            means, raw = self.deepinfer_mu[index](hidden), self.deepinfer_std[index](hidden)
        parameters: tuple[Tensor, Tensor] = self.posterior_head(means, raw)
        return parameters

    def likelihood(self, level: int, above: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of p(z_level | z_{level+1} = above).

        Args:
            level: 0 ... levels - 1; 0 are the pixels.
            above: latents, (B, latent_channels, H/2, W/2).

        Returns:
            means: (B, C, H, W), of the level's variable; integers where the model is lowered.
            scales: the same, without the axis B where they do not depend on ``above``.
        """
        parameters: tuple[Tensor, Tensor]
        if level == 0:
            hidden = self.gen_res0(self.gen_res1(self.gen_in(self.latents(above))))
            # A module, or the scales themselves, which lowering makes a buffer of.
            raw: Any = self.gen_std
            if self.architecture.conditional_scale:
                raw = raw(hidden)
            parameters = self.pixel_head(self.gen_mu(hidden), raw)
        else:
            index = level - 1
            hidden = self.deepgen_res[index](self.deepgen_in[index](self.latents(above)))
            parameters = self.latent_head(
                self.deepgen_mu[index](hidden), self.deepgen_std[index](hidden)
            )
        return parameters

    def forward(self, images: Tensor, noise: Sequence[Tensor] | None = None) -> LossTerms:
        """Log-probabilities of images at latents drawn from the posterior.

        Args:
            images: grey levels 0 ... 255, (B, C, H, W), any dtype.
            noise: standard logistic, one tensor of the latents' shape per level; drawn if None.
        """
        pixels = images.float()
        if noise is None:
            noise = self.noise(len(pixels), pixels.device)
        below = pixels
        reconstruction = pixels.new_zeros(())
        decoder, encoder, latents = [], [], []
        for level in range(1, self.architecture.levels + 1):
            means, scales = self.posterior(level, below)
            latent = means + scales * noise[level - 1]
            encoder.append(_bits_per_channel(logistic_log_density(latent, means, scales)))
            means, scales = self.likelihood(level - 1, latent)
            if level == 1:
                log_mass = discretized_logistic_log_mass(pixels, means, scales)
                reconstruction = _bits_per_channel(log_mass).sum(dim=1)
            else:
                decoder.append(_bits_per_channel(logistic_log_density(below, means, scales)))
            latents.append(latent)
            below = latent
        standard = below.new_zeros(()), below.new_ones(())
        decoder.append(_bits_per_channel(logistic_log_density(below, *standard)))
        return LossTerms(
            reconstruction, torch.stack(decoder, 1), torch.stack(encoder, 1), tuple(latents)
        )

    def noise(
        self,
        count: int,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> list[Tensor]:
        """Standard logistic noise for ``count`` images, one tensor per level."""
        shape = (count, *self.architecture.latent_shape)
        return [
            logistic_noise(shape, generator, device=device) for _ in range(self.architecture.levels)
        ]

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Images drawn from the model; uint8, (count, C, H, W)."""
        device = next(self.parameters()).device
        shape = (count, *self.architecture.latent_shape)
        latent = logistic_noise(shape, generator, device=device)
        for level in range(self.architecture.levels - 1, -1, -1):
            latent = logistic_draw(self.likelihood(level, latent), generator)
        return _to_grey_levels(latent)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images drawn from p(x | z_1) for z_1 drawn from q(z_1 | images).

        Args:
            images: 0 ... 255, (B, C, H, W).
            generator: of the noise; None for torch's own.

        Returns:
            uint8, the same shape.
        """
        latent = logistic_draw(self.posterior(1, images.float()), generator)
        return _to_grey_levels(logistic_draw(self.likelihood(0, latent), generator))


def _bits_per_channel(log_probabilities: Tensor) -> Tensor:
    """Nats of every sample, (B, C, H, W), as bits of every channel, (B, C)."""
    return log_probabilities.sum(dim=(2, 3)) * _NATS_TO_BITS


def _to_grey_levels(values: Tensor) -> Tensor:
    return (values * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)

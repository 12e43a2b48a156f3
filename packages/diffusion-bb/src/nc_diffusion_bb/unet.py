"""The denoising network: a UNet that sees the noised image and the time.

Names of modules and parameters are those of the published checkpoints.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, appendix A; Jonathan Ho, Ajay Jain, Pieter Abbeel, "Denoising Diffusion
Probabilistic Models", arXiv 2006.11239.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_core.exact import SinusoidalEmbedding
from nc_core.sizes import check_flag, check_sizes
from nc_diffusion_bb.unet_blocks import (
    GROUPS,
    AttentionBlock,
    Convolution,
    Downsample,
    Entry,
    ResBlock,
    Upsample,
    normalization,
    zeroed,
)

__all__ = ["Architecture", "UNet"]

_EMBEDDING_FACTOR = 4
_MOST_LEVELS = 8
_MOST_POSITIONS = 64 * 64
_LIMITS = {
    "image_size": (1, 1024),
    "in_channels": (1, 4),
    "width": (GROUPS, 1024),
    "out_channels": (1, 8),
    "blocks": (1, 16),
    "attention_factors": (1, 1024),
    "multipliers": (1, 64),
    "heads": (1, 64),
    "heads_upsample": (-1, 64),
}


@dataclass(frozen=True)
class Architecture:
    """The shape of a network.

    Args:
        image_size: height and width of the images.
        in_channels: of the images.
        width: channels of the first level before multiplication, a multiple of 32.
        out_channels: as many as ``in_channels``, or twice as many with learned variances.
        blocks: residual blocks of each level on the way down; one more on the way up.
        attention_factors: downsampling factors 1, 2, 4 ... of the levels that have attention, as
            the middle always has it, at the last level; over at most 4,096 positions.
        multipliers: of ``width``, one for each level.
        heads: of the attention.
        heads_upsample: of the attention on the way up; -1 as ``heads``.
        scale_shift: whether the time scales and shifts normalised features, or is added.
        dropout: probability inside residual blocks, in training.
        classes: of class-conditional models, else None.
        resample_convolution: whether convolutions change the resolution, or averages and copies.

    Raises:
        ValueError: sizes that no network has; the message says which.
    """

    image_size: int
    in_channels: int = 3
    width: int = 128
    out_channels: int = 6
    blocks: int = 3
    attention_factors: tuple[int, ...] = (2, 4)
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    heads: int = 4
    heads_upsample: int = -1
    scale_shift: bool = True
    dropout: float = 0.0
    classes: int | None = None
    resample_convolution: bool = True

    def __post_init__(self) -> None:
        check_sizes(self, _LIMITS)
        check_flag("scale_shift", self.scale_shift)
        check_flag("resample_convolution", self.resample_convolution)
        if not 1 <= len(self.multipliers) <= _MOST_LEVELS:
            raise ValueError(f"{len(self.multipliers)} multipliers, not 1 to {_MOST_LEVELS}")
        if self.width % GROUPS:
            raise ValueError(f"width is {self.width}, not a multiple of {GROUPS}")
        if self.image_size % self.factors[-1]:
            raise ValueError(
                f"image_size is {self.image_size}, not a multiple of {self.factors[-1]} "
                f"as {len(self.multipliers)} levels need"
            )
        if self.out_channels not in {self.in_channels, 2 * self.in_channels}:
            raise ValueError(
                f"out_channels is {self.out_channels}, not {self.in_channels} or, "
                f"with learned variances, {2 * self.in_channels}"
            )
        if self.classes is not None:
            check_sizes(self, {"classes": (1, 100_000)})
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, not from 0 to below 1")
        self._check_attention()

    def _check_attention(self) -> None:
        for factor in self.attention_factors:
            if factor not in self.factors:
                raise ValueError(
                    f"attention at factor {factor}, but the levels have the factors "
                    f"{', '.join(map(str, self.factors))}"
                )
        for factor in (*self.attention_factors, self.factors[-1]):
            positions = (self.image_size // factor) ** 2
            if positions > _MOST_POSITIONS:
                raise ValueError(
                    f"attention at factor {factor} is over {positions:,} positions, more than "
                    f"{_MOST_POSITIONS:,}"
                )
        attended = {self.channels[self.factors.index(factor)] for factor in self.attention_factors}
        for name, heads, channels in [
            ("heads", self.heads, attended | {self.channels[-1]}),
            ("heads_upsample", self.heads_up, attended),
        ]:
            if heads < 1 or any(count % heads for count in channels):
                raise ValueError(f"{name} is {heads}, no divisor of {sorted(channels)} channels")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.in_channels, self.image_size, self.image_size

    @property
    def factors(self) -> tuple[int, ...]:
        """By how much each level is smaller than the image."""
        return tuple(1 << level for level in range(len(self.multipliers)))

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level."""
        return tuple(self.width * multiplier for multiplier in self.multipliers)

    @property
    def heads_up(self) -> int:
        """Heads of the attention on the way up."""
        return self.heads if self.heads_upsample == -1 else self.heads_upsample


class UNet(nn.Module):
    """Predicts the noise in an image, and with learned variances an interpolation between two.

    Args:
        architecture: its shape.
        gradient_checkpointing: whether backward computes blocks again, to save memory.
    """

    def __init__(self, architecture: Architecture, *, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.architecture = architecture
        width = architecture.width
        parts = _Parts(architecture, gradient_checkpointing)
        self.timestep_embedding = SinusoidalEmbedding(width)
        self.time_embed = nn.Sequential(
            nn.Linear(width, parts.embedding),
            nn.SiLU(),
            nn.Linear(parts.embedding, parts.embedding),
        )
        if architecture.classes is not None:
            self.label_emb = nn.Embedding(architecture.classes, parts.embedding)
        self.input_blocks = nn.ModuleList(parts.downwards())
        self.middle_block = parts.middle()
        self.output_blocks = nn.ModuleList(parts.upwards())
        self.out = nn.Sequential(
            normalization(parts.channels, silu=True),
            nn.Identity(),
            zeroed(Convolution(parts.channels, architecture.out_channels, 3, padding=1)),
        )
        self.torso_dtype = torch.float32

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """What the network says about noised images.

        Args:
            x: float32, (B, in_channels, H, W), about -1 ... 1 before noising.
            t: original time steps, rescaled where the diffusion says so; float, (B,), or (1,) if
                all images have the same.
            y: classes, int64, (B,); for class-conditional models only.

        Returns:
            (B, out_channels, H, W), of the type of ``x``.

        Raises:
            ValueError: classes are missing, or given to a model that has none.
        """
        embedding = self.embed(t, y)
        hidden = x.to(self.torso_dtype)
        skips: list[Tensor] = []
        for entry in self.input_blocks:
            hidden = entry(hidden, embedding)
            skips.append(hidden)
        hidden = self.middle_block(hidden, embedding)
        for entry in self.output_blocks:
            hidden = entry(torch.cat([hidden, skips.pop()], dim=1), embedding)
        outputs: Tensor = self.out(hidden.to(x.dtype))
        return outputs

    def embed(self, t: Tensor, y: Tensor | None = None) -> Tensor:
        """SiLU of the embedding of time and class, which blocks take, (B or 1, 4 * width)."""
        if (y is None) != (self.architecture.classes is None):
            problem = "needs classes" if y is None else "takes no classes"
            raise ValueError(f"this network {problem}")
        embedding: Tensor = self.time_embed(self.timestep_embedding(t))
        return functional.silu(embedding if y is None else embedding + self.label_emb(y))

    def convert_torso(self, dtype: torch.dtype) -> None:
        """Compute convolutions between input and output in another type, such as float16.

        Normalisations, linear layers and the last convolution stay in float32.
        """
        for module in chain(
            self.input_blocks.modules(), self.middle_block.modules(), self.output_blocks.modules()
        ):
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                module.to(dtype)
        self.torso_dtype = dtype


class _Parts:
    """Builds the lists of a network in order, keeping track of channels as it goes."""

    def __init__(self, architecture: Architecture, checkpointing: bool) -> None:
        self.architecture = architecture
        self.checkpointing = checkpointing
        self.embedding = _EMBEDDING_FACTOR * architecture.width
        self.channels = architecture.width
        self._skips: list[int] = []

    def downwards(self) -> Iterator[Entry]:
        """From the image to the smallest level."""
        shape = self.architecture
        yield self._kept(Entry(Convolution(shape.in_channels, self.channels, 3, padding=1)))
        for level, outputs in enumerate(shape.channels):
            for _ in range(shape.blocks):
                layers = [self._residual(self.channels, outputs)]
                yield self._kept(Entry(*layers, *self._attention(level, shape.heads)))
            if level < len(shape.channels) - 1:
                yield self._kept(
                    Entry(Downsample(self.channels, convolution=shape.resample_convolution))
                )

    def middle(self) -> Entry:
        """At the smallest level."""
        channels = self.channels
        attention = AttentionBlock(
            channels, self.architecture.heads, checkpointing=self.checkpointing
        )
        return Entry(
            self._residual(channels, channels), attention, self._residual(channels, channels)
        )

    def upwards(self) -> Iterator[Entry]:
        """Back to the image; every entry's input has the channels of one on the way down beside."""
        shape = self.architecture
        for level, outputs in reversed(list(enumerate(shape.channels))):
            for number in range(shape.blocks + 1):
                layers = [self._residual(self.channels + self._skips.pop(), outputs)]
                layers += self._attention(level, shape.heads_up)
                if level and number == shape.blocks:
                    layers.append(Upsample(outputs, convolution=shape.resample_convolution))
                yield Entry(*layers)

    def _kept(self, entry: Entry) -> Entry:
        self._skips.append(self.channels)
        return entry

    def _residual(self, inputs: int, outputs: int) -> nn.Module:
        self.channels = outputs
        return ResBlock(
            inputs,
            outputs,
            self.embedding,
            scale_shift=self.architecture.scale_shift,
            dropout=self.architecture.dropout,
            checkpointing=self.checkpointing,
        )

    def _attention(self, level: int, heads: int) -> list[nn.Module]:
        if self.architecture.factors[level] not in self.architecture.attention_factors:
            return []
        return [AttentionBlock(self.channels, heads, checkpointing=self.checkpointing)]

"""Parts of the denoising network: residual and attention blocks, resampling, time embedding.

Names of modules and parameters are those of the published checkpoints, which therefore load as
they are; SiLU, which has none, is part of the normalisation before it, and leaves its place empty.
All arithmetic has an exact counterpart in :mod:`nc_core.exact`.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, appendix A.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nc_core.exact import Attention, GroupNorm

__all__ = [
    "GROUPS",
    "AttentionBlock",
    "Convolution",
    "Downsample",
    "Entry",
    "ResBlock",
    "Upsample",
    "normalization",
    "zeroed",
]

GROUPS = 32
"""Of every normalisation; numbers of channels are multiples of it."""

_Layer = TypeVar("_Layer", bound=nn.Module)


class Convolution(nn.Conv2d):
    """PyTorch's, padded with zeros, by fewer calls: on small maps they are half of its time."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ...)."""
        own: dict[str, Any] = self._parameters
        padding: Any = self.padding
        return functional.conv2d(input, own["weight"], own["bias"], self.stride, padding)


class Pointwise(nn.Conv1d):
    """The same in one dimension, for a kernel of 1."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, positions) to (B, outputs, positions)."""
        own: dict[str, Any] = self._parameters
        return functional.conv1d(input, own["weight"], own["bias"])


def normalization(channels: int, *, silu: bool = False) -> GroupNorm:
    """Of 32 groups, in float32 whatever the type of its input; perhaps with SiLU in one pass."""
    return GroupNorm(GROUPS, channels, silu=silu)


class AttentionBlock(nn.Module):
    """x + projection(attention(normalised x)), over all positions of a feature map.

    Args:
        channels: a multiple of ``heads`` and of 32.
        heads: of the attention.
        checkpointing: whether backward computes the block again instead of keeping its insides.
    """

    def __init__(self, channels: int, heads: int, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.norm = normalization(channels)
        self.qkv = Pointwise(channels, 3 * channels, 1)
        self.attention = Attention(heads)
        self.proj_out = zeroed(Pointwise(channels, channels, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        if self.checkpointing and torch.is_grad_enabled():
            return _recomputed(self._attend, inputs)
        return self._attend(inputs)

    def _attend(self, inputs: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(inputs).flatten(2))
        residue: Tensor = self.proj_out(self.attention(qkv))
        return inputs + residue.reshape(inputs.shape)


class ResBlock(nn.Module):
    """Two convolutions around an injection of the time embedding, beside a skip connection.

    Args:
        inputs, outputs: channels, multiples of 32.
        embedding: width of the time embedding.
        scale_shift: whether the embedding scales and shifts the second normalisation's result,
            or is added before it.
        dropout: probability before the second convolution.
        checkpointing: whether backward computes the block again instead of keeping its insides.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        *,
        scale_shift: bool,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.checkpointing = checkpointing
        self.in_layers = nn.Sequential(
            normalization(inputs, silu=True),
            nn.Identity(),
            Convolution(inputs, outputs, 3, padding=1),
        )
        injected = 2 * outputs if scale_shift else outputs
        # SiLU is done once for all blocks.
        self.emb_layers = nn.Sequential(nn.Identity(), nn.Linear(embedding, injected))
        self.out_layers = nn.Sequential(
            normalization(outputs, silu=True),
            nn.Identity(),
            nn.Dropout(dropout),
            zeroed(Convolution(outputs, outputs, 3, padding=1)),
        )
        self.skip_connection = (
            nn.Identity() if inputs == outputs else Convolution(inputs, outputs, 1)
        )

    def forward(self, inputs: Tensor, embedding: Tensor) -> Tensor:
        """(B, inputs, H, W) and the embedding, (B or 1, width), to (B, outputs, H, W)."""
        if self.checkpointing and torch.is_grad_enabled():
            return _recomputed(self._convolve, inputs, embedding)
        return self._convolve(inputs, embedding)

    def _convolve(self, inputs: Tensor, embedding: Tensor) -> Tensor:
        # Empty places are passed over: calls of modules count where maps are small.
        norm, _, convolution = self.in_layers
        hidden = convolution(norm(inputs))
        _, project = self.emb_layers
        injected = project(embedding)
        if hidden.dtype != injected.dtype:
            injected = injected.to(hidden.dtype)
        norm, _, dropout, convolution = self.out_layers
        if self.scale_shift:
            hidden = norm(hidden, *injected.chunk(2, dim=1))
        else:
            hidden = norm(hidden + injected[:, :, None, None])
        if self.training:
            hidden = dropout(hidden)
        outputs: Tensor = self.skip_connection(inputs) + convolution(hidden)
        return outputs


class Downsample(nn.Module):
    """Half the height and width, by a convolution or by averages.

    Args:
        channels: stay as they are.
        convolution: which of the two.
    """

    def __init__(self, channels: int, *, convolution: bool = True) -> None:
        super().__init__()
        self.op = (
            Convolution(channels, channels, 3, stride=2, padding=1)
            if convolution
            else nn.AvgPool2d(2)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, channels, H/2, W/2)."""
        outputs: Tensor = self.op(inputs)
        return outputs


class Upsample(nn.Module):
    """Twice the height and width: every position four times, then perhaps a convolution.

    Args:
        channels: stay as they are.
        convolution: whether there is one.
    """

    def __init__(self, channels: int, *, convolution: bool = True) -> None:
        super().__init__()
        self.conv = Convolution(channels, channels, 3, padding=1) if convolution else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, channels, 2H, 2W)."""
        outputs: Tensor = self.conv(functional.interpolate(inputs, scale_factor=2, mode="nearest"))
        return outputs


class Entry(nn.ModuleList):
    """One entry of the network's lists: modules in a row, of which residual blocks see the time."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(modules)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Apply all modules; the embedding is (B or 1, width)."""
        for module in self:
            hidden = module(hidden, embedding) if isinstance(module, ResBlock) else module(hidden)
        return hidden


def zeroed(layer: _Layer) -> _Layer:
    """The layer, with all its parameters set to 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _recomputed(function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    outputs: Tensor = checkpoint(function, *arguments, use_reentrant=False)
    return outputs

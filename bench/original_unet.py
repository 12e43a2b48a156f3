"""The denoising network computed operation by operation, as the paper's own program does.

It is what our network is measured against: the same weights under the same names, and the same
numbers but for the order of sums. Written from the paper and the shapes of its checkpoints.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, appendix A.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_diffusion_bb.unet import Architecture, UNet

GROUPS = 32
LONGEST_PERIOD = 10_000


class Norm(nn.GroupNorm):
    """In float32, and back to the type of the input."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).type(x.dtype)


class Residual(nn.Module):
    """Convolutions around the scale and shift, or the summand, that the time gives."""

    def __init__(self, inputs: int, outputs: int, shape: Architecture) -> None:
        super().__init__()
        self.scale_shift = shape.scale_shift
        injected = 2 * outputs if shape.scale_shift else outputs
        self.in_layers = nn.Sequential(
            Norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * shape.width, injected))
        self.out_layers = nn.Sequential(
            Norm(outputs),
            nn.SiLU(),
            nn.Dropout(shape.dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        same = inputs == outputs
        self.skip_connection = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.in_layers(x)
        injected = self.emb_layers(embedding).type(h.dtype)[..., None, None]
        if self.scale_shift:
            scale, shift = torch.chunk(injected, 2, dim=1)
            norm, silu, dropout, convolution = self.out_layers
            h = convolution(dropout(silu(norm(h) * (1 + scale) + shift)))
        else:
            h = self.out_layers(h + injected)
        result: Tensor = self.skip_connection(x) + h
        return result


class SelfAttention(nn.Module):
    """Attention of all positions, written as sums of products."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, *sides = x.shape
        x = x.reshape(batch, channels, -1)
        qkv = self.qkv(self.norm(x)).reshape(batch * self.heads, -1, x.shape[2])
        size = qkv.shape[1] // 3
        query, key, value = torch.split(qkv, size, dim=1)
        factor = size**-0.25
        logits = torch.einsum("bct,bcs->bts", query * factor, key * factor)
        weights = torch.softmax(logits.float(), dim=-1).type(logits.dtype)
        h = torch.einsum("bts,bcs->bct", weights, value).reshape(batch, -1, x.shape[2])
        result: Tensor = x + self.proj_out(h)
        return result.reshape(batch, channels, *sides)


class Down(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.op(x)
        return result


class Up(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))
        return result


class Entry(nn.Sequential):
    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, Residual) else layer(x)
        return x


class OriginalUNet(nn.Module):
    """With convolutions that change the resolution, and without classes."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.width = channels = shape.width
        self.time_embed = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, 4 * channels)
        )
        down = [Entry(nn.Conv2d(shape.in_channels, channels, 3, padding=1))]
        skips = [channels]
        levels = list(zip(shape.factors, shape.channels, strict=True))
        for factor, outputs in levels:
            for _ in range(shape.blocks):
                entry = Entry(Residual(channels, outputs, shape))
                channels = outputs
                if factor in shape.attention_factors:
                    entry.append(SelfAttention(channels, shape.heads))
                down.append(entry)
                skips.append(channels)
            if factor != shape.factors[-1]:
                down.append(Entry(Down(channels)))
                skips.append(channels)
        middle = Residual(channels, channels, shape), Residual(channels, channels, shape)
        self.middle_block = Entry(middle[0], SelfAttention(channels, shape.heads), middle[1])
        up = []
        for factor, outputs in reversed(levels):
            for number in range(shape.blocks + 1):
                entry = Entry(Residual(channels + skips.pop(), outputs, shape))
                channels = outputs
                if factor in shape.attention_factors:
                    entry.append(SelfAttention(channels, shape.heads_up))
                if factor > 1 and number == shape.blocks:
                    entry.append(Up(channels))
                up.append(entry)
        self.input_blocks, self.output_blocks = nn.ModuleList(down), nn.ModuleList(up)
        self.out = nn.Sequential(
            Norm(channels), nn.SiLU(), nn.Conv2d(channels, shape.out_channels, 3, padding=1)
        )

    @classmethod
    def of(cls, network: UNet) -> OriginalUNet:
        """The counterpart of our network, with its weights."""
        original = cls(network.architecture)
        original.load_state_dict(network.state_dict())
        return original.eval().requires_grad_(False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(B, in_channels, H, W) and steps (B,) to (B, out_channels, H, W)."""
        embedding = self.time_embed(time_embedding(t, self.width))
        h, skips = x, []
        for entry in self.input_blocks:
            h = entry(h, embedding)
            skips.append(h)
        h = self.middle_block(h, embedding)
        for entry in self.output_blocks:
            h = entry(torch.cat([h, skips.pop()], dim=1), embedding)
        result: Tensor = self.out(h)
        return result


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of t at width / 2 frequencies from 1 down to 1 / 10000."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32)
    frequencies = torch.exp(-math.log(LONGEST_PERIOD) * steps / half)
    angles = t[:, None].float() * frequencies
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)

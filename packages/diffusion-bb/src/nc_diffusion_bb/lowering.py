"""From a trained network to one whose results are the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nc_core.errors import UsageError
from nc_core.exact import ExactGroupNorm, ExactLayer, Precision, lower
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.unet import UNet
from nc_diffusion_bb.unet_blocks import AttentionBlock, ResBlock

__all__ = ["fuse", "lower_unet"]

# Images that calibration sees, the same one at several steps if there are fewer.
_EXAMPLES = 64
_BATCH = 16

# The first layers see noise that is small beside the image, where most bits are; the last one sets
# the mean.
_PRECISION = Precision(margin=1.2)
_LAYERS = {
    "input_blocks.0.0": Precision(input_bits=18, depth=2),
    "input_blocks.1.0.in_layers.2": Precision(depth=2, margin=1.2),
    "out.2": Precision(depth=2, margin=1.2),
}


def lower_unet(unet: UNet, diffusion: DiffusionConfig, images: NDArray[np.uint8]) -> UNet:
    """The network in exact arithmetic.

    Args:
        unet: trained; not changed.
        diffusion: the chain that it was trained for.
        images: for calibration, (n, C, H, W); 64 are used, or fewer at several steps each. They
            are noised by steps that are spread over the whole chain.

    Returns:
        A network that takes x, float (B, C, H, W), and t, (B,) or (1,), and returns a
        :class:`nc_core.exact.GridTensor`.

    Raises:
        UsageError: the network is told classes, for which there is no exact arithmetic.
    """
    if unet.architecture.classes is not None:
        raise UsageError(
            "a class-conditional model has no exact arithmetic",
            "train one without classes to compress with it",
        )
    process = GaussianDiffusion.of(diffusion, "")
    pixels = torch.from_numpy(images[np.arange(_EXAMPLES) % len(images)])
    t = _spread(_EXAMPLES, process.steps)
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    x = process.q_sample(pixels.float() / 127.5 - 1, t, noise)
    times = process.network_time(t)

    def calibrate(module: nn.Module) -> None:
        for start in range(0, _EXAMPLES, _BATCH):
            part = slice(start, start + _BATCH)
            module(x[part], times[part])

    lowered = lower(unet, calibrate, precision=_PRECISION, layers=_LAYERS)
    assert isinstance(lowered, UNet)
    return lowered


def fuse(lowered: UNet) -> None:
    """Let normalisations round their results as the layers behind them do; no number changes."""
    for module in lowered.modules():
        if isinstance(module, ResBlock):
            _feed(module.in_layers)
            _feed(module.out_layers)
        elif isinstance(module, AttentionBlock):
            _feed((module.norm, module.qkv))
    _feed(lowered.out)


def _feed(modules: Iterable[nn.Module]) -> None:
    norm, *_, layer = modules
    assert isinstance(norm, ExactGroupNorm) and isinstance(layer, ExactLayer)
    norm.feed(layer)


def _spread(count: int, steps: int) -> torch.Tensor:
    """Steps from both ends and between, in an order whose beginning is spread as well."""
    even = np.linspace(0, steps - 1, count).round().astype(np.int64)
    ranks = np.argsort(np.arange(count) * 0.618033988749895 % 1, kind="stable")
    return torch.from_numpy(even[ranks])

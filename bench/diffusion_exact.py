"""Time of a diffusion network, the original's and ours in float32 and in exact arithmetic.

The networks are the published UNet for CIFAR-10 (Nichol, Dhariwal, arXiv 2102.09672: 52 million
parameters) and a small one for grey images of 16x16. Their weights are random: time does not depend
on them. The three are timed in turns with the same batch on one thread, so that other work on the
machine disturbs all. The original is :mod:`original_unet`, with the same weights.

    python bench/diffusion_exact.py --json diffusion_exact.json
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from exact_timing import Timing, program, timing
from original_unet import OriginalUNet
from torch import nn

from nc_core.exact import exact_float32
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.lowering import fuse, lower_unet
from nc_diffusion_bb.unet import Architecture, UNet

SCHEMA = "nc.bench.diffusion-exact/2"
LIMIT = 2.0
AGREEMENT = 1e-5
SMALL = Architecture(
    image_size=16,
    in_channels=1,
    width=32,
    out_channels=2,
    blocks=1,
    attention_factors=(2,),
    multipliers=(1, 1),
)
# Network, batches, and batches for one time to be measured.
NETWORKS = {
    "digits": (SMALL, (1, 4, 16), 10),
    "cifar10": (Architecture(image_size=32), (1,), 1),
}
CPU = torch.device("cpu")


def network_of(architecture: Architecture) -> tuple[UNet, UNet]:
    """A network with random weights, zero nowhere, and its exact counterpart."""
    torch.manual_seed(0)
    network = UNet(architecture).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            module.reset_parameters()
    shape = (4, *architecture.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    exact = lower_unet(network, DiffusionConfig(), images)
    fuse(exact)
    return network, exact


def measure(name: str, runs: int) -> list[Timing]:
    architecture, batches, repeats = NETWORKS[name]
    network, exact = network_of(architecture)
    original = OriginalUNet.of(network)
    timings = []
    for batch in batches:
        inputs = torch.randn(batch, *architecture.image_shape), torch.full((batch,), 500.0)
        with torch.inference_mode(), exact_float32(CPU):
            torch.testing.assert_close(
                network(*inputs), original(*inputs), rtol=AGREEMENT, atol=AGREEMENT
            )
            networks = network, exact, original
            timings.append(timing(name, networks, inputs, runs, repeats))
    return timings


if __name__ == "__main__":
    sys.exit(program(__doc__, SCHEMA, LIMIT, NETWORKS, measure))

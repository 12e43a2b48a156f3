"""Time of a diffusion network in float32 and in exact arithmetic: the same batch, one thread.

The networks are the published UNet for CIFAR-10 (Nichol, Dhariwal, arXiv 2102.09672: 52 million
parameters) and a small one for grey images of 16x16. Their weights are random: time does not depend
on them. The two arithmetics are timed in turns, so that other work on the machine disturbs both.

    python bench/diffusion_exact.py --json diffusion_exact.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nc_core.exact import exact_float32, summary
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.lowering import fuse, lower_unet
from nc_diffusion_bb.unet import Architecture, UNet

SCHEMA = "nc.bench.diffusion-exact/1"
LIMIT = 2.0
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
    "cifar10": (Architecture(image_size=32), (1, 4), 1),
}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Timing:
    """CPU milliseconds of one batch; medians over all runs."""

    network: str
    batch: int
    float_ms: float
    exact_ms: float
    parts: float

    @property
    def ratio(self) -> float:
        return self.exact_ms / self.float_ms


def cpu_ms(function: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) * 1e3 / repeats


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
    parts = statistics.mean(layer.parts for layer in summary(exact))
    timings = []
    for batch in batches:
        x, t = torch.randn(batch, *architecture.image_shape), torch.tensor([500.0])
        calls = partial(network, x, t), partial(exact, x, t)
        with torch.inference_mode(), exact_float32(CPU):
            for call in calls:
                call()
            pairs = [[cpu_ms(call, repeats) for call in calls] for _ in range(runs)]
        float_ms, exact_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
        timings.append(Timing(name, batch, float_ms, exact_ms, parts))
    return timings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15, help="times each is measured (default 15)")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    timings = [timing for name in options.networks for timing in measure(name, options.runs)]
    print(f"{'network':<9}{'batch':>6}{'float, ms':>11}{'exact, ms':>11}{'ratio':>7}{'parts':>7}")
    for timing in timings:
        print(
            f"{timing.network:<9}{timing.batch:>6}{timing.float_ms:>11.1f}{timing.exact_ms:>11.1f}"
            f"{timing.ratio:>7.2f}{timing.parts:>7.2f}"
        )
    if options.json:
        document = {
            "schema": SCHEMA,
            "torch": torch.__version__,
            "machine": platform.machine(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "runs": options.runs,
            "limit": LIMIT,
            "timings": [asdict(timing) | {"ratio": timing.ratio} for timing in timings],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(timing.ratio <= LIMIT for timing in timings) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Time of a network in float32 and in exact arithmetic: the same batch, one thread, one run.

The network is the bottom level of Bit-Swap's hierarchical VAE (Kingma, Abbeel, Ho, arXiv
1905.06845) with two levels: from the image, four residual layers of 5x5 and four of 3x3, to mean
and scale, on maps of 16x16. Its weights are random: time does not depend on them. The two are
timed in turns, so that other work on the machine disturbs both.

    python bench/exact.py --json exact.json
"""

from __future__ import annotations

import sys

import torch
from exact_timing import Timing, program, timing
from torch import Tensor, nn
from torch.nn import functional

from nc_core.exact import Input, LocationScaleHead, ScaleMap, lower

SCHEMA = "nc.bench.exact/1"
LIMIT = 1.3
# Width, colours, latent channels and batches of the paper's networks for MNIST and CIFAR-10.
SIZES = {"mnist": (63, 1, 1, (1, 16)), "cifar10": (255, 3, 8, (1, 4))}


class ResidualLayer(nn.Module):
    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, taps, padding="same")
        self.second = nn.Conv2d(channels, channels, taps, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(functional.elu(self.first(functional.elu(x))))
        return x + change


class Level(nn.Module):
    def __init__(self, width: int, colours: int, latents: int) -> None:
        super().__init__()
        self.pixels = Input(0, 255, offset=127.5, scale=127.5)
        self.body = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * colours, width, 5, padding="same"),
            nn.ELU(),
            *[ResidualLayer(width, 5) for _ in range(4)],
            nn.ELU(),
            *[ResidualLayer(width, 3) for _ in range(4)],
            nn.ELU(),
        )
        self.mean = nn.Conv2d(width, latents, 3, padding="same")
        self.raw = nn.Conv2d(width, latents, 3, padding="same")
        self.head = LocationScaleHead(ScaleMap("sigmoid", 0.1, 0.9, 2.0), fraction_bits=14)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(self.pixels(x))
        location, scale = self.head(self.mean(h), self.raw(h))
        return location, scale


def measure(name: str, runs: int) -> list[Timing]:
    width, colours, latents, batches = SIZES[name]
    timings = []
    for batch in batches:
        torch.manual_seed(0)
        network = Level(width, colours, latents).eval()
        images = torch.randint(0, 256, (batch, colours, 32, 32), dtype=torch.uint8)
        calibration = torch.randint(0, 256, (4, colours, 32, 32), dtype=torch.uint8)
        exact = lower(network, (calibration,))
        with torch.inference_mode():
            timings.append(timing(name, (network, exact), (images,), runs))
    return timings


if __name__ == "__main__":
    sys.exit(program(__doc__, SCHEMA, LIMIT, SIZES, measure))

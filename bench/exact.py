"""Time of a network in float32 and in exact arithmetic: the same batch, one thread, one run.

The network is the bottom level of Bit-Swap's hierarchical VAE (Kingma, Abbeel, Ho, arXiv
1905.06845) with two levels: from the image, four residual layers of 5x5 and four of 3x3, to mean
and scale, on maps of 16x16. Its weights are random: time does not depend on them. The two are
timed in turns, so that other work on the machine disturbs both.

    python bench/exact.py --json exact.json
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
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_core.exact import Input, LocationScaleHead, ScaleMap, lower, summary

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
        return x + self.second(functional.elu(self.first(functional.elu(x))))


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
        return self.head(self.mean(h), self.raw(h))


@dataclass(frozen=True)
class Timing:
    """CPU milliseconds of one batch; medians over all runs."""

    network: str
    batch: int
    float_ms: float
    exact_ms: float
    parts: float
    largest_error: float

    @property
    def ratio(self) -> float:
        return self.exact_ms / self.float_ms


def cpu_ms(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return (time.process_time() - start) * 1e3


def measure(name: str, batch: int, runs: int) -> Timing:
    width, colours, latents, _ = SIZES[name]
    torch.manual_seed(0)
    network = Level(width, colours, latents).eval()
    images = torch.randint(0, 256, (batch, colours, 32, 32), dtype=torch.uint8)
    calibration = torch.randint(0, 256, (4, colours, 32, 32), dtype=torch.uint8)
    exact = lower(network, (calibration,))
    layers = summary(exact)
    with torch.inference_mode():
        network(images), exact(images)
        times = [
            (cpu_ms(lambda: network(images)), cpu_ms(lambda: exact(images))) for _ in range(runs)
        ]
    float_ms, exact_ms = (statistics.median(column) for column in zip(*times, strict=True))
    return Timing(
        name,
        batch,
        float_ms,
        exact_ms,
        statistics.mean(layer.parts for layer in layers),
        max(layer.relative_error for layer in layers),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15, help="batches per network (default 15)")
    parser.add_argument("--networks", nargs="*", default=list(SIZES), choices=SIZES)
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    timings = [
        measure(name, batch, options.runs) for name in options.networks for batch in SIZES[name][3]
    ]
    print(f"{'network':<9}{'batch':>6}{'float, ms':>11}{'exact, ms':>11}{'ratio':>7}{'error':>9}")
    for timing in timings:
        print(
            f"{timing.network:<9}{timing.batch:>6}{timing.float_ms:>11.1f}{timing.exact_ms:>11.1f}"
            f"{timing.ratio:>7.2f}{timing.largest_error:>9.4f}"
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

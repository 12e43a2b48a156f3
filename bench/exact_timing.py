"""What the programs that time exact arithmetic share: two networks in turns, a table, a file."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nc_core.exact import summary


@dataclass(frozen=True)
class Timing:
    """CPU milliseconds of one batch; medians over all runs. The rest is of the exact network.

    ``original_ms`` is of the same float arithmetic as another program does it, where there is one.
    """

    network: str
    batch: int
    float_ms: float
    exact_ms: float
    parts: float
    largest_error: float
    original_ms: float | None = None

    @property
    def ratio(self) -> float:
        return self.exact_ms / self.float_ms

    @property
    def float_ratio(self) -> float | None:
        return self.float_ms / self.original_ms if self.original_ms else None


def timing(
    name: str,
    networks: Sequence[nn.Module],
    inputs: Sequence[torch.Tensor],
    runs: int,
    repeats: int = 1,
) -> Timing:
    """The float network, the exact one and perhaps the original, in turns.

    Each is measured for ``repeats`` batches at a time.
    """
    layers = summary(networks[1])
    for network in networks:
        network(*inputs)
    turns = [[cpu_ms(network, inputs, repeats) for network in networks] for _ in range(runs)]
    float_ms, exact_ms, *original_ms = (
        statistics.median(column) for column in zip(*turns, strict=True)
    )
    return Timing(
        name,
        len(inputs[0]),
        float_ms,
        exact_ms,
        statistics.mean(layer.parts for layer in layers),
        max(layer.relative_error for layer in layers),
        *original_ms,
    )


def cpu_ms(network: nn.Module, inputs: Sequence[torch.Tensor], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        network(*inputs)
    return (time.process_time() - start) * 1e3 / repeats


def program(
    about: str,
    schema: str,
    limit: float,
    networks: Collection[str],
    measure: Callable[[str, int], list[Timing]],
) -> int:
    """The command line; returns 1 if a ratio is above the limit, or float above the original.

    ``measure`` takes the name of a network and how many times each batch is to be measured.
    """
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15, help="times each is measured (default 15)")
    parser.add_argument("--networks", nargs="*", default=list(networks), choices=networks)
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    timings = [one for name in options.networks for one in measure(name, options.runs)]
    print_table(timings)
    if options.json:
        write(options.json, {"schema": schema, "runs": options.runs, "limit": limit}, timings)
    passed = all(one.ratio <= limit and (one.float_ratio or 0) <= 1 for one in timings)
    return 0 if passed else 1


def print_table(timings: list[Timing]) -> None:
    print(
        f"{'network':<9}{'batch':>6}{'original, ms':>14}{'float, ms':>11}{'ratio':>7}"
        f"{'exact, ms':>11}{'ratio':>7}{'parts':>7}{'error':>9}"
    )
    for one in timings:
        original, ratio = "-", "-"
        if one.original_ms is not None:
            original, ratio = f"{one.original_ms:.1f}", f"{one.float_ratio:.2f}"
        print(
            f"{one.network:<9}{one.batch:>6}{original:>14}{one.float_ms:>11.1f}{ratio:>7}"
            f"{one.exact_ms:>11.1f}{one.ratio:>7.2f}{one.parts:>7.2f}{one.largest_error:>9.4f}"
        )


def write(path: Path, about: dict[str, Any], timings: list[Timing]) -> None:
    document = {
        **about,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "timings": [
            asdict(one) | {"ratio": one.ratio, "float_ratio": one.float_ratio} for one in timings
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

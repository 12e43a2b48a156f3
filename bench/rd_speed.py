"""How fast the bounds of toy sources are computed, and the original's times.

    python bench/rd_speed.py [--rounds N] [--out FOLDER] [--quick]

CPU milliseconds of a training step of the upper bound, with its share of validation and
checkpoints; CPU seconds of 800 training steps of a lower bound, and of one exhaustive C_k of it.
All in one thread. Times of the original were measured once, on another machine, on which they
varied too: ratios are a hint and no measurement. ``--out`` writes rd-bounds-speed.csv and .json.
``--quick`` is to see that the program works: its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

# NumPy, PyTorch and compiled kernels: one thread each.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np
import torch
from rd_records import MEASURED, evaluation_of, original, record

from nc_core.config import load_config
from nc_core.models import installed
from nc_core.runs import RunDirectory
from nc_core.training import Hardware
from nc_rd_bounds.demo import write_source
from nc_rd_bounds.lower.climb import Search, maximise
from nc_rd_bounds.lower.config import LowerConfig
from nc_rd_bounds.lower.release import TrainedMultiplier, read_multiplier
from nc_rd_bounds.lower.train import train as train_lower
from nc_rd_bounds.rows import flat_rows
from nc_rd_bounds.run_data import training_sources
from nc_rd_bounds.sources.vectors import Source
from nc_rd_bounds.upper.config import UpperConfig
from nc_rd_bounds.upper.train import train as train_upper

CPU = Hardware(device="cpu", threads=1)
ANOTHER_MACHINE = "the original, on another machine"

BLOCK = 1000  # steps that are timed at once: what the original validates after
LOWER_RECIPE, LOWER_LAMB = "lower-banana-small", 3.0
MINIBATCHES = {64: 6, 256: 6, 1024: 3}  # k: how many C_k are timed at once
# The original at k = 64: steps of a climb, and CPU seconds of C_k with all climbs in one batch.
SMALL_STEPS, SMALL_BATCHED = 256, 0.23


@dataclass(frozen=True)
class Speed:
    """CPU time of one thing, and what the original took for it.

    Args:
        what: was done.
        setting: recipe, lambda and sizes.
        unit: of all times.
        rounds: timed.
        least, median: of the rounds.
        climb_steps: mean of the climbs of C_k.
        original: the same setting.
        original_least, original_most: of all its runs of such a kind.
        original_climb_steps: mean of its climbs.
        times_faster: the original's time over our median.
        original_is: where its numbers come from.
    """

    what: str
    setting: str
    unit: str
    rounds: int
    least: float
    median: float
    climb_steps: float | None
    original: float
    original_least: float
    original_most: float
    original_climb_steps: float | None
    times_faster: float
    original_is: str


def speed(rounds: int, *, quick: bool) -> Iterator[Speed]:
    with TemporaryDirectory(prefix="nc-rd-bounds-") as name:
        folder = Path(name)
        write_source(folder)
        yield from upper_speeds(folder, rounds, 20 if quick else BLOCK)
        seconds, network, config, source = train_lower_for(folder, rounds, 20 if quick else None)
        runs = original("lower_bound")
        took = [run["cpu_train_s"] for run in runs.values() if run["cpu_train_s"] is not None]
        yield speed_row("800 steps of the lower bound", f"{LOWER_RECIPE}, lambda 3, k 256", "s",
                        seconds, runs["banana-3"]["cpu_train_s"], took)  # fmt: skip
        yield from maximum_speeds(network, config, source, rounds)


def upper_speeds(folder: Path, rounds: int, block: int) -> Iterator[Speed]:
    demo = f"data.train=gaussian?params={folder / 'gaussian_params-dim=2.npz'}"
    runs = original("upper_bound")
    for what, recipe, settings, like in (
        ("MAF", "upper-banana", (), ["banana-maf-3", "banana-maf-30"]),
        ("NTC", "upper-banana-ntc", (), ["banana-ntc-3", "banana-ntc-30"]),
        ("demo model", "upper-demo", (demo,), ["gauss2-demo-3"]),
    ):
        config = load_config(UpperConfig, recipe, package="nc_rd_bounds", settings=[
            *settings, f"training.duration={(rounds + 1) * block}",
        ])  # fmt: skip
        seconds = seconds_of_blocks(config, folder / recipe, block)
        took = [runs[name]["cpu_ms_per_step"] for name in like]
        yield speed_row(
            f"a step of the upper bound, {what}",
            f"{recipe}, lambda {config.lamb:g}, batch {config.training.batch_size}",
            "ms", [1e3 * one / block for one in seconds], took[0], took,
        )  # fmt: skip


def seconds_of_blocks(config: UpperConfig, path: Path, block: int) -> list[float]:
    """CPU seconds of one block of steps after another, without the first, of one training."""
    marks: list[float] = []

    def tell(done: int, _: int) -> None:
        if done % block == 0:
            marks.append(time.process_time())

    with RunDirectory.create(path, config.to_json()) as run:
        train_upper(config, run, *training_sources(config, installed()), hardware=CPU,
                    progress=tell)  # fmt: skip
    return [after - before for before, after in pairwise(marks)]


def train_lower_for(
    folder: Path, rounds: int, steps: int | None
) -> tuple[list[float], TrainedMultiplier, LowerConfig, Source]:
    """CPU seconds of several trainings, with a network that they made and its evaluation data."""
    seconds = []
    for number in range(rounds + 1):  # the first is short: it compiles
        duration = steps or (800 if number else 2)
        config = load_config(LowerConfig, LOWER_RECIPE, package="nc_rd_bounds", settings=[
            f"lamb={LOWER_LAMB}", f"training.duration={duration}",
        ])  # fmt: skip
        training, evaluation = training_sources(config, installed())
        with RunDirectory.create(folder / f"lower-{number}", config.to_json()) as run:
            before = time.process_time()
            train_lower(config, run, training, hardware=CPU)
            seconds.append(time.process_time() - before)
    return seconds[1:], read_multiplier(run.path), config, evaluation


def maximum_speeds(
    model: TrainedMultiplier, config: LowerConfig, source: Source, rounds: int
) -> Iterator[Speed]:
    search = Search(**config.climb.to_json()).exhaustive()
    for k, count in MINIBATCHES.items():
        seconds, steps = seconds_of_maximum(model, source, search, k, count, rounds)
        for how, took, all_took, original_steps in original_maxima(k):
            yield speed_row(
                "an exhaustive C_k", f"banana, lambda {model.lamb:g}, k {k}", "s", seconds,
                took, all_took, climb_steps=steps, original_steps=original_steps,
                original_is=f"{ANOTHER_MACHINE}, {how}",
            )  # fmt: skip


def original_maxima(k: int) -> Iterator[tuple[str, float, list[float], float]]:
    """How the original climbed, its CPU seconds of C_k there and in all cases, steps of a climb."""
    document = json.loads(MEASURED.read_text())["lower_bound"]
    if k == 64:
        loop = document["maximiser_check"]["cpu_s_original"] / 2
        yield "N(0, I_2), a loop over starts", loop, [loop], SMALL_STEPS
        yield "N(0, I_2), changed to one batch", SMALL_BATCHED, [SMALL_BATCHED], SMALL_STEPS
        return
    runs = {run["name"]: evaluation_of(run, k) for run in document["rows"]}
    took = {name: one["cpu_s"] / (2 * one["M"]) for name, one in runs.items()}
    steps = runs["banana-3"]["mean_climb_steps"]
    yield "changed to one batch", took["banana-3"], list(took.values()), steps


def seconds_of_maximum(
    model: TrainedMultiplier, source: Source, search: Search, k: int, count: int, rounds: int
) -> tuple[list[float], float]:
    """CPU seconds of one C_k, a mean over minibatches, in each round; and mean steps of a climb."""
    batches = [flat_rows(source, np.arange(i * k, (i + 1) * k)) for i in range(count)]
    with torch.no_grad():
        pairs = [(x, model.network(x)) for x in batches]
    seconds = []
    for _ in range(rounds):
        before = time.process_time()
        found = [maximise(x, log_u, model.lamb, search) for x, log_u in pairs]
        seconds.append((time.process_time() - before) / count)
    steps = torch.cat([one.climbs.steps for one in found])
    return seconds, float(torch.where(steps < 0, search.steps, steps).double().mean())


def speed_row(
    what: str,
    setting: str,
    unit: str,
    times: list[float],
    took: float,
    all_took: list[float],
    *,
    climb_steps: float | None = None,
    original_steps: float | None = None,
    original_is: str = ANOTHER_MACHINE,
) -> Speed:
    median = statistics.median(times)
    return Speed(
        what=what,
        setting=setting,
        unit=unit,
        rounds=len(times),
        least=round(min(times), 4),
        median=round(median, 4),
        climb_steps=None if climb_steps is None else round(climb_steps, 1),
        original=round(took, 3),
        original_least=round(min(all_took), 3),
        original_most=round(max(all_took), 3),
        original_climb_steps=original_steps,
        times_faster=round(took / median, 2),
        original_is=original_is,
    )


def print_speed(row: Speed) -> None:
    steps = ""
    if row.climb_steps is not None:
        steps = f" ({row.climb_steps:g} steps a climb, original {row.original_climb_steps:g})"
    print(
        f"{row.what:38}{row.setting:37}{row.least:9.4f} {row.unit:2} least{row.median:9.4f} median;"
        f"{row.original:7.2f} ({row.original_least:g} to {row.original_most:g}) "
        f"{row.original_is}: {row.times_faster:.1f} x{steps}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write the results here")
    parser.add_argument("--quick", action="store_true", help="train hardly at all: a test run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = speed(options.rounds, quick=options.quick)
    record(rows, print_speed, options.out, "speed", options.quick)


if __name__ == "__main__":
    main()

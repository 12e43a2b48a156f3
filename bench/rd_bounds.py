"""Bounds of toy sources: their speed, how near they come to the truth, and the original's numbers.

    python bench/rd_bounds.py [speed] [gaussians] [banana] [--rounds N] [--out FOLDER] [--quick]

- speed: CPU milliseconds of a training step of the upper bound, with its share of validation and
  checkpoints; CPU seconds of 800 training steps of a lower bound, and of one exhaustive C_k of it.
- gaussians: both bounds of N(0, I_n), whose rate-distortion function is known.
- banana: both bounds of the 2-D banana, and the width of the sandwich.

All in one thread. The latter two run commands as a user would type them; rates are nats per vector,
distortions mean squared errors. Numbers of the original were measured once, on another machine, on
which its times varied too: ratios of times are a hint and no measurement. ``--out`` writes
rd-bounds-QUESTION.csv and .json. ``--quick`` is to see that the program works: it trains so little
that the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# NumPy, PyTorch and compiled kernels: one thread each.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np
import torch

from nc_core.config import load_config
from nc_core.models import installed
from nc_core.plots import write_csv
from nc_core.runs import RunDirectory
from nc_core.training import Hardware
from nc_rd_bounds.analytic import gaussian_optimum
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

SCHEMA = "nc-bench-rd-bounds/1"
SHARED = Path(os.environ.get("NC_TEST_SHARED", Path(__file__).parents[2] / "shared"))
MEASURED = SHARED / "golden" / "rd-bounds-vector" / "scaled_runs.json"
QUESTIONS = ("speed", "gaussians", "banana")
CPU = Hardware(device="cpu", threads=1)
ANOTHER_MACHINE = "the original, on another machine"

BLOCK = 1000  # steps that are timed at once: what the original validates after
LOWER_RECIPE, LOWER_LAMB = "lower-banana-small", 3.0
MINIBATCHES = {64: 6, 256: 6, 1024: 3}  # k: how many C_k are timed at once
# The original at k = 64: steps of a climb, and CPU seconds of C_k with all climbs in one batch.
SMALL_STEPS, SMALL_BATCHED = 256, 0.23

GAUSSIANS = {2: "gauss2-x3", 4: "gauss4-x3", 8: "gauss8-x3"}  # n: the original's run
EVALUATIONS = {256: 15, 1024: 10}  # k: samples of xi
SEED_OF_EVALUATION = "1"


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


@dataclass(frozen=True)
class Bound:
    """One number of a bound, beside the truth and the original's.

    Args:
        source: of the vectors.
        lamb: lambda.
        what: the number is; an ``objective`` is that of the upper bound.
        value, standard_error: ours.
        truth: of the rate-distortion function: exact, or the banana's near-exact.
        over_truth: value minus truth.
        share_of_truth: value over truth, of lower bounds.
        original, original_error: of the original with as many samples in a minibatch.
        over_original: value minus original.
        cpu_seconds: of the command, start included.
        original_cpu_seconds: on another machine.
    """

    source: str
    lamb: float
    what: str
    value: float
    standard_error: float | None = None
    truth: float | None = None
    over_truth: float | None = None
    share_of_truth: float | None = None
    original: float | None = None
    original_error: float | None = None
    over_original: float | None = None
    cpu_seconds: float | None = None
    original_cpu_seconds: float | None = None


@dataclass(frozen=True)
class Truth:
    """A point of the rate-distortion function, and its line."""

    rate: float
    distortion: float
    intercept: float


def original(question: str) -> dict[str, dict[str, Any]]:
    """The original's runs, ``upper_bound`` or ``lower_bound``, by name."""
    return {row["name"]: row for row in json.loads(MEASURED.read_text())[question]["rows"]}


# ------------------------------------------------------------------------------------------ speed


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


def evaluation_of(run: dict[str, Any], k: int) -> dict[str, Any]:
    """The original's evaluation of a network with minibatches of k samples."""
    (found,) = (one for one in run["evaluations"] if one["k"] == k)
    return dict(found)


# ----------------------------------------------------------------------------------------- bounds


class Commands:
    """``nc run rd-bounds`` in a folder, one thread.

    Args:
        folder: for runs and data.
        quick: train and evaluate hardly at all.
    """

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self._folder, self._quick = folder, quick
        self._environment = {**os.environ, "NC_DATA": str(folder / "data")}

    def upper(self, recipe: str, lamb: float, *settings: str) -> tuple[dict[str, Any], float]:
        """Train and evaluate: measurements by name, CPU seconds of training."""
        run = str(self._folder / f"{recipe}-{lamb:g}")
        _, seconds = self._nc("train-upper", "--recipe", recipe, "--lamb", f"{lamb:g}",
                              "-o", run, *settings, *self._short_training())  # fmt: skip
        rounded = ["--rounded"] if "ntc" in recipe else []
        few = ["--batches", "4"] if self._quick else []
        found, _ = self._nc("evaluate-upper", run, "--seed", SEED_OF_EVALUATION, *rounded, *few)
        return found, seconds

    def train_lower(self, recipe: str, lamb: float) -> tuple[Path, dict[str, Any], float]:
        """A run directory, measurements by name, CPU seconds."""
        run = self._folder / f"{recipe}-{lamb:g}"
        found, seconds = self._nc("train-lower", "--recipe", recipe, "--lamb", f"{lamb:g}",
                                  "-o", str(run), *self._short_training())  # fmt: skip
        return run, found, seconds

    def evaluate_lower(
        self, run: Path, k: int, count: int, *options: str
    ) -> tuple[dict[str, Any], float]:
        """Measurements by name, and CPU seconds."""
        count = 2 if self._quick else count
        return self._nc("evaluate-lower", str(run), "-k", str(k), "-M", str(count),
                        "--seed", SEED_OF_EVALUATION, "--threads", "1", *options)  # fmt: skip

    def _short_training(self) -> list[str]:
        return ["--threads", "1", *(["--set", "training.duration=20"] if self._quick else [])]

    def _nc(self, *arguments: str) -> tuple[dict[str, Any], float]:
        command = [sys.executable, "-m", "nc_cli", "run", "rd-bounds", *arguments, "--json"]
        before = seconds_of_children()
        done = subprocess.run(
            command, check=False, env=self._environment, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        found = {record["name"]: record for record in json.loads(done.stdout)}
        return found, seconds_of_children() - before


def seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def gaussians(commands: Commands) -> Iterator[Bound]:
    """N(0, I_n), n = 2, 4 and 8, at the slope that leaves a third of its variance as error."""
    for dims, name in GAUSSIANS.items():
        lamb = 1.5 * dims
        optimum = gaussian_optimum(np.ones(dims), lamb)
        truth = Truth(optimum.rate, optimum.distortion, optimum.intercept)
        source = f"N(0, I_{dims})"
        upper = commands.upper("upper-gaussian-small", lamb, "--dataset", f"gaussian?dim={dims}")
        above = list(upper_rows(source, lamb, upper, truth, None))
        recipe = "lower-gaussian-small" if dims == 2 else f"lower-gaussian-{dims}-small"
        below = list(lower_rows(commands, source, recipe, lamb, truth, name))
        yield from (*above, *below, *widths(above, below))


def banana(commands: Commands) -> Iterator[Bound]:
    """The 2-D banana; the original's upper bounds are of larger batches, and mostly more steps."""
    exact = {
        row["lambda"]: Truth(row["R_nats"], row["D"], row["intercept_upper"])
        for row in json.loads(MEASURED.read_text())["banana2d_near_exact"]["rows"]
    }
    runs = original("upper_bound")
    for lamb in (3.0, 30.0):
        above = list(
            upper_rows("banana", lamb, commands.upper("upper-banana-small", lamb), exact[lamb],
                       runs[f"banana-maf-{lamb:g}"])
        )  # fmt: skip
        yield from above
        yield from upper_rows(
            "banana", lamb, commands.upper("upper-banana-ntc-small", lamb), exact[lamb],
            runs[f"banana-ntc-{lamb:g}"], prefix="NTC ",
        )  # fmt: skip
        below = list(
            lower_rows(commands, "banana", LOWER_RECIPE, lamb, exact[lamb], f"banana-{lamb:g}")
        )
        yield from (*below, *widths(above, below))


def upper_rows(
    source: str,
    lamb: float,
    measured: tuple[dict[str, Any], float],
    truth: Truth,
    run: dict[str, Any] | None,
    prefix: str = "",
) -> Iterator[Bound]:
    """Rate, distortion and objective; of NTC also with rounded latents."""
    found, seconds = measured
    for kind, key in (("", ""), ("rounded ", "ntc-rounded/")):
        if f"{key}objective" not in found:
            continue
        theirs = errors = [None] * 3
        if run is not None:
            theirs = run["rounded_rate_mse_loss" if key else "rate_mse_loss"]
            errors = run["rounded_standard_error" if key else "standard_error"]
        names = ("rate", "distortion", "objective")
        truths = (truth.rate, truth.distortion, truth.intercept)
        for name, value, one, error in zip(names, truths, theirs, errors, strict=True):
            yield bound(
                source, lamb, f"upper: {prefix}{kind}{name}", found[key + name], value,
                one, error, seconds, None if run is None else run["cpu_train_s"],
            )  # fmt: skip


def lower_rows(
    commands: Commands, source: str, recipe: str, lamb: float, truth: Truth, name: str
) -> Iterator[Bound]:
    """The intercept as training saw it, and measured with minibatches of two sizes."""
    run = original("lower_bound")[name]
    path, found, seconds = commands.train_lower(recipe, lamb)
    yield bound(source, lamb, "lower: in training", found["training_intercept"], truth.intercept,
                run["train_intercept_last50"], None, seconds, run["cpu_train_s"])  # fmt: skip
    for k, count in EVALUATIONS.items():
        found, seconds = commands.evaluate_lower(path, k, count)
        theirs = evaluation_of(run, k)
        yield bound(source, lamb, f"lower: k {k}", found["intercept"], truth.intercept,
                    theirs["R_"], theirs["se"], seconds, theirs["cpu_s"])  # fmt: skip
    found, seconds = commands.evaluate_lower(path, k, count, "--temper")
    yield bound(source, lamb, f"lower: k {k}, tempered", found["intercept"], truth.intercept,
                theirs["R_"], theirs["se"], seconds, theirs["cpu_s"])  # fmt: skip


def bound(
    source: str,
    lamb: float,
    what: str,
    measured: dict[str, Any],
    truth: float | None,
    theirs: float | None,
    error: float | None,
    seconds: float | None,
    their_seconds: float | None,
) -> Bound:
    value = measured["value"]
    return Bound(
        source=source,
        lamb=lamb,
        what=what,
        value=rounded(value),
        standard_error=rounded(measured["standard_error"]),
        truth=rounded(truth),
        over_truth=None if truth is None else rounded(value - truth),
        share_of_truth=rounded(value / truth) if truth and what.startswith("lower") else None,
        original=rounded(theirs),
        original_error=rounded(error),
        over_original=None if theirs is None else rounded(value - theirs),
        cpu_seconds=None if seconds is None else round(seconds, 1),
        original_cpu_seconds=their_seconds,
    )


def widths(above: list[Bound], below: list[Bound]) -> Iterator[Bound]:
    """What the truth may still be: the upper bound's objective minus each lower bound."""
    (upper,) = (row for row in above if row.what == "upper: objective")
    for lower in below:
        if not lower.what.startswith("lower: k"):
            continue
        known = upper.original is not None and lower.original is not None
        measured = {
            "value": upper.value - lower.value,
            "standard_error": root_sum(upper.standard_error, lower.standard_error),
        }
        yield bound(
            upper.source, upper.lamb, lower.what.replace("lower:", "width:"), measured, None,
            upper.original - lower.original if known else None,
            root_sum(upper.original_error, lower.original_error) if known else None, None, None,
        )  # fmt: skip


def root_sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else math.hypot(first, second)


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


# ----------------------------------------------------------------------------------------- output


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


def print_bound(row: Bound) -> None:
    cells = [row.value, row.standard_error, row.truth, row.share_of_truth, row.original,
             row.original_error, row.cpu_seconds, row.original_cpu_seconds]  # fmt: skip
    print(
        f"{row.source:10}{row.lamb:6g}  {row.what:30}"
        + "".join(f"{'' if cell is None else f'{cell:.4f}':>11}" for cell in cells),
        flush=True,
    )


def print_heading() -> None:
    heads = ("ours", "s.e.", "truth", "of truth", "original", "s.e.", "CPU s", "its CPU s")
    print(f"{'source':10}{'lambda':>6}  {'':30}" + "".join(f"{head:>11}" for head in heads))


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def write(folder: Path, question: str, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rd-bounds-{question}.json"
    document = {"schema": SCHEMA, "versions": versions(), **about, "rows": rows}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    write_csv(path.with_suffix(".csv"), list(rows[0]), [list(row.values()) for row in rows])


def rows_of(question: str, options: argparse.Namespace) -> Iterator[Speed | Bound]:
    if question == "speed":
        yield from speed(options.rounds, quick=options.quick)
        return
    print_heading()
    with TemporaryDirectory(prefix="nc-rd-bounds-") as folder:
        commands = Commands(Path(folder), quick=options.quick)
        yield from gaussians(commands) if question == "gaussians" else banana(commands)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "questions", nargs="*", metavar="QUESTION", help=f"{', '.join(QUESTIONS)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of speed (default 3)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write the results here")
    parser.add_argument("--quick", action="store_true", help="train hardly at all: a test run")
    options = parser.parse_args()
    asked = options.questions or list(QUESTIONS)
    if unknown := set(asked) - set(QUESTIONS):
        parser.error(f"no question {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    torch.set_num_threads(1)
    for question in asked:
        rows: list[dict[str, Any]] = []
        load = os.getloadavg()[0]
        for row in rows_of(question, options):
            if isinstance(row, Speed):
                print_speed(row)
            else:
                print_bound(row)
            rows.append(asdict(row))
            about = {"quick": options.quick, "load_average": [load, os.getloadavg()[0]]}
            if options.out:  # after every row: some take minutes
                write(options.out, question, rows, about)


if __name__ == "__main__":
    main()

"""How near the bounds of toy sources come to the truth, and the original's numbers.

    python bench/rd_bounds.py [gaussians] [banana] [--out FOLDER] [--quick]

- gaussians: both bounds of N(0, I_n), whose rate-distortion function is known.
- banana: both bounds of the 2-D banana, and the width of the sandwich.

Runs commands as a user would type them, in one thread; rates are nats per vector, distortions mean
squared errors. Times of the original are of another machine. ``--out`` writes
rd-bounds-QUESTION.csv and .json. ``--quick`` is to see that the program works: it trains so little
that the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rd_records import MEASURED, evaluation_of, original, record

from nc_rd_bounds.analytic import gaussian_optimum

QUESTIONS = ("gaussians", "banana")
LOWER_RECIPE = "lower-banana-small"
GAUSSIANS = {2: "gauss2-x3", 4: "gauss4-x3", 8: "gauss8-x3"}  # n: the original's run
EVALUATIONS = {256: 15, 1024: 10}  # k: samples of xi
SEED_OF_EVALUATION = "1"
DIGITS = 5


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
    value: float = measured["value"]
    return Bound(
        source=source,
        lamb=lamb,
        what=what,
        value=round(value, DIGITS),
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
        original = (
            None
            if upper.original is None or lower.original is None
            else upper.original - lower.original
        )
        measured = {
            "value": upper.value - lower.value,
            "standard_error": root_sum(upper.standard_error, lower.standard_error),
        }
        yield bound(
            upper.source, upper.lamb, lower.what.replace("lower:", "width:"), measured, None,
            original,
            None if original is None else root_sum(upper.original_error, lower.original_error),
            None, None,
        )  # fmt: skip


def root_sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else math.hypot(first, second)


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "questions", nargs="*", metavar="QUESTION", help=f"{', '.join(QUESTIONS)} (default: both)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write the results here")
    parser.add_argument("--quick", action="store_true", help="train hardly at all: a test run")
    options = parser.parse_args()
    asked = options.questions or list(QUESTIONS)
    if unknown := set(asked) - set(QUESTIONS):
        parser.error(f"no question {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    for question in asked:
        print_heading()
        with TemporaryDirectory(prefix="nc-rd-bounds-") as folder:
            commands = Commands(Path(folder), quick=options.quick)
            rows = gaussians(commands) if question == "gaussians" else banana(commands)
            record(rows, print_bound, options.out, question, options.quick)


if __name__ == "__main__":
    main()

"""Training by two processes, compared with one process that has the whole batch.

Both are started as a user would, with ``nc run bitswap train``; the second with ``--devices 2``.
The same configuration means the same batches, since ``training.batch_size`` counts the items of
all processes together. Dropout is off: its masks are drawn by each process for itself.

Sums of floats in another order differ in their last bits, and training makes of a small difference
a larger one with every step. How fast is shown by a control: one process again, with a learning
rate that is larger by one part in ten million.

    python bench/two_processes.py --json bench/results/two_processes.json
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCHEMA = "nc.bench.two-processes/1"
SHARED = Path(os.environ.get("NC_TEST_SHARED", Path(__file__).parents[2] / "shared"))
TEST_IMAGES = 1000
SETTINGS = (
    "model.hidden=8", "model.dropout=0", "bins.samples_per_bin=1", "bins.bits=6",
    "training.batch_size=32", "training.log_every=1", "training.evaluate_every=50 steps",
    "warm_up_batches=4",
)  # fmt: skip
RUNS: dict[str, tuple[int, tuple[str, ...]]] = {
    "one_process": (1, ()),
    "two_processes": (2, ()),
    "control": (1, ("learning_rate.start=2.0000002e-3",)),
}


def train(out: Path, settings: Sequence[str], environment: dict[str, str], devices: int) -> float:
    """Train in a fresh process; CPU seconds, those of all processes together."""
    command = [
        sys.executable, "-m", "nc_cli", "run", "bitswap", "train", "--recipe", "mnist-nz2-tiny",
        "--device", "cpu", "--threads", "1", "--devices", str(devices), "--out", str(out),
        *(part for setting in settings for part in ("--set", setting)),
    ]  # fmt: skip
    before = _child_seconds()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return _child_seconds() - before


def _child_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def records(out: Path, phase: str) -> list[dict[str, Any]]:
    """Records of a run's ``metrics.jsonl``."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["phase"] == phase]


def largest_differences(
    one: list[dict[str, Any]], other: list[dict[str, Any]], last: int
) -> dict[str, float]:
    """Largest relative difference up to a step, by name of the metric."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a["step"] <= last]
    names = [name for name in one[0] if name not in ("step", "phase", "epoch", "learning_rate")]
    return {
        name: max(abs(a[name] - b[name]) / max(abs(a[name]), 1e-12) for a, b in pairs)
        for name in names
    }


def main() -> None:
    """Train three times, print and write how far the curves are apart."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        test = folder / "test.npy"
        _write_test_images(test)
        settings = [
            *SETTINGS, f"training.duration={given.steps} steps", f"data.test=npy:{test}",
            "data.train=mnist:train",
        ]  # fmt: skip
        environment = os.environ | {"NC_DATA": str(SHARED / "data"), "OMP_NUM_THREADS": "1"}
        seconds = {
            name: train(folder / name, [*settings, *extra], environment, devices)
            for name, (devices, extra) in RUNS.items()
        }
        train_records = {name: records(folder / name, "train") for name in RUNS}
        evaluations = {name: records(folder / name, "evaluate") for name in RUNS}
    document = {
        "schema": SCHEMA,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "recipe": "mnist-nz2-tiny",
        "settings": [*SETTINGS, f"training.duration={given.steps} steps"],
        "test_images": TEST_IMAGES,
        "cpu_seconds": seconds,
        "evaluations_elbo": {
            name: [record["elbo"] for record in run] for name, run in evaluations.items()
        },
        "largest_relative_differences_from_one_process": {
            name: {
                f"training, steps 1 to {last}": largest_differences(
                    train_records["one_process"], train_records[name], last
                )
                for last in sorted({min(last, given.steps) for last in (1, 25, 50, given.steps)})
            }
            for name in ("two_processes", "control")
        },
    }
    print(json.dumps(document, indent=2))
    if given.json is not None:
        given.json.write_text(json.dumps(document, indent=2) + "\n")
        _write_curves(given.json.with_suffix(".csv"), train_records)


def _write_test_images(path: Path) -> None:
    import numpy as np

    from nc_core import open_dataset

    os.environ["NC_DATA"] = str(SHARED / "data")
    digits = open_dataset("mnist:test")
    np.save(path, np.stack([digits[index]["image"] for index in range(TEST_IMAGES)]))


def _write_curves(path: Path, runs: dict[str, list[dict[str, Any]]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *(f"loss_{name}" for name in runs)])
        for rows in zip(*runs.values(), strict=True):
            writer.writerow([rows[0]["step"], *(row["loss"] for row in rows)])


if __name__ == "__main__":
    main()

"""The experiments of the Bit-Swap paper, scaled down: the original code's rates beside ours.

    nc run bitswap import-checkpoint encode_run_mnist_nz2.model.safetensors -o tiny.safetensors
    python bench/experiments.py --model tiny.safetensors --experiments 20 \\
        --json bench/results/experiments.json

The model has 49 060 parameters (nz 2, width 16), trained by the original code for one epoch. Its
numbers are of one experiment of 100 digits, in bits per dimension of the padded image; ours are of
the same digits with eight choices of initial words, and of more experiments (100 of them cover the
test set). Then come initial bits of deep models with random weights (data-dependent initialisation,
10 bits on [-8, 8]) and classical codecs. ``--json`` also writes one table of everything, as CSV.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from nc_bitswap.codec import Order
from nc_bitswap.data import ModelImages
from nc_bitswap.discretization import LatentBins
from nc_bitswap.experiment import plan_experiments, run_experiments
from nc_bitswap.experiment_results import Results, summarize
from nc_bitswap.layers import data_dependent_init
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_bitswap.release import write_model
from nc_core import open_dataset
from nc_core.model_file import read_model_file
from nc_core.plots import write_csv
from nc_core.protocols import Dataset
from nc_core.run_logs import read_records
from nc_core.runs import RunDirectory

SCHEMA = "nc-bench-experiments/1"
CHAINS = 8
ORIGINAL: dict[tuple[Order, int], tuple[float, ...]] = {
    ("bit-swap", 10): (1.2713, 1.2693, 3.625, 1.2909, 2016),
    ("bit-swap", 8): (1.2728, 1.2711, 3.219, 1.2884, 1600),
    ("bit-swap", 6): (1.2738, 1.2716, 2.781, 1.2850, 1152),
    ("bb-ans", 10): (1.2681, 1.2692, 6.063, 1.3122, 4512),
    ("bb-ans", 8): (1.2706, 1.2692, 5.156, 1.3056, 3584),
    ("bb-ans", 6): (1.2709, 1.2692, 4.188, 1.2966, 2624),
}
"""Net, ELBO, cumulative average after 1 and 100 digits, initial bits, of the original code."""
ORIGINAL_DEPTH: dict[tuple[int, Order], int] = {
    (2, "bit-swap"): 2208, (2, "bb-ans"): 4736, (8, "bit-swap"): 2240, (8, "bb-ans"): 18144,
}  # fmt: skip
ORIGINAL_CODECS = {
    "bit-swap": {"gzip": 1.647, "bzip2": 1.594, "xz": 1.486, "png-idat": 2.211, "webp": 2.098},
    "bb-ans": {"gzip": 1.63, "bzip2": 1.41, "xz": 1.39, "png": 2.80, "webp": 2.10},
}
"""Of 10 experiments (``bit-swap``, digits not known), and of the whole test set (``bb-ans``)."""
COLUMNS = ("table", "what", "quantity", "unit", "ours", "original")


def run(*arguments: str) -> Any:
    """What ``nc run bitswap`` prints with ``--json``."""
    command = [sys.executable, "-m", "nc_cli", "run", "bitswap", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def same_digits(model: Path, order: Order, bits: int, folder: Path) -> dict[str, Any]:
    """The original's 100 digits in several chains that differ in their initial words only."""
    plan = plan_experiments(read_model_file(model), digits(), 1, 100, 100, decode=True)
    plan = replace(plan, indices=np.tile(plan.indices, (CHAINS, 1)))
    with RunDirectory.create(folder / f"same-{order}-{bits}", {}) as directory:
        results = Results(directory, order, bits, (CHAINS, 100))
        run_experiments(plan, order, bits, results)
    summary = summarize(results.arrays, 1024, 784)
    summary["net_std_between_chains"] = float(results.arrays["nets"].mean(axis=1).std(ddof=1))
    return {"order": order, "bits": bits, "experiments": CHAINS, "images": 100} | summary


def experiments(model: Path, count: int, folder: Path) -> list[dict[str, Any]]:
    """Summaries of both orders, 10 bits, as the command prints them, and CPU times."""
    out = folder / f"experiments-{count}"
    records: list[dict[str, Any]] = run(
        "experiment", "--model", str(model), "--experiments", str(count), "--bits", "10",
        "--decode", "--out", str(out),
    )  # fmt: skip
    timing = read_records(out / "timing.jsonl")
    for record in records:
        same = [row for row in timing if row["order"] == record["order"]]
        images = sum(row["images"] for row in same)
        for key in ("encode_seconds", "decode_seconds"):
            record[f"cpu_{key}_per_image"] = sum(row[key] for row in same) / images
    return records


def depth(levels: int, order: Order, folder: Path) -> dict[str, Any]:
    """Mean initial bits of a model with random weights: 20 digits, each coded alone."""
    torch.manual_seed(0)
    model = HierarchicalVAE(Architecture(levels=levels, hidden=16, processing=1)).eval()
    images = ModelImages(digits(), model.architecture.image_shape).first(64)
    with data_dependent_init(model):
        model(torch.from_numpy(images))
    extremes = [(np.full(256, -8.0), np.full(256, 8.0))] * (levels - 1)
    path = folder / f"random-nz{levels}.safetensors"
    write_model(path, model, LatentBins.from_extremes(10, extremes, 256), images)
    plan = plan_experiments(read_model_file(path), digits(), 20, 1, 100, decode=True)
    with RunDirectory.create(folder / f"depth-{levels}-{order}", {}) as directory:
        results = Results(directory, order, 10, (20, 1))
        run_experiments(plan, order, 10, results)
    initial = results.arrays["total"] - model.architecture.dims * results.arrays["nets"]
    return {
        "levels": levels,
        "order": order,
        "initial_bits": float(initial.mean()),
        "borrowed_bits": float(results.arrays["borrowed"].mean()),
    }


def measure(model: Path, count: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="nc-experiments-") as name:
        folder = Path(name)
        return {
            "schema": SCHEMA,
            "same_digits": [same_digits(model, *key, folder) for key in ORIGINAL],
            "experiments": experiments(model, count, folder),
            "depth": [depth(*key, folder) for key in ORIGINAL_DEPTH],
            "codecs": [
                *run("benchmark", "--experiments", "10"),
                *run("benchmark", "--protocol", "bb-ans"),
            ],
        }


def rate_rows(record: dict[str, Any], original: Sequence[float]) -> list[list[Any]]:
    """Rates of one record, beside those of the original where there are any."""
    name = f"{record['experiments']} x {record['images']} digits"
    if original:
        name = f"the same {record['images']} digits, {record['experiments']} chains"
    what = f"{record['order']}, {record['bits']} bits"
    rates = record["rates"]["bit/padded dim"]
    keys = ("net_mean", "elbo_mean", "cma1_mean", "cma100_mean")
    pairs = [(key, "bit/padded dim", rates[key]) for key in keys]
    pairs.append(("initial_bits_mean", "bit", record["initial_bits_mean"]))
    rows = [
        [name, what, key, unit, round(value, 4), theirs]
        for (key, unit, value), theirs in zip_longest(pairs, original)
    ]
    if "net_std_between_chains" in record:
        deviation = round(record["net_std_between_chains"], 4)
        rows.append([name, what, "net_std_between_chains", "bit/padded dim", deviation, None])
    for key in ("cpu_encode_seconds_per_image", "cpu_decode_seconds_per_image"):
        if key in record:
            rows.append([name, what, key, "s", round(record[key], 5), None])
    return rows


def digits() -> Dataset:
    """The test digits."""
    return open_dataset("mnist:test")


def table(results: dict[str, Any]) -> list[list[Any]]:
    """Everything beside the original's numbers, as rows of COLUMNS."""
    rows: list[list[Any]] = []
    for record in results["same_digits"] + results["experiments"]:
        known = (
            ORIGINAL[record["order"], record["bits"]] if record in results["same_digits"] else ()
        )
        rows += rate_rows(record, known)
    for row in results["depth"]:
        what = f"nz {row['levels']}, {row['order']}"
        initial = ORIGINAL_DEPTH[row["levels"], row["order"]]
        rows.append(["random weights", what, "initial_bits", "bit", row["initial_bits"], initial])
    for row in results["codecs"]:
        what = f"{row['protocol']}, {row['experiments']} x {row['images']} digits"
        theirs = ORIGINAL_CODECS[row["protocol"]][row["codec"]]
        rows.append(["classical codecs", what, row["codec"], "bit/dim",
                     round(row["bits_per_dim"], 4), theirs])  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=Path, help="the imported model")
    parser.add_argument("--experiments", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--json", type=Path, help="also write the results here, and as CSV beside")
    options = parser.parse_args()
    results = measure(options.model, options.experiments)
    rows = table(results)
    for row in rows:
        print("\t".join("" if cell is None else str(cell) for cell in row))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
        write_csv(options.json.with_suffix(".csv"), COLUMNS, rows)


if __name__ == "__main__":
    main()

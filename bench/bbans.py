"""BB-ANS: rates and times of the published weights, and of the shipped models, on MNIST.

    python bench/bbans.py ../shared/golden/bitswap --json bench/results/bbans.json

WEIGHTS is a folder with the original's ``bbans_*.safetensors``. They are imported, files of the
first test digits and of all 10,000 are written and decoded, and the rates stand beside the original
program's, on the same digits. A file is one draw of the latents; ``net`` is the mean over
several messages with other initial words, with its standard error over them, as is the ELBO (in
floating point). Times are of one thread's CPU, start-up excluded; the original's were measured on
another machine (Intel Xeon, 2.5 GHz). ``--json`` also writes the rows as CSV beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import nc_core
from nc_bitswap.bbans.codec import BbansCodec
from nc_bitswap.bbans.data import VaeImages
from nc_bitswap.bbans.evaluate import evaluate_bounds
from nc_bitswap.bbans.importers import recognise
from nc_bitswap.bbans.model import Vae
from nc_bitswap.bbans.release import float_model, load
from nc_bitswap.importers import write_imported_vae
from nc_core.ans import Message, Rans
from nc_core.importing import read_state_dict
from nc_core.model_file import ModelFile
from nc_core.models import find_model_file, installed
from nc_core.plots import write_csv

SCHEMA = "nc-bench-bbans/1"
ALL = 10_000
DRAWS = 8


@dataclass(frozen=True)
class Original:
    """What the original program gave, in bits per pixel and seconds of CPU per image."""

    published: float | None
    count: int
    net: float
    elbo: float
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Case:
    """A model, the digits that it codes, and what is known of it."""

    model: str
    train: str
    test: str
    original: Original | None = None


CASES = (
    Case("bbans_binary_20", "mnist:train?binarize=threshold", "mnist:test?binarize=threshold",
         Original(None, 500, 0.2060, 0.2064, 0.0902, 0.1053)),
    Case("bbans_binary_random_40", "mnist:train", "mnist:test?binarize=random&seed=0",
         Original(0.19, 1000, 0.1933, 0.1934, 0.0902, 0.1362)),
    Case("bbans_beta_binomial_50", "mnist:train", "mnist:test",
         Original(1.41, 500, 1.3483, 1.3325, 0.2835, 0.4379)),
    Case("bbans-mnist-binary", "", "mnist:test?binarize=random&seed=0"),
    Case("bbans-mnist", "", "mnist:test"),
)  # fmt: skip


def model_path(case: Case, weights: Path, folder: Path) -> str:
    """The published weights as a model file, or the name of a shipped model."""
    if case.original is None:
        return case.model
    path = folder / f"{case.model}.safetensors"
    vae = recognise(read_state_dict(weights / path.name))
    if vae is None:
        raise SystemExit(f"{weights / path.name}: no VAE of BB-ANS")
    write_imported_vae(path, vae, nc_core.open_dataset(case.train))
    return str(path)


def float_elbo(
    vae: Vae | None, codec: BbansCodec, pixels: np.ndarray, draws: int
) -> dict[str, Any]:
    """Mean and standard error over draws, and the loss with the latent at its mean."""
    tables = []
    for seed in range(draws):
        measured = evaluate_bounds(vae, None if seed else codec, pixels, seed=seed)
        tables.append({one.name: one.value for one in measured})
    found: dict[str, Any] = {"exact_elbo": tables[0]["exact_elbo"]}
    if vae is not None:
        values = np.array([table["elbo"] for table in tables])
        found |= {
            "elbo": values.mean(),
            "elbo_standard_error": values.std(ddof=1) / math.sqrt(draws),
            "mean_latent_loss": tables[0]["mean_latent_loss"],
        }
    return found


def net_rates(codec: BbansCodec, blocks: np.ndarray) -> dict[str, Any]:
    """Growth of a message by all digits, in bits per pixel, over several initial words."""
    rates = []
    for seed in range(DRAWS):
        message = Message(1, codec.initial_words, seed=1000 + seed)
        before = message.bits
        codec.push(Rans(), message, blocks)
        rates.append((message.bits - before) / blocks.size)
    return {
        "net": np.mean(rates),
        "net_standard_error": np.std(rates, ddof=1) / math.sqrt(DRAWS),
        "net_best": min(rates),
        "net_worst": max(rates),
    }


def code(model: str, dataset: str, count: int) -> dict[str, Any]:
    """The rate of a file, and CPU time per image."""
    data = nc_core.open_dataset(dataset)
    with TemporaryDirectory(prefix="nc-bbans-") as folder:
        path = Path(folder, "digits.ncz")
        start = time.process_time()
        rate = nc_core.compress(data, path, model=model, limit=count, verify=False).rate
        middle = time.process_time()
        decoded = np.asarray(nc_core.decompress(path, model=model))
        end = time.process_time()
    if not np.array_equal(decoded, np.stack([data[i]["image"] for i in range(count)])):
        raise SystemExit(f"{model}: {count} digits did not come back")
    times = {"encode_seconds": (middle - start) / count, "decode_seconds": (end - middle) / count}
    record = replace(rate, verified=True).to_json()
    payload = {"payload_bits_per_dim": rate.payload_bits / rate.dims}
    return {key: value for key, value in record.items() if key != "schema"} | payload | times


def rows_of(case: Case, file: ModelFile, model: str) -> list[dict[str, Any]]:
    """Rows of a case: the original's digits, and all."""
    codec = load(file)
    vae = float_model(file) if file.extras() else None
    original = case.original
    counts = [ALL] if original is None else [original.count, ALL]
    images = VaeImages(nc_core.open_dataset(case.test), codec.architecture)
    code(model, case.test, 70)  # compiles kernels
    rows = []
    for count in counts:
        pixels = images.first(count)
        few = count < ALL
        row: dict[str, Any] = {"model": case.model, "dataset": case.test, "digits": count}
        row |= float_elbo(vae, codec, pixels, DRAWS if few else 2)
        if few:
            row |= net_rates(codec, pixels.reshape(-1, *codec.architecture.image_shape))
        row |= code(model, case.test, count)
        row["payload_over_bound_percent"] = 100 * (row["payload_bits"] / row["bound_bits"] - 1)
        if original is not None:
            row["published"] = original.published
            row["original_encode_seconds"] = original.encode_seconds
            row["original_decode_seconds"] = original.decode_seconds
            row["times_faster_encode"] = original.encode_seconds / row["encode_seconds"]
            row["times_faster_decode"] = original.decode_seconds / row["decode_seconds"]
        if original is not None and few:
            row |= {"original_net": original.net, "original_elbo": original.elbo}
        print_row(row)
        rows.append({key: plain(value) for key, value in row.items()})
    return rows


def plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def print_row(row: dict[str, Any]) -> None:
    parts = [f"{row['model']}, first {row['digits']:,}:"]
    for name in ("elbo", "net", "payload_bits_per_dim", "bits_per_dim", "original_net"):
        if name in row:
            parts.append(f"{name} {row[name]:.4f}")
    parts.append(f"{1e3 * row['encode_seconds']:.2f} / {1e3 * row['decode_seconds']:.2f} ms")
    print("  ".join(parts), flush=True)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text(json.dumps({"schema": SCHEMA, "rows": rows}, indent=2) + "\n")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(
        path.with_suffix(".csv"), columns, ([row.get(key, "") for key in columns] for row in rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "weights", metavar="WEIGHTS", type=Path, help="folder of bbans_*.safetensors"
    )
    parser.add_argument("--only", action="append", help="a model; may be repeated (default: all)")
    parser.add_argument("--json", type=Path, help="also write the results here, and as CSV beside")
    options = parser.parse_args()
    torch.set_num_threads(1)
    plugins, rows = installed(), []
    with TemporaryDirectory(prefix="nc-bbans-") as folder:
        for case in CASES:
            if options.only and case.model not in options.only:
                continue
            model = model_path(case, options.weights, Path(folder))
            _, file = find_model_file(model, plugins)
            rows += rows_of(case, file, model)
    if options.json:
        write(options.json, rows)


if __name__ == "__main__":
    main()

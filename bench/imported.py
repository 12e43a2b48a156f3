"""Checkpoints that the original program made, imported, and files of them beside its own runs.

    python bench/imported.py shared/golden/bitswap --mnist shared/data/mnist \\
        --json bench/results/imported.json

Every step is a command as a user would type it: ``nc run bitswap import-checkpoint``,
``nc compress``, ``nc decompress``; the images must come back. ``original`` is what the original
printed for the same images and weights: for digits the net rate of a coding run; for the two colour
models, which were only initialised, the negative ELBO at one draw of the latents. Ours is the rate
of the file without header and initial bits, at other draws. So either number has the noise of one
draw, of which ``elbo_deviation`` tells the size: the standard deviation of the real-valued model's
ELBO over 30 draws. ``--json`` also writes a table as CSV beside it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.discretization import top_centres, top_edges, uniform_edges
from nc_bitswap.importers import import_checkpoint
from nc_core.datasets.idx import read_idx
from nc_core.plots import write_csv

SCHEMA = "nc-bench-imported/1"
ORDERS = ("bit-swap", "bb-ans")
DIGITS = 100
DRAWS = 30


@dataclass(frozen=True)
class Case:
    """One checkpoint, images, and what the original measured with them.

    Args:
        kind: of the model.
        checkpoint: its file.
        images: uint8, (n, C, H, W).
        ranges: (low, high) of the bins of every level below the top; None to derive bins.
        bits: log2 of the number of bins.
        original: bits per dimension, by order.
        what: what these are.
    """

    kind: str
    checkpoint: Path
    images: NDArray[np.uint8]
    ranges: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]] | None
    bits: int
    original: dict[str, float]
    what: str


def cases(golden: Path, mnist: Path) -> Iterator[Case]:
    run = np.load(golden / "encode_run_mnist_nz2.npz")
    measured = json.loads((golden / "measured.json").read_text())["tiny_mnist_coding"]
    digits = read_idx(mnist / "t10k-images-idx3-ubyte.gz", 3)
    chosen = np.random.RandomState(100).choice(len(digits), len(digits), replace=False)[:DIGITS]
    padded = np.pad(digits[chosen], ((0, 0), (2, 2), (2, 2)))[:, None]
    ranges = [(run["bins_lo0"], run["bins_hi0"])]
    yield Case(
        "MNIST", golden / "encode_run_mnist_nz2.model.safetensors", padded, ranges, 10,
        {order: net_rate(measured, order) for order in ORDERS}, "net rate of 100 digits",
    )  # fmt: skip
    for kind, name in (("CIFAR-10", "cifar_nz2"), ("ImageNet crop", "imagenetcrop_nz4")):
        document = json.loads((golden / f"model_{name}.json").read_text())
        images = np.load(golden / f"model_{name}.npz")["warm_x"]
        elbo = document["warmup_scalars"]["elbo/train"]
        yield Case(
            kind, golden / f"model_{name}.warm.safetensors", images, None, 8,
            dict.fromkeys(ORDERS, elbo), "negative ELBO of 16 images",
        )  # fmt: skip


def net_rate(measured: Any, order: str) -> float:
    """The original's net rate, in bits per dimension of padded digits."""
    return float(measured["q10_bs1" if order == "bit-swap" else "q10_bs0"]["net_mean"])


def measure(case: Case, folder: Path) -> Iterator[dict[str, Any]]:
    """Import a checkpoint, and code the images with it in both orders."""
    images, model = folder / "images.npy", folder / "model.safetensors"
    np.save(images, case.images)
    dataset = f"npy:{images}?layout=chw"
    source = ["--bits", str(case.bits)]
    if case.ranges is not None:
        source = ["--bins", *map(str, save_bins(case.ranges, case.bits, folder))]
    imported = nc("run", "bitswap", "import-checkpoint", str(case.checkpoint), "-o", str(model),
                  "--dataset", dataset, "--force", "--json", *source)  # fmt: skip
    elbos = elbo_draws(case)
    for order in ORDERS:
        packed, restored = folder / "images.ncz", folder / "restored"
        rate = nc("compress", "--dataset", dataset, "--model", str(model), "--order", order,
                  "-o", str(packed), "--force", "--json")  # fmt: skip
        nc("decompress", str(packed), "--model", str(model), "-o", str(restored), "--force")
        (file,) = restored.iterdir()
        if not np.array_equal(np.load(file), case.images):
            raise SystemExit(f"{case.kind}, {order}: the images did not come back")
        yield {
            "kind": case.kind,
            "checkpoint": case.checkpoint.name,
            "recognised_as": imported["kind"],
            "order": order,
            "bins": imported["bins"],
            "bins_bits": case.bits,
            "images": len(case.images),
            "original_is": case.what,
            "original_bits_per_dim": case.original[order],
            "bits_per_dim_marginal": rate["bits_per_dim_marginal"],
            "difference": rate["bits_per_dim_marginal"] - case.original[order],
            "bound_bits_per_dim": rate["bound_bits"] / rate["dims"],
            "file_bits_per_dim": rate["bits_per_dim"],
            "initial_bits": rate["initial_bits"],
            "elbo_mean": float(elbos.mean()),
            "elbo_deviation": float(elbos.std(ddof=1)),
            "elbo_draws": len(elbos),
        }


def elbo_draws(case: Case) -> NDArray[np.float64]:
    """Negative ELBOs of the images under the imported weights, bits per dimension, one per draw."""
    model = import_checkpoint(case.checkpoint)
    images = torch.from_numpy(case.images)
    torch.manual_seed(0)
    with torch.no_grad():
        draws = [float(model(images).information().mean()) for _ in range(DRAWS)]
    return np.array(draws) / model.architecture.dims


def save_bins(
    ranges: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], bits: int, folder: Path
) -> tuple[Path, Path]:
    """The two files in which the original keeps such bins."""
    dims = len(ranges[0][0])
    levels = [uniform_edges(low, high, bits) for low, high in ranges]
    top = [np.tile(values(bits), (dims, 1)) for values in (top_edges, top_centres)]
    paths = folder / f"nz_zendpoints{bits}.pt", folder / f"nz_zcentres{bits}.pt"
    for index, path in enumerate(paths):
        table = np.stack([*(level[index] for level in levels), top[index]])
        torch.save(torch.from_numpy(table.astype(np.float64)), path)
    return paths


def nc(*arguments: str) -> Any:
    """Run a command; the document that it prints, where it prints one."""
    done = subprocess.run(
        [sys.executable, "-m", "nc_cli", *arguments], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout) if "--json" in arguments else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("golden", metavar="FOLDER", type=Path, help="the original's checkpoints")
    parser.add_argument("--mnist", type=Path, required=True, help="folder of the official files")
    parser.add_argument("--json", type=Path, help="also write the results here, and as CSV beside")
    options = parser.parse_args()
    rows = []
    for case in cases(options.golden, options.mnist):
        with TemporaryDirectory(prefix="nc-imported-") as folder:
            for row in measure(case, Path(folder)):
                rows.append(row)
                print(f"{row['kind']:14} {row['order']:9} {row['bits_per_dim_marginal']:.4f}, "
                      f"original {row['original_bits_per_dim']:.4f} ({row['original_is']}), "
                      f"difference {row['difference']:+.4f}", flush=True)  # fmt: skip
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime
    print(f"{seconds:.0f} s of CPU for all commands")
    if options.json:
        document = {"schema": SCHEMA, "cpu_seconds": seconds, "rows": rows}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
        write_csv(
            options.json.with_suffix(".csv"), list(rows[0]), (list(row.values()) for row in rows)
        )


if __name__ == "__main__":
    main()

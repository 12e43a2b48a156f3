"""What bits-back coding borrows, in both orders: trained models of several depths on digits.

    python bench/orders.py runs/nz1 runs/nz2 runs/nz4 --json bench/results/orders.json \\
        --figure docs/images/initial-bits.svg

RUN is what ``nc run bitswap train`` leaves. Every file is decoded and compared with the dataset. A
file of up to 1337 digits is one chunk with one message of one lane, so its initial bits are paid
once. They depend on its first digit only; so each of the first digits is also coded alone.
``--json`` also writes the files as CSV beside it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

import nc_core
from nc_core.ans import Message, Rans
from nc_core.models import find_model_file, installed, load_model
from nc_core.plots import Colours, look, save_figure, write_csv
from nc_core.plugins import PluginManager
from nc_core.protocols import Dataset, Distribution, LosslessModel
from nc_core.runs import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERS = ("bit-swap", "bb-ans")
TITLES = {"bit-swap": "Bit-Swap", "bb-ans": "BB-ANS"}
SCHEMA = "nc-bench-orders/1"
COUNTS = (1, 100, 1000)
ALONE = 100


class Watching(Rans):
    """A coder that notes by how many bits each pop lowers the low-water mark of its message."""

    def __init__(self) -> None:
        self.borrowed: list[int] = []

    def pop(self, message: Message, distribution: Distribution) -> np.ndarray:
        before = message.low_water
        symbols = super().pop(message, distribution)
        self.borrowed.append(32 * (before - message.low_water))
        return symbols


def describe(run: Path, plugins: PluginManager) -> dict[str, Any]:
    """The model of a run, and how well it was trained."""
    _, file = find_model_file(run, plugins)
    evaluations = [r for r in RunDirectory.open(run).metrics() if r["phase"] == "evaluate"]
    best = min(evaluations, key=lambda record: record["elbo"])
    return {
        "levels": file.config["architecture"]["levels"],
        "model_id": file.id,
        "epochs": best["epoch"],
        "test_elbo_bits_per_padded_dim": best["elbo"],
    }


def code(model: Path, order: str, data: Dataset, count: int) -> dict[str, Any]:
    """The rate of a file of the first digits, which decodes to them."""
    with TemporaryDirectory(prefix="nc-orders-") as folder:
        path = Path(folder, "digits.ncz")
        rate = nc_core.compress(
            data, path, model=str(model), order=order, limit=count, verify=False
        ).rate
        decoded = np.asarray(nc_core.decompress(path, model=str(model)))
    if not np.array_equal(decoded, np.stack([data[i]["image"] for i in range(count)])):
        raise SystemExit(f"{model}, {order}: {count} digits did not come back")
    return replace(rate, encode_seconds=None, verified=True).to_json()


def borrow_alone(model: LosslessModel, levels: int, data: Dataset) -> dict[str, Any]:
    """Mean initial bits of digits that are coded alone, and the level that each was borrowed for.

    A push of one block pops every level's latents once, the lowest level first.
    """
    rows = []
    for index in range(ALONE):
        coder, message = Watching(), Message(1, model.initial_words, seed=index)
        model.push(coder, message, data[index]["image"][None, None])
        rows.append(coder.borrowed)
    bits = np.array(rows, float)
    assert bits.shape == (ALONE, levels)
    total = bits.sum(axis=1)
    return {
        "digits": ALONE,
        "initial_bits": total.mean(),
        "standard_error": total.std(ddof=1) / math.sqrt(ALONE),
        "initial_bits_by_level": bits.mean(axis=0).tolist(),
    }


def measure(runs: Sequence[Path], dataset: str) -> dict[str, Any]:
    plugins = installed()
    data = nc_core.open_dataset(dataset)
    models, files, alone = [], [], []
    for run in runs:
        model = describe(run, plugins)
        models.append(model)
        for order in ORDERS:
            key = {"levels": model["levels"], "order": order}
            codec = load_model(run, plugins, order=order)
            alone.append(key | borrow_alone(codec, model["levels"], data))
            files += [key | code(run, order, data, count) for count in COUNTS]
    tables = {"models": models, "files": files, "alone": alone}
    ordered = {name: sorted(rows, key=itemgetter("levels")) for name, rows in tables.items()}
    return {"schema": SCHEMA, "dataset": dataset, **ordered}


def draw(alone: Sequence[dict[str, Any]]) -> Figure:
    """Initial bits over the number of levels, stacked by the level that they are borrowed for."""
    depths = sorted({row["levels"] for row in alone})
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.add_subplot()
        for row in alone:
            ours = row["order"] == ORDERS[0]
            place = depths.index(row["levels"]) + (-0.19 if ours else 0.19)
            colour = Colours.ours if ours else Colours.other
            bottom = 0.0
            for level, bits in enumerate(row["initial_bits_by_level"]):
                axes.bar(
                    place, bits, 0.34, bottom, color=colour, alpha=0.7**level,
                    edgecolor="white", linewidth=0.8,
                )  # fmt: skip
                if bits > 350:
                    axes.annotate(
                        f"z{level + 1}", (place, bottom + bits / 2), ha="center", va="center",
                        fontsize=7, color="white" if level < 1 else Colours.text,
                    )  # fmt: skip
                bottom += bits
            axes.annotate(
                f"{TITLES[row['order']]}\n{bottom:,.0f}", (place, bottom), xytext=(0, 3),
                textcoords="offset points", ha="center", va="bottom", fontsize=8,
                fontweight="bold" if ours else "normal", color=colour if ours else Colours.text,
            )  # fmt: skip
        axes.set_xticks(range(len(depths)), [f"nz = {depth}" for depth in depths])
        axes.set(title="Initial bits of a digit that is coded alone, and the level they are for",
                 ylabel=f"bits (mean of {alone[0]['digits']} digits)")  # fmt: skip
        axes.margins(y=0.16)
        axes.grid(visible=False)
        axes.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def write(path: Path, results: dict[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=2) + "\n")
    rows = results["files"]
    columns = [key for key in rows[0] if key not in ("schema", "encode_seconds", "decode_seconds")]
    write_csv(path.with_suffix(".csv"), columns, ([row[key] for key in columns] for row in rows))


def print_tables(results: dict[str, Any]) -> None:
    print(f"{'nz':>2} {'order':9}{'digits':>7}{'bound':>9}{'payload':>9}{'total':>9}{'marginal':>9}"
          f"{'initial bits':>14}{'header bits':>13}")  # fmt: skip
    for row in results["files"]:
        rates = [row["bound_bits"] / row["dims"], row["payload_bits"] / row["dims"],
                 row["bits_per_dim"], row["bits_per_dim_marginal"]]  # fmt: skip
        print(f"{row['levels']:>2} {row['order']:9}{row['items']:>7}",
              *(f"{rate:8.4f}" for rate in rates),
              f"{row['initial_bits']:13,}{row['header_bits']:13,}")  # fmt: skip
    for row in results["alone"]:
        parts = ", ".join(f"{bits:.0f}" for bits in row["initial_bits_by_level"])
        mean = f"{row['initial_bits']:.0f} +- {row['standard_error']:.0f}"
        print(f"nz {row['levels']}, {row['order']}, a digit alone: {mean} initial bits ({parts})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run directories")
    parser.add_argument("--dataset", default="mnist:test", help="digits (default mnist:test)")
    parser.add_argument("--json", type=Path, help="also write the results here, and as CSV beside")
    parser.add_argument("--figure", type=Path, help="draw initial bits here; data beside it")
    options = parser.parse_args()
    results = measure(options.runs, options.dataset)
    print_tables(results)
    if options.json:
        write(options.json, results)
    if options.figure:
        alone = results["alone"]
        table = [
            [row["levels"], row["order"], level + 1, bits]
            for row in alone
            for level, bits in enumerate(row["initial_bits_by_level"])
        ]
        columns = ["levels", "order", "level", "initial_bits"]
        save_figure(draw(alone), options.figure, columns, table)


if __name__ == "__main__":
    main()

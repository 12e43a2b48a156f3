"""The paper's figure of training: the reconstruction and each level's divergence, stacked."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nc_bitswap.published import published
from nc_core.errors import DataError
from nc_core.files import describe_os_error
from nc_core.plots import Colours, check_suffix, look, save_figure
from nc_core.runs import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curve", "folder_curve", "plot_stack", "published_curve"]

_NAME = re.compile(r"(?<![a-z])(x|z\d+)[_/ -](?:reconstruction|KL)", re.IGNORECASE)
_PANELS_IN_A_ROW = 3
# Runs measure padded images, and published curves of MNIST count the pixels of a digit.
_PADDED_OVER_DIGIT = 32**2 / 28**2
_SHADES = ("#f4f8fc", "#0b4a8f")


@dataclass(frozen=True)
class Curve:
    """Terms of the bound over training.

    Args:
        title: of the panel.
        unit: of the terms.
        places: where on the axis, (n,); only those above 0 are drawn.
        axis: what they count.
        terms: by name, ``x`` first, then ``z1`` ..., each (n,).
    """

    title: str
    unit: str
    places: NDArray[np.float64]
    axis: str
    terms: dict[str, NDArray[np.float64]]

    def averaged(self, count: int) -> Curve:
        """Means of so many neighbouring evaluations, or of all if there are fewer."""
        window = np.full(min(count, len(self.places)), 1 / min(count, len(self.places)))
        terms = {name: np.convolve(term, window, "valid") for name, term in self.terms.items()}
        return Curve(self.title, self.unit, self.places[len(window) - 1 :], self.axis, terms)


def folder_curve(path: Path) -> Curve:
    """The curve of a training run, or of a folder of CSV exports of TensorBoard.

    Exports have the columns ``Wall time,Step,Value``; their names contain the tag, as in
    ``run-nz2-tag-x_reconstruction_test.csv`` and ``run-nz2-tag-z1_KL_test.csv``.

    Raises:
        DataError: neither, damaged, or without evaluations.
    """
    if (path / "config.json").exists():
        return _run_curve(path)
    files = {
        match[1].lower(): file
        for file in sorted(path.glob("*.csv"))
        if (match := _NAME.search(file.name))
    }
    if "x" not in files:
        raise DataError(
            f"{path}: neither a training run nor a folder of CSV exports",
            "exports are called ...x_reconstruction_test.csv, ...z1_KL_test.csv",
        )
    tables = {name: _read_export(files[name]) for name in sorted(files, key=_place)}
    # Exports may be thinned out, each in its own way.
    common = set.intersection(*(set(table) for table in tables.values()))
    if not common:
        raise DataError(f"{path}: the exports have no step in common")
    steps = sorted(common)
    terms = {name: np.array([table[s] for s in steps]) for name, table in tables.items()}
    return Curve(path.name, "bits per dimension, as exported", np.array(steps), "step", terms)


def published_curve(name: str) -> Curve:
    """The published curve of a model, at selected epochs."""
    results = published(name)
    records = results["learning_curve"]
    terms = {"x": np.array([record["x"] for record in records])}
    for level in range(results["levels"]):
        terms[f"z{level + 1}"] = np.array([record["kl"][level] for record in records])
    epochs = np.array([float(record["epoch"]) for record in records])
    title = f"published: {results['dataset']}, nz {results['levels']}"
    return Curve(title, "bits per dimension", epochs, "epoch", terms)


def plot_stack(curves: Sequence[Curve], path: Path, average: int = 1) -> None:
    """Stacked areas on a logarithmic axis: white for x, bluer with each level.

    Args:
        curves: a panel each.
        path: of the figure; the numbers go beside it as CSV.
        average: evaluations of a moving average (the paper: 18, 4 and 1 for MNIST, CIFAR-10 and
            ImageNet).

    Raises:
        UsageError: a format that cannot be saved.
        DataError: a curve with fewer than two places above 0.
    """
    check_suffix(path)
    for curve in curves:
        if (curve.places > 0).sum() < 2:
            raise DataError(
                f"{curve.title}: fewer than two evaluations to plot", "train for longer"
            )
    shown = [curve.averaged(average) for curve in curves]
    columns = min(len(shown), _PANELS_IN_A_ROW)
    rows = math.ceil(len(shown) / columns)
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3.3 * columns + 0.5, 2.8 * rows + 0.2))
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, curve in zip(grid.flat, shown, strict=False):
            _draw(axes, curve)
        for axes in grid.flat[len(shown) :]:
            axes.set_visible(False)
    table = [
        [curve.title, curve.axis, place, name, value, curve.unit]
        for curve in shown
        for name, term in curve.terms.items()
        for place, value in zip(curve.places.tolist(), term.tolist(), strict=True)
    ]
    save_figure(figure, path, ["panel", "axis", "place", "term", "value", "unit"], table)


def _run_curve(path: Path) -> Curve:
    run = RunDirectory.open(path)
    evaluations = [
        record
        for record in run.metrics()
        if record.get("phase") == "evaluate" and "x/reconstruction" in record
    ]
    if not evaluations:
        raise DataError(f"{path}: no evaluations of a hierarchical VAE")
    levels = sum(bool(re.fullmatch(r"z\d+/KL", name)) for name in evaluations[0])
    keys = {"x": "x/reconstruction"} | {f"z{n}": f"z{n}/KL" for n in range(1, levels + 1)}
    axis = "epoch" if "epoch" in evaluations[0] else "step"
    data = run.config["data"]["test"]
    digits = data.startswith("mnist")
    factor = _PADDED_OVER_DIGIT if digits else 1.0
    return Curve(
        f"{path.name}: {data}, nz {levels}",
        "bits per pixel" if digits else "bits per dimension (padded)",
        np.array([float(record[axis]) for record in evaluations]),
        axis,
        {
            name: factor * np.array([float(record[key]) for record in evaluations])
            for name, key in keys.items()
        },
    )


def _read_export(path: Path) -> dict[float, float]:
    try:
        with path.open(newline="") as file:
            return {float(row["Step"]): float(row["Value"]) for row in csv.DictReader(file)}
    except OSError as error:
        raise describe_os_error(error, path) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no export with the columns Wall time, Step, Value") from error


def _place(name: str) -> int:
    return 0 if name == "x" else int(name[1:])


def _draw(axes: Axes, curve: Curve) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import FuncFormatter, LogLocator

    kept = curve.places > 0
    shades = LinearSegmentedColormap.from_list("levels", _SHADES)
    count = max(len(curve.terms) - 1, 1)
    columns = [term[kept] for term in curve.terms.values()]
    axes.stackplot(
        curve.places[kept], *columns, labels=list(curve.terms),
        colors=[shades(number / count) for number in range(len(columns))],
        edgecolor=Colours.other, linewidth=0.4,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter("")
    places = curve.places[kept]
    highest = float(np.sum(columns, axis=0).max())
    axes.set_title(curve.title, fontsize=8)
    axes.set(xlabel=f"{curve.axis} (log scale)", xlim=(places[0], places[-1]),
             ylabel=curve.unit, ylim=(0.8 * float(columns[0].min()), 1.12 * highest))  # fmt: skip
    axes.legend(loc="upper right", ncols=3, fontsize=7)

"""Figures: sheets of images, and where the bits go during training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError

__all__ = ["image_sheet", "plot_terms"]


def image_sheet(images: NDArray[np.uint8], columns: int = 8) -> NDArray[np.uint8]:
    """Images side by side, in rows.

    Args:
        images: (n, C, H, W), C = 1 or 3.
        columns: of the sheet.

    Returns:
        uint8, (rows * H, columns * W) or (rows * H, columns * W, 3); unused places are black.
    """
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    places = np.zeros((rows * columns, channels, height, width), np.uint8)
    places[:count] = images
    sheet = places.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    return sheet[..., 0] if channels == 1 else sheet


def plot_terms(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Stacked bits of the reconstruction and of each level's divergence over training.

    Args:
        records: of a run's ``metrics.jsonl``.
        path: ``.svg`` or ``.png``; the numbers go beside it as CSV.

    Raises:
        DataError: no evaluations among the records.
    """
    from matplotlib.figure import Figure

    from nc_core.plots import check_suffix, look, write_csv

    check_suffix(path)
    evaluations = [r for r in records if r.get("phase") == "evaluate" and "x/reconstruction" in r]
    if not evaluations:
        raise DataError("no evaluations to plot", "train for at least one evaluation")
    names = ["x/reconstruction", *_divergences(evaluations[0])]
    places = [r.get("epoch", r["step"]) for r in evaluations]
    columns = [[float(r[name]) for r in evaluations] for name in names]
    with look():
        figure = Figure()
        axes = figure.add_subplot()
        axes.stackplot(places, *columns, labels=names)
        axes.set_xlabel("epochs" if "epoch" in evaluations[0] else "steps")
        axes.set_ylabel("bits per dimension")
        axes.legend(loc="upper right")
        figure.savefig(path)
    write_csv(path.with_suffix(".csv"), ["step", *names], _rows(evaluations, names))


def _divergences(record: Mapping[str, Any]) -> list[str]:
    names = [name for name in record if name.startswith("z") and name.endswith("/KL")]
    return sorted(names, key=lambda name: int(name[1:-3]))


def _rows(evaluations: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
    return [[record["step"], *(record[name] for name in names)] for record in evaluations]

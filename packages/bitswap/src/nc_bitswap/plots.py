"""Figures: where the bits go during training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nc_core.errors import DataError
from nc_core.plots import check_suffix, look, save_figure

__all__ = ["plot_terms"]


def plot_terms(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Stacked terms of the bound over training: what each level of a model costs.

    Args:
        records: of a run's ``metrics.jsonl``, of whichever family.
        path: of the figure; the numbers go beside it as CSV.

    Raises:
        UsageError: a format that cannot be saved.
        DataError: no evaluations among the records.
    """
    evaluations = [record for record in records if record.get("phase") == "evaluate"]
    if not evaluations:
        raise DataError("no evaluations to plot", "train for at least one evaluation")
    names = _terms(evaluations[0])
    by_epoch = "epoch" in evaluations[0]
    places = [record["epoch" if by_epoch else "step"] for record in evaluations]
    columns = [[float(record[name]) for record in evaluations] for name in names]
    check_suffix(path)
    with look():
        from matplotlib.figure import Figure

        figure = Figure()
        axes = figure.add_subplot()
        if len(places) > 1:
            axes.stackplot(places, *columns, labels=names)
        else:  # an area of one point is none
            bottoms = np.cumsum([[0.0], *columns[:-1]], axis=0)
            for name, column, bottom in zip(names, columns, bottoms, strict=True):
                axes.bar(places, column, bottom=bottom, width=0.4, label=name)
        axes.set(title="Terms of the bound", ylabel="bits per dimension",
                 xlabel="epochs" if by_epoch else "steps")  # fmt: skip
        axes.legend(loc="upper right")
    rows = [[record["step"], *(record[name] for name in names)] for record in evaluations]
    save_figure(figure, path, ["step", *names], rows)


def _terms(record: Mapping[str, Any]) -> list[str]:
    """Names of the terms that add up to the bound."""
    if "x/reconstruction" not in record:
        return [name for name in record if name not in ("step", "phase", "epoch", "elbo")]
    divergences = [name for name in record if re.fullmatch(r"z\d+/KL", name)]
    return ["x/reconstruction", *sorted(divergences, key=lambda name: int(name[1:-3]))]

"""The paper's figure of cumulative moving averages: what initial bits cost, image after image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nc_bitswap.console import TITLES
from nc_bitswap.experiment_results import finished_arrays
from nc_bitswap.published import published
from nc_core.errors import DataError
from nc_core.plots import Colours, check_suffix, look, save_figure
from nc_core.runs import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Averages", "Panel", "plot_cma", "published_panel", "run_panels", "table_rows"]

_COLUMNS = ("panel", "order", "images", "cma_mean", "cma_std", "elbo_mean", "net_mean", "net_std")
_COLOURS = {"bit-swap": "#2c8a4b", "bb-ans": "#c0392b"}
_NET = "#2f6fb7"
_COUNTS = (1, 50, 100)
_PANELS_IN_A_ROW = 3


@dataclass(frozen=True)
class Averages:
    """Cumulative averages of one order, over the number of images coded.

    Args:
        counts: of images, (n,).
        mean, deviation: over experiments, (n,), bits per dimension.
        elbo: mean, or None.
        net: mean and standard deviation over all images.
        initial_bits: per dimension of one image, for the line between few points.
    """

    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    elbo: float | None
    net: tuple[float, float]
    initial_bits: float


@dataclass(frozen=True)
class Panel:
    """One panel of the figure.

    Args:
        title: what was coded, and with what.
        averages: by order.
        net: mean and standard deviation over the images of both orders.
        published: of the authors; given at few counts only.
    """

    title: str
    averages: Mapping[str, Averages]
    net: tuple[float, float]
    published: bool = False


def run_panels(path: Path) -> list[Panel]:
    """Panels of what ``nc run bitswap experiment`` left: one for each number of bits.

    Rates are per dimension without padding. Experiments that are not finished are left out.

    Raises:
        DataError: not such a run, or nothing in it is finished.
    """
    run = RunDirectory.open(path)
    if run.about.get("command") != "bitswap experiment":
        raise DataError(
            f"{path}: no run of experiments", "'nc run bitswap experiment' makes such runs"
        )
    config = run.config
    panels = []
    finished = finished_arrays(path)
    for bits in sorted({bits for _, bits in finished}):
        of_bits = {order: found for (order, its), found in finished.items() if its == bits}
        averages = {order: _averages(found, config) for order, found in of_bits.items()}
        nets = np.concatenate([found["nets"].ravel() for found in of_bits.values()])
        pooled = nets * config["padded_dims"] / config["dims"]
        title = f"{path.name}: {config['dataset']}, nz {config['levels']}, {bits} bits"
        panels.append(Panel(title, averages, (float(pooled.mean()), float(pooled.std()))))
    if not panels:
        raise DataError(f"{path}: no experiment is finished", "go on with it: --resume")
    return panels


def published_panel(name: str) -> Panel:
    """The published results of one model, which are known after 1, 50 and 100 images."""
    results = published(name)
    dims = 784 if results["dataset"] == "mnist" else 3072
    averages = {
        order: Averages(
            np.array(_COUNTS),
            np.array([results[order][f"cma{count}_mean"] for count in _COUNTS]),
            np.array([results[order][f"cma{count}_std"] for count in _COUNTS]),
            results[order]["elbo_mean"],
            (results[order]["net_mean"], results[order]["net_std"]),
            results[order]["initial_bits_mean"] / dims,
        )
        for order in TITLES
    }
    net = results["net_pooled_mean"], results["net_pooled_std"]
    return Panel(f"published: {results['dataset']}, nz {results['levels']}", averages, net, True)


def plot_cma(panels: Sequence[Panel], path: Path) -> None:
    """Mean cumulative average, one standard deviation around it, and the net rate.

    Args:
        panels: in order.
        path: of the figure; the numbers go beside it as CSV.

    Raises:
        UsageError: a format that cannot be saved.
    """
    check_suffix(path)
    columns = min(len(panels), _PANELS_IN_A_ROW)
    rows = math.ceil(len(panels) / columns)
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3.1 * columns + 0.7, 2.6 * rows + 0.3))
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw(axes, panel)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("images coded", fontsize=9)
        figure.supylabel("bits per dimension, initial bits included", fontsize=9)
        grid[0, 0].legend(loc="upper right")
    save_figure(figure, path, _COLUMNS, _rows(panels))


def table_rows(panels: Sequence[Panel]) -> list[str]:
    """Rows of the paper's table: order, ELBO, pooled net rate, average after 1, 50, 100 images."""
    lines = []
    for panel in panels:
        for order, averages in panel.averages.items():
            cells = ["-" if averages.elbo is None else f"{averages.elbo:.2f}"]
            cells.append(f"{panel.net[0]:.2f} $\\pm$ {panel.net[1]:.2f}")
            for count in _COUNTS:
                found = averages.mean[averages.counts == count]
                cells.append(f"{found[0]:.2f}" if len(found) else "-")
            lines.append(f"{panel.title} & {TITLES[order]} & " + " & ".join(cells) + r" \\")
    return lines


def _averages(arrays: Mapping[str, NDArray[np.float64]], config: Mapping[str, Any]) -> Averages:
    factor = config["padded_dims"] / config["dims"]
    cmas, nets, elbos = (factor * arrays[name] for name in ("cmas", "nets", "elbos"))
    initial = arrays["total"][:, -1].mean() / config["dims"] - nets.sum(axis=1).mean()
    return Averages(
        np.arange(1, cmas.shape[1] + 1),
        cmas.mean(axis=0),
        cmas.std(axis=0),
        float(elbos.mean()) if np.isfinite(elbos).all() else None,
        (float(nets.mean()), float(nets.std())),
        float(initial),
    )


def _draw(axes: Axes, panel: Panel) -> None:
    net, deviation = panel.net
    last = max(int(averages.counts[-1]) for averages in panel.averages.values())
    axes.axhspan(net - deviation, net + deviation, color=_NET, alpha=0.1, linewidth=0)
    axes.axhline(net, color=_NET, linestyle="-.", linewidth=1.2, label="net rate")
    for order, averages in panel.averages.items():
        colour = _COLOURS[order]
        if panel.published:
            between = np.arange(1, last + 1)
            line = averages.net[0] + averages.initial_bits / between
            axes.plot(between, line, color=colour, linewidth=0.8, linestyle=":")
            axes.errorbar(averages.counts, averages.mean, averages.deviation, color=colour,
                          fmt="o", markersize=3.5, capsize=2, label=TITLES[order])  # fmt: skip
        else:
            low, high = (averages.mean + sign * averages.deviation for sign in (-1, 1))
            axes.fill_between(averages.counts, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(averages.counts, averages.mean, color=colour, label=TITLES[order])
    axes.set(ylim=(0.7 * net, 2.3 * net), xlim=(0, last + 1))
    axes.set_title(panel.title, color=Colours.text if panel.published else Colours.ours, fontsize=8)


def _rows(panels: Sequence[Panel]) -> list[list[Any]]:
    return [
        [panel.title, order, int(count), mean, deviation, averages.elbo, *averages.net]
        for panel in panels
        for order, averages in panel.averages.items()
        for count, mean, deviation in zip(
            averages.counts, averages.mean.tolist(), averages.deviation.tolist(), strict=True
        )
    ]

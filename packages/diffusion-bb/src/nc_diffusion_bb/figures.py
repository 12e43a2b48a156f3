"""Figures: where along the chain the bits go, and rates over the number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nc_core.plots import Colours, check_suffix, look, save_figure
from nc_diffusion_bb.published import PUBLISHED, TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LevelRates", "RatePlace", "plot_levels", "plot_rates", "plot_terms"]

_TERM_TITLES = {
    "vb": "Terms of the bound",
    "mse": "Squared error of the predicted noise",
    "xstart_mse": "Squared error of the predicted image",
    "push": "Pushed at each level",
    "pop": "Popped at each level",
}
_TERM_UNITS = {
    "vb": "vb (bits per dimension)",
    "mse": "mse (noise has variance 1)",
    "xstart_mse": "xstart_mse (images range from -1 to 1)",
    "push": "push (bits per dimension)",
    "pop": "pop (bits per dimension)",
}
_ORDER_COLOURS = {"bit-swap": Colours.ours, "bb-ans": Colours.other}
_PUBLISHED_COLOURS = {"CIFAR-10": "#b0562f", "ImageNet64": "#6a4c93"}
_LOWEST_SHARE = 1e-6  # of the largest value: what lies lower is not worth the room
_MOST_DOTS = 60
_MOST_INSIDE = 5  # entries of a legend over the curves
_MARKERS = "osD^vPX"
_TICKS = [0, *(digit * 10**power for power in range(6) for digit in (1, 2, 5))]


def plot_terms(
    name: str, terms: Mapping[str, NDArray[np.float64]], path: Path
) -> tuple[Path, Path]:
    """What a step of the chain contributes: mean, mean +- deviation, smallest and largest.

    Args:
        name: ``vb``, whose last entry is the prior's term, ``mse`` or ``xstart_mse``; ``push`` or
            ``pop`` of a codec, with the pixels at 0.
        terms: ``mean``, ``stdd``, ``min``, ``max``, float64, (T,) or (T + 1,), by step t.
        path: of the figure; the numbers go beside it as CSV.

    Returns:
        paths of the figure and of the CSV file.

    Raises:
        UsageError: a format that cannot be saved.
    """
    check_suffix(path)
    mean, deviation = terms["mean"], terms["stdd"]
    steps = np.arange(len(mean))
    chain = slice(None, -1) if name == "vb" else slice(None)  # without the prior
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.8))
        axes = figure.add_subplot()
        axes.fill_between(
            steps[chain], terms["min"][chain], terms["max"][chain],
            color=Colours.background, alpha=0.45, linewidth=0, label="smallest to largest",
        )  # fmt: skip
        axes.fill_between(
            steps[chain], np.maximum(mean - deviation, terms["min"])[chain],
            (mean + deviation)[chain],
            color=Colours.ours, alpha=0.25, linewidth=0, label="mean ± deviation",
        )  # fmt: skip
        axes.plot(
            steps[chain], mean[chain], color=Colours.ours,
            marker="o" if len(mean) <= _MOST_DOTS else None, markersize=2.5, label="mean",
        )  # fmt: skip
        title = _TERM_TITLES[name]
        floor = _LOWEST_SHARE * float(np.max(terms["max"][chain]))
        if name == "vb":
            title += f": {mean.sum():.4f}, of which the prior's {mean[-1]:.2g}"
            if mean[-1] >= floor:
                axes.plot(
                    steps[-1:], mean[-1:], color=Colours.text, marker="D", markersize=4,
                    linestyle="none", label="prior's term",
                )  # fmt: skip
        _by_step(axes, len(mean) - 1)
        if name in ("push", "pop"):
            axes.set_ylim(bottom=0)
        else:
            axes.set_yscale("log")
            axes.set_ylim(bottom=max(axes.get_ylim()[0], floor))
        axes.set(title=title, xlabel="t", ylabel=_TERM_UNITS[name])
        axes.legend(loc="best")
    columns = ["t", "mean", "stdd", "min", "max"]
    rows = zip(steps.tolist(), *(terms[column].tolist() for column in columns[1:]), strict=True)
    return save_figure(figure, path, columns, rows)


@dataclass(frozen=True)
class LevelRates:
    """What a codec pushed and popped at each level, in bits per dimension.

    Args:
        push, pop: float64, (T + 1,); index 0 is the pixels, s the latent x_s.
    """

    push: NDArray[np.float64]
    pop: NDArray[np.float64]

    @property
    def net(self) -> NDArray[np.float64]:
        """Push minus pop."""
        return self.push - self.pop


def plot_levels(
    orders: Mapping[str, LevelRates], bits: NDArray[np.float64] | None, path: Path
) -> tuple[Path, Path]:
    """Pushes and pops of each level, and what remains of them beside the bound's terms.

    Only the sum over levels is the bound in every order of coding.

    Args:
        orders: by name (``bit-swap``, ``bb-ans``).
        bits: the bound's terms, (T + 1,): of the pixels, the latents, the prior; None where they
            are not known.
        path: of the figure; the numbers go beside it as CSV.

    Raises:
        UsageError: a format that cannot be saved.
    """
    check_suffix(path)
    levels = np.arange(len(next(iter(orders.values())).push))
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 7.6))
        flows, nets, sums = figure.subplots(3, 1, sharex=True, height_ratios=(1.1, 1.1, 0.9))
        if bits is not None:
            nets.plot(levels, bits, color=Colours.text, linewidth=1, linestyle="--", label="bound")
            sums.plot(levels, np.cumsum(bits), color=Colours.text, linewidth=1, linestyle="--",
                      label=f"bound: {bits.sum():.4f}")  # fmt: skip
        for order, rates in orders.items():
            colour = _ORDER_COLOURS.get(order, Colours.text)
            flows.plot(levels, rates.push, color=colour, label=f"{order}, push")
            flows.plot(levels, rates.pop, color=colour, linestyle=":", label=f"{order}, pop")
            nets.plot(levels, rates.net, color=colour, label=order)
            sums.plot(levels, np.cumsum(rates.net), color=colour,
                      label=f"{order}: {rates.net.sum():.4f}")  # fmt: skip
        flows.set(title="Pushed and popped", ylabel="bits per dimension")
        beside = "" if bits is None else ", beside the bound's terms"
        nets.set(title=f"Push minus pop{beside}", ylabel="bits per dimension")
        sums.set(title="The same, added up from the pixels on", ylabel="bits per dimension",
                 xlabel="level: 0 for the pixels, s for the image noised s times")  # fmt: skip
        for axes in (flows, nets, sums):
            axes.legend(loc="best")
            _by_step(axes, len(levels) - 1)
        nets.set_yscale("symlog", linthresh=0.01)
    columns = ["level", "bound"]
    bound = [None] * len(levels) if bits is None else bits.tolist()
    data: list[Sequence[Any]] = [levels.tolist(), bound]
    for order, rates in orders.items():
        columns += [f"{order} push", f"{order} pop"]
        data += [rates.push.tolist(), rates.pop.tolist()]
    return save_figure(figure, path, columns, zip(*data, strict=True))


@dataclass(frozen=True)
class RatePlace:
    """A measured rate at a number of steps, in bits per dimension.

    Args:
        series: what it belongs to (``bit-swap``, ``bound``).
        steps: of the chain.
        rate: the value.
        error: standard error; None where there is none.
    """

    series: str
    steps: int
    rate: float
    error: float | None = None


def plot_rates(
    places: Sequence[RatePlace], path: Path, *, published: Sequence[str] = ()
) -> tuple[Path, Path]:
    """Rates over the number of steps, beside published ones.

    Args:
        places: what was measured.
        path: of the figure; the numbers go beside it as CSV.
        published: keys of :data:`nc_diffusion_bb.published.PUBLISHED`.

    Raises:
        UsageError: a format that cannot be saved.
    """
    check_suffix(path)
    everything = [*places, *(place for name in published for place in _published(name))]
    with look():
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

        figure = Figure(figsize=(6.4, 3.8))
        axes = figure.add_subplot()
        names = list(dict.fromkeys(place.series for place in everything))
        variants = list(dict.fromkeys(_variant(name) for name in names))
        for number, name in enumerate(names):
            mine = sorted((p for p in everything if p.series == name), key=lambda p: p.steps)
            colour, line = _series_style(name, number)
            variant = variants.index(_variant(name))
            errors = [place.error for place in mine if place.error is not None]
            axes.errorbar(
                [place.steps for place in mine], [place.rate for place in mine],
                yerr=errors if len(errors) == len(mine) else None, color=colour, linestyle=line,
                marker=_MARKERS[variant % len(_MARKERS)], markersize=4, capsize=2, linewidth=1.2,
                label=name,
            )  # fmt: skip
        axes.set_xscale("log")
        ticks = sorted({place.steps for place in everything})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        rates = [place.rate for place in everything]
        if max(rates) > 4 * min(rates):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set(title="Rates", xlabel="steps of the chain", ylabel="bits per dimension")
        if len(names) <= _MOST_INSIDE:
            axes.legend(loc="best")
        else:
            figure.set_figheight(3.8 + 0.17 * len(names))
            figure.legend(loc="outside lower center", fontsize="small")
    columns = ["series", "steps", "bits per dimension", "standard error"]
    rows = [[place.series, place.steps, place.rate, place.error] for place in everything]
    return save_figure(figure, path, columns, rows)


def _published(name: str) -> list[RatePlace]:
    title = TITLES[name]
    bounds = [RatePlace(f"{title}, published bound", r.steps, r.vlb) for r in PUBLISHED[name]]
    rates = [
        RatePlace(f"{title}, published rate without initial bits", row.steps, row.effective)
        for row in PUBLISHED[name]
        if row.effective is not None
    ]
    return bounds + rates


def _series_style(name: str, number: int) -> tuple[str, str]:
    """Colour and line: bounds are dashed, totals dotted; an order has one colour."""
    line = "--" if "bound" in name else ":" if name.endswith("total") else "-"
    for key, colour in (_ORDER_COLOURS | _PUBLISHED_COLOURS).items():
        if key in name:
            return colour, line
    return Colours.text if name == "bound" else f"C{number}", line


def _variant(name: str) -> str:
    """What rates with and without initial bits share, and so a marker."""
    return name.removesuffix(", total").removesuffix(", without initial bits")


def _by_step(axes: Axes, last: int) -> None:
    """Room for the first steps, which cost most, on an axis from 0 to ``last``."""
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-0.15, 1.15 * last)
    ticks = [*(tick for tick in _TICKS if tick <= last / 1.5), last]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])

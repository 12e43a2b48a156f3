"""The figure of rate and distortion: bounds from both sides, estimates, truths, real codecs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import UsageError
from nc_core.plots import Colours, look
from nc_core.rate_distortion import envelope, hull_rates, lower_convex_hull
from nc_core.rates import (
    DistortionMeasure,
    PointKind,
    RatePer,
    RatePoint,
    RateUnit,
    decibels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Units", "draw_rate_distortion", "points_table"]

_COLOURS: dict[PointKind, str] = {
    "upper": Colours.ours,
    "lower": "#c2571a",
    "estimate": "#6b4fa0",
    "analytic": Colours.text,
    "operating-point": Colours.quiet,
}
_TITLES: dict[PointKind, str] = {
    "upper": "upper bound",
    "lower": "lower bound",
    "estimate": "estimate",
    "analytic": "analytic",
    "operating-point": "codec",
}
_MARKERS = "osD^vP"
_STEPS = 600
_DECADES = 1.3  # from here on a distortion axis is logarithmic
_CURVE_OF = {"analytic": 3, "estimate": 20, "lower": 10}  # so many are drawn as a curve
_DASHES = ((0, (5, 2)), (0, (1, 1.4)), (0, (7, 2, 1, 2)))


@dataclass(frozen=True, kw_only=True)
class Units:
    """Units of a figure or table.

    Args:
        rate_unit, rate_per, measure: as of :class:`RatePoint`.
        peak: largest value of the data: distortions become PSNR in dB; needs ``mse``.
    """

    rate_unit: RateUnit = "nats"
    rate_per: RatePer = "vector"
    measure: DistortionMeasure = "mse"
    peak: float | None = None

    def __post_init__(self) -> None:
        if self.peak is not None and (self.measure != "mse" or not self.peak > 0):
            raise UsageError("PSNR needs the mean squared error and a positive peak")

    @property
    def rate(self) -> str:
        """Of the rate: ``nats/vector``."""
        return f"{self.rate_unit}/{self.rate_per}"

    @property
    def distortion(self) -> str:
        """Of the distortion, as an axis is labelled."""
        if self.peak is not None:
            return f"PSNR [dB], peak {self.peak:g}"
        return {
            "mse": "distortion: mean squared error",
            "sse": "distortion: squared error, summed over dimensions",
        }[self.measure]

    def convert(self, points: Sequence[RatePoint]) -> list[RatePoint]:
        """All points in these units.

        Raises:
            UsageError: rates of whole vectors of different dimensions.
        """
        dims = sorted({point.dims for point in points})
        if len(dims) > 1 and (self.rate_per == "vector" or self.measure == "sse"):
            raise UsageError(
                f"points of vectors of {dims[0]} and {dims[-1]} dimensions",
                "compare them by rate per dimension and mean squared error",
            )
        return [point.converted(self.rate_unit, self.rate_per, self.measure) for point in points]

    def place(self, distortions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where distortions are on the horizontal axis."""
        if self.peak is None:
            return distortions
        return np.array([decibels(max(value, 0.0), self.peak) for value in distortions])


def draw_rate_distortion(
    points: Sequence[RatePoint],
    *,
    units: Units | None = None,
    title: str = "",
    logarithmic: bool | None = None,
) -> Figure:
    """Draw points, their convex hull, lines, their envelope, and what lies between.

    Upper bounds are points with their lower convex hull; lower bounds are lines with their
    envelope, and a band of their confidence intervals: of each line by itself, not of all
    together. Many points of a method make a curve without markers: 3 analytic ones, 20 estimates,
    or 10 lines, of which only the envelope is drawn then. Error bars are two standard errors.

    Args:
        points: in any units; those without a place in the figure (no rate, PSNR of no distortion)
            are left out.
        units: of the axes; nats per vector and mean squared error by default.
        title: of the figure.
        logarithmic: axis of distortions; by default, where they span more than a decade.

    Returns:
        a figure with one panel.

    Raises:
        UsageError: nothing to draw, or rates that have no common unit.
    """
    units = units or Units()
    shown = [point for point in units.convert(points) if _can_be_drawn(point, units)]
    if not shown:
        raise UsageError("no points to draw")
    least, most = _distortion_range(shown)
    if logarithmic is None:
        logarithmic = least > 0 and math.log10(most / least) > _DECADES
    logarithmic = logarithmic and units.peak is None and least > 0
    grid = _grid(least, most, logarithmic or units.peak is not None)
    corners = [distortion for distortion, _ in _places(shown)]
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 4.6))
        axes = figure.subplots()
        if logarithmic:
            _make_logarithmic(axes)
        _draw_bounds(axes, shown, np.union1d(grid, corners), units)
        for kind in ("analytic", "estimate", "upper", "operating-point"):
            _draw_points(axes, [p for p in shown if p.kind == kind], units)
        ends = units.place(grid[[0, -1]])
        axes.set(
            title=title, xlabel=units.distortion, ylabel=f"rate [{units.rate}]",
            xlim=(ends.min(), ends.max()), ylim=(0, 1.06 * _highest_rate(shown, grid)),
        )  # fmt: skip
        axes.legend(loc="upper left" if units.peak is not None else "upper right")
    return figure


def points_table(
    points: Sequence[RatePoint], units: Units | None = None
) -> tuple[list[str], list[list[Any]]]:
    """The data of a figure as columns, whose names have units, and rows.

    Args:
        points: in any units.
        units: of the table.

    Raises:
        UsageError: rates that have no common unit.
    """
    units = units or Units()
    rate, measure = units.rate, units.measure
    columns = [
        "kind", "method", "dataset",
        f"distortion [{measure}]", f"distortion standard error [{measure}]",
        f"rate [{rate}]", f"rate standard error [{rate}]",
        f"slope [{rate} per {measure}]",
        f"intercept [{rate}]", f"intercept standard error [{rate}]",
        f"interval low [{rate}]", f"interval high [{rate}]", "confidence",
        "dims", "n", "seed", "notes",
    ]  # fmt: skip
    rows: list[list[Any]] = [
        [
            point.kind, point.method, point.dataset,
            point.distortion, point.distortion_error, point.rate, point.rate_error,
            point.slope, point.intercept, point.intercept_error,
            *(point.interval or (None, None)), point.confidence,
            point.dims, point.n, point.seed, "; ".join(point.notes),
        ]
        for point in units.convert(points)
    ]  # fmt: skip
    if units.peak is not None:
        columns.insert(4, "psnr [dB]")
        for row in rows:
            row.insert(4, None if row[3] is None else decibels(row[3], units.peak))
    return columns, rows


def _can_be_drawn(point: RatePoint, units: Units) -> bool:
    if point.kind == "lower":
        return _all_finite(point.slope, point.intercept)
    if not _all_finite(point.rate, point.distortion):
        return False
    return units.peak is None or bool(point.distortion)


def _all_finite(*values: float | None) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)


def _places(points: Sequence[RatePoint]) -> list[tuple[float, float]]:
    """(distortion, rate) of points that are no lines."""
    return [
        (point.distortion, point.rate)
        for point in points
        if point.kind != "lower" and point.distortion is not None and point.rate is not None
    ]


def _lines(points: Sequence[RatePoint], end: int | None = None) -> list[tuple[float, float]]:
    """(slope, intercept) of lines; with ``end``, that end of the intervals that there are."""
    return [
        (point.slope, point.intercept if end is None or not point.interval else point.interval[end])
        for point in points
        if point.kind == "lower" and point.slope is not None and point.intercept is not None
    ]


def _distortion_range(points: Sequence[RatePoint]) -> tuple[float, float]:
    """Smallest and largest distortion of interest; zero is none on a logarithmic axis."""
    found = [distortion for distortion, _ in _places(points)]
    if not found:  # lines only: to where the last of them meets the axis
        crossings = [max(intercept, 0.0) / slope for slope, intercept in _lines(points) if slope]
        return 0.0, max(crossings, default=0.0) or 1.0
    return min(found), max(found) or 1.0


def _grid(least: float, most: float, geometric: bool) -> NDArray[np.float64]:
    """Distortions at which curves are drawn, a little beyond the points."""
    if geometric:
        start = least if least > 0 else most / 1e4
        return np.geomspace(start / 1.25, most * 1.25, _STEPS)
    return np.linspace(0.0 if least < 0.3 * most else 0.9 * least, most * 1.06, _STEPS)


def _highest_rate(points: Sequence[RatePoint], grid: NDArray[np.float64]) -> float:
    rates = [rate for _, rate in _places(points)]
    return max(rates or [float(envelope(_lines(points), grid).max())]) or 1.0


def _make_logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_bounds(
    axes: Axes, points: Sequence[RatePoint], grid: NDArray[np.float64], units: Units
) -> None:
    """The envelope of lines with its band, the hull of upper points, and what is between."""
    place = units.place(grid)
    lines = _lines(points)
    hull = lower_convex_hull(_places([point for point in points if point.kind == "upper"]))
    below, above = envelope(lines, grid), hull_rates(hull, grid)
    if lines and hull:
        axes.fill_between(
            place, below, above, where=np.isfinite(above) & (above >= below),
            color=Colours.ours, alpha=0.09, linewidth=0, label="between the bounds",
        )  # fmt: skip
    if hull:
        axes.plot(
            place, np.where(np.isfinite(above), above, np.nan),
            color=_COLOURS["upper"], label="convex hull of the upper bounds",
        )  # fmt: skip
    if not lines:
        return
    colour = _COLOURS["lower"]
    lower = [point for point in points if point.kind == "lower"]
    for (method, group), dashes in zip(_by_method(lower), cycle(_DASHES), strict=False):
        label = f"{_TITLES['lower']}: {method}"
        if len(group) >= _CURVE_OF["lower"]:
            curve = envelope(_lines(group), grid)
            axes.plot(place, curve, color=colour, linewidth=1.0, linestyle=dashes, label=label)
            continue
        for line in _lines(group):
            axes.plot(place, envelope([line], grid), color=colour, linewidth=0.6, label=label)
            label = ""
    if any(point.kind == "lower" and point.interval for point in points):
        axes.fill_between(
            place, envelope(_lines(points, 0), grid), envelope(_lines(points, 1), grid),
            color=colour, alpha=0.25, linewidth=0, label=_confidence(points),
        )  # fmt: skip
    axes.plot(place, below, color=colour, label="envelope of the lower bounds")


def _confidence(points: Sequence[RatePoint]) -> str:
    levels = {point.confidence for point in points if point.kind == "lower" and point.interval}
    level = levels.pop()
    return "confidence" if levels or level is None else f"{100 * level:g} % confidence, each line"


def _draw_points(axes: Axes, points: Sequence[RatePoint], units: Units) -> None:
    """Points of one kind, each method with its own marker."""
    for (method, group), marker, dashes in zip(
        _by_method(points), cycle(_MARKERS), cycle(_DASHES), strict=False
    ):
        kind = group[0].kind
        colour, label = _COLOURS[kind], f"{_TITLES[kind]}: {method}"
        corners = np.array(_places(group))
        across, up = units.place(corners[:, 0]), corners[:, 1]
        if len(group) >= _CURVE_OF.get(kind, math.inf):
            axes.plot(across, up, color=colour, linestyle=dashes, linewidth=1.2, label=label)
            continue
        if kind in ("estimate", "operating-point") and len(group) > 1:
            axes.plot(across, up, color=colour, linewidth=0.8, alpha=0.6)
        errors = [(point.distortion_error or 0.0, point.rate_error or 0.0) for point in group]
        if any(map(any, errors)):
            label += " (± 2 s.e.)"
            _draw_errors(axes, corners, 2 * np.array(errors), colour, units)
        axes.plot(
            across, up, linestyle="none", marker=marker, markersize=5, markeredgewidth=1.2,
            color=colour, markerfacecolor="white" if kind == "estimate" else colour, label=label,
        )  # fmt: skip
        if kind == "operating-point":
            psnr = units.peak is not None
            axes.annotate(
                method, (across[0], up[0]), xytext=(-6 if psnr else 6, 3), fontsize=8,
                textcoords="offset points", ha="right" if psnr else "left", color=colour,
            )  # fmt: skip


def _draw_errors(
    axes: Axes,
    corners: NDArray[np.float64],
    errors: NDArray[np.float64],
    colour: str,
    units: Units,
) -> None:
    """Bars around points, whose ends are converted like the points."""
    smallest = corners[:, 0] / 1e3 if units.peak is not None else 0.0
    left = units.place(np.maximum(corners[:, 0] - errors[:, 0], smallest))
    right = units.place(corners[:, 0] + errors[:, 0])
    axes.hlines(corners[:, 1], left, right, color=colour, linewidth=1)
    low, high = corners[:, 1] - errors[:, 1], corners[:, 1] + errors[:, 1]
    axes.vlines(units.place(corners[:, 0]), low, high, color=colour, linewidth=1)


def _by_method(points: Sequence[RatePoint]) -> Iterator[tuple[str, list[RatePoint]]]:
    """Points of each method, by rising distortion."""
    for method in dict.fromkeys(point.method for point in points):
        group = [point for point in points if point.method == method]
        yield method, sorted(group, key=lambda point: point.distortion or 0.0)

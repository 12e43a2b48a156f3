"""Points of rate and distortion as a table, a figure and JSON, in the units that one asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from nc_core.command_line import options

if TYPE_CHECKING:
    from pathlib import Path

    from nc_core.launch import Point
    from nc_core.rates import RatePoint
    from nc_core.rd_figure import Units

__all__ = ["chosen_units", "run_and_show", "show", "units"]

_AGAIN = "the same command (without --force)"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def units() -> Callable[[_Command], _Command]:
    """``--unit``, ``--per``, ``--measure`` and ``--peak``, passed under these names."""
    return options.all_of(
        click.option(
            "--unit", type=click.Choice(["nats", "bits"]), default="nats", show_default=True,
            help="Unit of rates.",
        ),
        click.option(
            "--per", type=click.Choice(["vector", "dimension"]), default="vector",
            show_default=True, help="What rates are of.",
        ),
        click.option(
            "--measure", type=click.Choice(["mse", "sse"]), default="mse", show_default=True,
            help="Squared error: the mean over dimensions, or their sum.",
        ),
        click.option(
            "--peak", type=click.FloatRange(min=0, min_open=True), metavar="X",
            help="Show distortions in the figure as PSNR in dB, for data of this peak value.",
        ),
    )  # fmt: skip


def chosen_units(unit: str, per: str, measure: str, peak: float | None) -> Units:
    """The units that the options of :func:`units` name.

    Raises:
        UsageError: PSNR of summed errors.
    """
    from nc_core.rates import DistortionMeasure, RatePer, RateUnit
    from nc_core.rd_figure import Units

    return Units(
        rate_unit=cast(RateUnit, unit),
        rate_per=cast(RatePer, per),
        measure=cast(DistortionMeasure, measure),
        peak=peak,
    )


def run_and_show(
    folder: Path,
    points: Sequence[Point],
    *,
    plan: Mapping[str, Any],
    jobs: int,
    force: bool,
    units: Units,
    title: str,
    as_json: bool,
    write: Callable[[Path], None] | None = None,
) -> None:
    """Run the points of a sandwich that are not finished, and show all that are.

    Writes ``sandwich.svg``, ``sandwich.csv`` and ``points.json`` into the folder; ``write`` adds
    what the points need, or what is to be shown with them, before they run.

    Raises:
        WorkError: points failed; the others are shown before.
        InterruptedWorkError: it was interrupted.
    """
    from nc_core.command_line.console import warn
    from nc_core.command_line.progress import progress
    from nc_core.errors import WorkError
    from nc_core.launch import State, nc_program, run_sweep
    from nc_core.plots import look
    from nc_rd_bounds.points import write_points_file
    from nc_rd_bounds.sandwich import claim_folder, collect_points, sorted_points

    with look():  # without matplotlib this ends here, before anything is computed
        pass
    claim_folder(folder, plan, force=force)
    if write is not None:
        write(folder)
    session = click.get_current_context().obj
    with progress("sandwich", len(points), "points") as advance:
        records = run_sweep(
            folder, points, program=nc_program(getattr(session, "plugin_files", ())), jobs=jobs,
            progress=lambda _record: advance(1), go_on=f"{_AGAIN} goes on where this one stopped",
        )  # fmt: skip
    failed = [record for record in records if record.state != State.FINISHED]
    for record in failed:
        warn(f"{record.name}: {record.reason}")
    found = sorted_points(collect_points(folder))
    if found:
        write_points_file(folder / "points.json", found)
        show(found, folder / "sandwich.svg", units=units, title=title, as_json=as_json)
    if failed:
        raise WorkError(
            f"{folder}: {len(failed)} of {len(records)} points failed",
            f"{_AGAIN} runs these again",
        )


def show(
    points: Sequence[RatePoint],
    figure: Path,
    *,
    units: Units,
    title: str | None,
    as_json: bool,
) -> None:
    """Write the figure and its CSV, and print the points.

    Raises:
        UsageError: points without a common unit, or nothing to draw.
        DataError: a file cannot be written.
    """
    from nc_core.command_line.console import note, print_json, print_table, print_text
    from nc_core.plots import save_figure
    from nc_core.rd_figure import draw_rate_distortion, points_table

    columns, rows = points_table(points, units)
    save_figure(
        draw_rate_distortion(points, units=units, title=title or _datasets(points)),
        figure, columns, rows,
    )  # fmt: skip
    if as_json:
        print_json([point.to_json() for point in units.convert(points)])
        return
    print_table(
        [
            [
                point.kind, point.method, point.slope, point.rate, point.distortion,
                point.intercept, point.intercept_error, point.n,
            ]
            for point in units.convert(_of_interest(points))
        ],
        [
            "kind", "method", "lambda", f"rate [{units.rate}]", units.measure, "intercept",
            "s.e.", "n",
        ],
    )  # fmt: skip
    print_text(f"wrote {figure} and .csv")
    for text in dict.fromkeys(text for point in points for text in point.notes):
        note(text)


def _of_interest(points: Sequence[RatePoint]) -> list[RatePoint]:
    """Closed forms are drawn as curves; in print they stand beside what was computed."""
    slopes = {point.slope for point in points if not _is_closed_form(point)}
    if slopes <= {None}:
        return list(points)
    return [point for point in points if not _is_closed_form(point) or point.slope in slopes]


def _is_closed_form(point: RatePoint) -> bool:
    return (
        point.kind == "analytic"
        or point.method.startswith("shannon")
        or (point.method.endswith("-envelope"))
    )


def _datasets(points: Sequence[RatePoint]) -> str:
    """The source of all points, without the split."""
    names = dict.fromkeys((point.dataset or "").partition(":")[0] for point in points)
    return ", ".join(filter(None, names))

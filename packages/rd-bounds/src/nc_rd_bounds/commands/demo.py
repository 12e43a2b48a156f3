"""``nc run rd-bounds demo``: the sandwich of a Gaussian whose truth is known."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options
from nc_rd_bounds.commands.shown import units

__all__ = ["demo"]


@click.command(epilog=options.examples("nc run rd-bounds demo", "nc run rd-bounds demo --jobs 2"))
@options.out("DIR", "Folder of points, table and figure.  [default: runs/rd-bounds-demo]")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, metavar="N",
              help="Points that are computed at a time, each on one thread.")  # fmt: skip
@units()
@options.seed()
@options.force()
@options.json_output()
def demo(
    out: Path | None,
    jobs: int,
    unit: str,
    per: str,
    measure: str,
    peak: float | None,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Bound the rate-distortion function of a 2-D Gaussian, and compare with the truth.

    The source and the settings are those of the original's notebook, at lambda 3: the truth by
    reverse water-filling, a model's upper bound, Blahut-Arimoto on 100,000 samples, and a lower
    bound. Upper and lower bound are trained, for a minute each.
    """
    from nc_rd_bounds.commands.shown import chosen_units, run_and_show
    from nc_rd_bounds.demo import demo_points, write_source

    folder = out or Path("runs", "rd-bounds-demo")
    run_and_show(
        folder, demo_points(folder, seed), plan={"demo": 1, "seed": seed}, jobs=jobs, force=force,
        units=chosen_units(unit, per, measure, peak), title="A Gaussian of two dimensions",
        as_json=as_json, write=write_source,
    )  # fmt: skip

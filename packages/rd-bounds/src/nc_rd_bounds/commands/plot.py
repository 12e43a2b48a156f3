"""``nc run rd-bounds plot``: the figure of stored points, in any units."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options
from nc_rd_bounds.commands.shown import units

__all__ = ["plot"]


@click.command(
    epilog=options.examples(
        "nc run rd-bounds plot banana --unit bits --per dimension -o banana.png",
    )
)
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=options.FilePath())
@click.option("--dataset", "datasets", metavar="NAME", multiple=True, show_default="all",
              help="Only points of this dataset; needed where there are several sources. May be "
                   "repeated.")  # fmt: skip
@units()
@click.option("--title", metavar="TEXT", show_default="the dataset", help="Title of the figure.")
@options.out("FILE.svg|png|pdf", "Figure to write; its data go beside it as CSV.", required=True)
@options.force()
@options.json_output()
def plot(
    folders: tuple[Path, ...],
    datasets: tuple[str, ...],
    unit: str,
    per: str,
    measure: str,
    peak: float | None,
    title: str | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Draw the points of sandwiches and of run directories, and print them.

    DIR is what 'sandwich', 'train-upper', 'train-lower', 'blahut-arimoto' or 'analytic' wrote, all
    of one source.
    """
    from nc_core.errors import DataError
    from nc_core.files import check_target
    from nc_rd_bounds.commands.shown import chosen_units, show
    from nc_rd_bounds.points import points_of_one_source
    from nc_rd_bounds.sandwich import collect_points, sorted_points

    for path in (out, out.with_suffix(".csv")):
        check_target(path, force=force)
    found = [point for folder in folders for point in collect_points(folder)]
    if not found:
        raise DataError(f"{folders[0]}: no points", "evaluate a bound first")
    points = sorted_points(points_of_one_source(found, datasets))
    show(points, out, units=chosen_units(unit, per, measure, peak), title=title, as_json=as_json)

"""``nc run rd-bounds sandwich``: all bounds of a source, a table and a figure."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options
from nc_rd_bounds.commands.shown import units
from nc_rd_bounds.commands.slopes import Slope

__all__ = ["sandwich"]


@click.command(
    epilog=options.examples(
        "nc run rd-bounds sandwich --dataset banana -o banana",
        "nc run rd-bounds sandwich --dataset npy:x.npy --lamb 3 --lamb 30 --jobs 2 -o mine",
    )
)
@click.option(
    "--dataset", required=True, metavar="NAME[:SPLIT]",
    help="Source of vectors: a name ('nc list datasets'), or npy:FILE, npz:FILE.",
)  # fmt: skip
@click.option(
    "--evaluate-on", metavar="NAME[:SPLIT]", show_default="data kept apart",
    help="Data that the bounds are evaluated on.",
)  # fmt: skip
@click.option(
    "--lamb", "lambs", type=Slope(), multiple=True, metavar="X",
    show_default="four, from the variance of the data",
    help="Slope: nats per vector and unit of mean squared error; may be repeated.",
)  # fmt: skip
@click.option(
    "--method", "methods", multiple=True, metavar="NAME", show_default="all that apply",
    help="analytic, blahut-arimoto (up to 3 dimensions), upper, ntc or lower; may be repeated.",
)  # fmt: skip
@click.option(
    "--size", type=click.Choice(["small", "paper"]), default="small", show_default=True,
    help="Recipes of a minute or two a point, or those of the paper (hours).",
)  # fmt: skip
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="Change a setting of all recipes, such as training.duration=500; may be repeated.",
)  # fmt: skip
@click.option(
    "--codecs", type=options.FilePath(dir_okay=False), metavar="FILE.csv",
    help="Operating points of codecs to show as well: columns name, rate, distortion, in what "
    "--unit, --per and --measure say.",
)  # fmt: skip
@units()
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="Points that are computed at a time, each on one thread.")  # fmt: skip
@options.out("DIR", "Folder of the sandwich: points, points.json, sandwich.svg, sandwich.csv.",
             required=True)  # fmt: skip
@options.seed()
@options.force()
@options.json_output()
@click.pass_context
def sandwich(
    context: click.Context,
    dataset: str,
    evaluate_on: str | None,
    lambs: tuple[float, ...],
    methods: tuple[str, ...],
    size: str,
    settings: tuple[str, ...],
    codecs: Path | None,
    unit: str,
    per: str,
    measure: str,
    peak: float | None,
    jobs: int,
    out: Path,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Bound the rate-distortion function of a source from both sides.

    Every method runs at every slope, each in a process of its own, and is not run again when the
    command is repeated. What failed is listed; the rest is shown all the same.
    """
    from nc_rd_bounds import sandwich as work
    from nc_rd_bounds.commands.shown import chosen_units, run_and_show
    from nc_rd_bounds.sources.vectors import evaluation_pair

    shown_in = chosen_units(unit, per, measure, peak)
    source, evaluation = evaluation_pair(dataset, evaluate_on, options.plugins_of(context), seed)
    plan = work.Plan(
        dataset=dataset,
        evaluate_on=evaluate_on,
        reference=work.reference_of(dataset, evaluate_on, evaluation),
        lambs=tuple(dict.fromkeys(lambs)) or work.default_slopes(source),
        methods=work.applicable(methods, source),
        size="small" if size == "small" else "paper",
        seed=seed,
        settings=settings,
    )
    added = [] if codecs is None else work.read_codec_points(codecs, source.dims, shown_in)
    run_and_show(
        out, work.plan_points(plan, source), plan=plan.in_common(), jobs=jobs, force=force,
        units=shown_in, title=dataset, as_json=as_json,
        write=None if codecs is None else lambda folder: work.save_codec_points(folder, added),
    )  # fmt: skip

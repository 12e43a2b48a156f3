"""``nc run rd-bounds evaluate-upper``: rate and distortion of a trained model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_core.command_line import options

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_core.runs import RunDirectory

__all__ = ["evaluate_upper", "measure"]

_BATCHES = 200
_LEAST_VECTORS = 100_000


@click.command(
    "evaluate-upper",
    epilog=options.examples(
        "nc run rd-bounds evaluate-upper runs/banana-3",
        "nc run rd-bounds evaluate-upper runs/ntc-10 --rounded --file --json",
    ),
)
@click.argument("model", metavar="RUN", type=options.FilePath())
@click.option(
    "--dataset", metavar="NAME", show_default="the run's own evaluation data",
    help="Vectors to evaluate on; a sampler without a split is its split 'test'.",
)  # fmt: skip
@click.option(
    "--batches", type=click.IntRange(min=1), metavar="N",
    show_default="200, and at least 100,000 vectors",
    help="How many vectors, in batches of the training's size; at most all of them.",
)  # fmt: skip
@click.option(
    "--rounded", is_flag=True,
    help="Also round the latents (nonlinear transform coding): to integers, and to integers "
    "plus the prior's medians.",
)  # fmt: skip
@click.option(
    "--file", "as_file", is_flag=True,
    help="Also code all vectors into an actual file (nonlinear transform coding).",
)  # fmt: skip
@options.seed()
@options.out("DIR", "Run directory for the points.  [default: RUN]")
@options.force()
@options.json_output()
@click.pass_context
def evaluate_upper(
    context: click.Context,
    model: Path,
    dataset: str | None,
    batches: int | None,
    rounded: bool,
    as_file: bool,
    seed: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Rate, distortion and objective of a model, in nats per vector, with standard errors.

    RUN is the directory of a run of 'train-upper', or its model file. Each point is an upper bound
    of the rate-distortion function; with --file there is an operating point of a real codec too.
    Points go into results/ of the run directory.
    """
    measure(
        model, options.plugins_of(context), dataset=dataset, batches=batches, rounded=rounded,
        as_file=as_file, seed=seed, out=out, force=force, as_json=as_json,
    )  # fmt: skip


def measure(
    model: Path,
    plugins: PluginManager,
    *,
    dataset: str | None = None,
    batches: int | None = None,
    rounded: bool | None = None,
    as_file: bool | None = None,
    seed: int,
    out: Path | None = None,
    force: bool = False,
    as_json: bool = False,
) -> None:
    """Evaluate a run or a model file, keep the points and print them.

    ``rounded`` and ``as_file`` of None are what the model allows.
    """
    from nc_core.command_line.console import note, print_json, print_table
    from nc_rd_bounds.points import write_points
    from nc_rd_bounds.run_data import evaluation_source, find_model
    from nc_rd_bounds.upper.evaluate import check_rounding, evaluate, measurements
    from nc_rd_bounds.upper.release import read_config

    file = find_model(model)
    config = read_config(file)
    quantised = config.model.posterior == "uniform"
    source, notes = evaluation_source(config, dataset, plugins, seed)
    size = config.training.batch_size
    count = batches * size if batches else max(_BATCHES * size, _LEAST_VECTORS)
    config.model.resolved(source.dims, source.name)  # before anything is written
    if rounded or as_file:
        check_rounding(file)
    settings = {"model": file.id, "dataset": source.name, "vectors": count, "seed": seed}
    with _run_directory(model, out, settings, force=force) as run:
        points = evaluate(
            file,
            source,
            count,
            seed=seed,
            notes=notes,
            rounded=quantised if rounded is None else rounded,
            as_file=quantised if as_file is None else as_file,
        )
        if run is not None:
            write_points(run, "upper" if dataset is None else f"upper-{dataset}", points)
    if as_json:
        print_json([one.to_json() for one in measurements(points)])
        return
    headers = ("method", "rate", "s.e.", "mse", "s.e.", "objective", "s.e.", "vectors")
    print_table(
        [
            (
                one.method, one.rate, one.rate_error, one.distortion, one.distortion_error,
                one.intercept, one.intercept_error, one.n,
            )
            for one in points
        ],
        headers,
    )  # fmt: skip
    click.echo(f"nats per vector, lambda {points[0].slope:.6g}, data {source.name}")
    for text in dict.fromkeys(text for one in points for text in one.notes):
        note(text)


def _run_directory(
    model: Path, out: Path | None, settings: dict[str, Any], *, force: bool
) -> AbstractContextManager[RunDirectory | None]:
    """Where points go: a new run directory, that of the model, or none for a file alone."""
    from nc_core.runs import RunDirectory

    own = model if model.is_dir() else model.parent
    if out is not None and out.resolve() != own.resolve():
        return RunDirectory.create(
            out, settings, command="rd-bounds evaluate-upper", force=force, can_resume=False
        )
    return nullcontext() if out is None and model.is_file() else RunDirectory.open(own)

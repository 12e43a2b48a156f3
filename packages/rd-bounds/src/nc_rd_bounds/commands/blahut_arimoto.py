"""``nc run rd-bounds blahut-arimoto``: the rate-distortion function of a histogram."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nc_core.command_line import options
from nc_core.command_line.progress import progress
from nc_rd_bounds.commands.slopes import Slope

if TYPE_CHECKING:
    from nc_core.runs import RunDirectory
    from nc_rd_bounds.blahut_arimoto import Step, Trajectory
    from nc_rd_bounds.histogram import Histogram

__all__ = ["blahut_arimoto"]

_SAMPLES = 100_000


@click.command(
    epilog=options.examples(
        "nc run rd-bounds blahut-arimoto --dataset banana --bins 80 --lamb 3",
        "nc run rd-bounds blahut-arimoto --dataset banana --lamb 1 --lamb 10 --json",
    )
)
@click.option(
    "--dataset", required=True, metavar="NAME[:SPLIT]",
    help="Source of vectors: a name ('nc list datasets'), or npy:FILE, npz:FILE.",
)  # fmt: skip
@click.option(
    "--lamb", "lambs", type=Slope(), multiple=True,
    default=(1.0,), show_default="1", metavar="X",
    help="Slope: nats per vector and unit of mean squared error; may be repeated.",
)  # fmt: skip
@click.option("--bins", type=click.IntRange(min=1), default=50, show_default=True, metavar="N",
              help="Bins of the histogram in each dimension.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True, metavar="N",
              help="Most iterations for each slope.")  # fmt: skip
@click.option("--tol", type=click.FloatRange(min=0), default=1e-6, show_default=True, metavar="X",
              help="Stop when the objective falls by less than this share of itself.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              show_default=f"all; {_SAMPLES:,} of a sampler without end",
              help="Use only N samples; of data, N random rows.")  # fmt: skip
@options.seed()
@options.out("DIR", "Run directory for points and all steps; by default they are only printed.")
@options.force()
@options.json_output()
@click.pass_context
def blahut_arimoto(
    context: click.Context,
    dataset: str,
    lambs: tuple[float, ...],
    bins: int,
    steps: int,
    tol: float,
    limit: int | None,
    seed: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compute points of the rate-distortion function of samples in bins.

    The source is a histogram of the samples with bins of equal width, and all centres of bins are
    its reproductions: an estimate for the source, and no bound. Distortions below the bins' own
    error, and rates near the logarithm of the number of samples, say nothing about the source.
    'certified' is a lower bound of the histogram's own objective, rate + lambda * distortion.
    Rates are in nats per vector, distortions mean squared errors.
    """
    from nc_core.command_line.console import note, print_json
    from nc_rd_bounds.histogram import check_grid, discretise
    from nc_rd_bounds.histogram_points import METHOD, measurements, rate_point
    from nc_rd_bounds.points import write_points
    from nc_rd_bounds.sources.vectors import open_source, sample

    source = open_source(dataset, options.plugins_of(context), seed=seed)
    check_grid(bins, source.dims)
    count = limit or source.length or _SAMPLES
    samples = sample(source, count, seed)
    histogram = discretise(samples.reshape(len(samples), -1), bins)
    slopes = tuple(dict.fromkeys(lambs))
    trajectories, points = [], []
    with ExitStack() as stack:
        run = None if out is None else stack.enter_context(
            _run_directory(out, force, dataset=dataset, lamb=slopes, bins=bins, steps=steps,
                           tol=tol, limit=limit, seed=seed)
        )  # fmt: skip
        for slope in slopes:
            trajectories.append(_trace(histogram, slope, steps, tol, run))
            points.append(
                rate_point(
                    histogram,
                    trajectories[-1],
                    dataset=source.name,
                    seed=seed,
                    value_range=source.value_range,
                )
            )
            if run is not None:
                write_points(run, METHOD, points)
    if as_json:
        records = [record for each in trajectories for record in measurements(histogram, each)]
        print_json([record.to_json() for record in records])
    else:
        _print(histogram, trajectories)
    for point in points:
        for text in point.notes[1:]:
            note(f"lambda {point.slope:g}: {text}")


def _run_directory(out: Path, force: bool, **config: object) -> RunDirectory:
    from nc_core.runs import RunDirectory

    return RunDirectory.create(
        out, config, command="rd-bounds blahut-arimoto", force=force, can_resume=False
    )


def _trace(
    histogram: Histogram, lamb: float, steps: int, tol: float, run: RunDirectory | None
) -> Trajectory:
    """All iterations of one slope, each kept as soon as it is done."""
    from nc_rd_bounds.histogram_points import trace

    with progress(f"lambda {lamb:g}", None, "steps") as advance:

        def tell(step: Step) -> None:
            advance(1)
            if run is not None:
                run.log({"lamb": lamb, **step.to_json()})

        return trace(histogram, lamb, steps=steps, tolerance=tol, tell=tell)


def _print(histogram: Histogram, trajectories: list[Trajectory]) -> None:
    from nc_core.command_line.console import print_table, print_text

    cells = " x ".join(str(len(centres)) for centres in histogram.centres)
    print_text(
        f"{histogram.counts.sum():,.0f} samples in {int((histogram.counts > 0).sum()):,} of "
        f"{cells} bins of width {' x '.join(f'{width:.4g}' for width in histogram.widths)}, "
        f"entropy {histogram.entropy:.4f} nats"
    )
    print_table(
        [
            [each.lamb, each.last.rate, each.last.distortion, each.last.objective,
             each.last.certified, len(each.steps)]
            for each in trajectories
        ],
        ["lambda", "rate (nats)", "mse", "objective (nats)", "certified (nats)", "steps"],
    )  # fmt: skip

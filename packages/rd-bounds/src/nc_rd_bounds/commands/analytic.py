"""``nc run rd-bounds analytic``: closed forms of a source."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nc_core.command_line import options
from nc_rd_bounds.commands.slopes import Slope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nc_core.rates import Measurement, RatePoint

__all__ = ["analytic"]

_SAMPLES = 10_000


@click.command(
    epilog=options.examples(
        "nc run rd-bounds analytic --dataset gaussian?dim=8 --lamb 12 --lamb 40",
        "nc run rd-bounds analytic --dataset banana --lamb 3 --json",
    )
)
@click.option("--dataset", required=True, metavar="NAME[:SPLIT]",
              help="Source of vectors: a name ('nc list datasets'), npy:FILE or "
                   "npz:FILE.")  # fmt: skip
@click.option("--lamb", "lambs", type=Slope(), multiple=True,
              required=True, metavar="X",
              help="Slope, in nats per vector and unit of mean squared error; may be "
                   "repeated.")  # fmt: skip
@click.option("--samples", type=click.IntRange(min=10), default=_SAMPLES, show_default=True,
              metavar="N", help="Samples for estimates, where no closed form is known; time grows "
                                "as N^2 in many dimensions.")  # fmt: skip
@options.seed()
@options.out("DIR", "Run directory for the points; by default they are only printed.")
@options.force()
@options.json_output()
@click.pass_context
def analytic(
    context: click.Context,
    dataset: str,
    lambs: tuple[float, ...],
    samples: int,
    seed: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Say what is known of a source's rate-distortion function without any training.

    A Gaussian has its function by reverse water-filling, and a source of known entropy the
    Shannon lower bound. Of data the entropy is estimated from samples: their numbers are
    estimates, and no bounds. Rates are in nats per vector, distortions mean squared errors.
    """
    from nc_core.command_line.console import note, print_json, print_table
    from nc_core.runs import RunDirectory
    from nc_rd_bounds.analytic import reference_points
    from nc_rd_bounds.estimates import estimated_points, sample_count
    from nc_rd_bounds.points import write_points
    from nc_rd_bounds.sources.vectors import open_source, sample

    source = open_source(dataset, options.plugins_of(context), seed=seed)
    config = {"dataset": dataset, "lamb": list(lambs), "samples": samples, "seed": seed}
    with nullcontext() if out is None else RunDirectory.create(
        out, config, command="rd-bounds analytic", force=force, can_resume=False
    ) as run:  # fmt: skip
        points = reference_points(source, lambs)
        if not points:
            rows = sample(source, sample_count(source.dims, samples), seed)
            points = estimated_points(source, rows, lambs, seed)
        if run is not None:
            write_points(run, "analytic", points)
    if as_json:
        print_json([record.to_json() for record in _records(points)])
        return
    print_table(
        [
            [p.kind, p.method, p.slope, p.rate, p.distortion, p.intercept, p.intercept_error]
            for p in points
        ],
        ["kind", "method", "lambda", "rate (nats)", "mse", "intercept (nats)", "s.e."],
    )
    for text in dict.fromkeys(text for point in points for text in point.notes):
        note(text)


def _records(points: list[RatePoint]) -> Iterator[Measurement]:
    """The numbers of each point after its lambda; of estimates with their method in front."""
    from nc_core.rates import Measurement

    for point in points:
        prefix = f"{point.method}/" if point.kind == "estimate" else ""
        yield Measurement(name="lamb", value=point.slope or 0.0, unit="nats per mse")
        if point.rate is not None and point.distortion is not None:
            yield Measurement(name=f"{prefix}rate", value=point.rate, unit="nats/vector", n=point.n)
            yield Measurement(
                name=f"{prefix}distortion", value=point.distortion, unit="mse", n=point.n
            )
        if point.intercept is not None:
            yield Measurement(
                name=f"{prefix}intercept",
                value=point.intercept,
                unit="nats/vector",
                standard_error=point.intercept_error,
                n=point.n,
            )

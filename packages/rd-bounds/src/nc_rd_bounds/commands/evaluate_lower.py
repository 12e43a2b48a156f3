"""``nc run rd-bounds evaluate-lower``: the bounds of trained networks, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nc_core.command_line import options

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_rd_bounds.lower.results import Request

__all__ = ["evaluate_lower", "measure"]


@click.command(
    "evaluate-lower",
    epilog=options.examples(
        "nc run rd-bounds evaluate-lower runs/lower-3",
        "nc run rd-bounds evaluate-lower runs/lower-3 -k 1024 -M 5 --seed 0 --seed 1 --json",
    ),
)
@click.argument("runs", nargs=-1, required=True, type=options.FilePath(), metavar="RUN...")
@click.option(
    "--dataset", metavar="NAME", show_default="the run's own evaluation data",
    help="Samples to evaluate on.",
)  # fmt: skip
@click.option(
    "-k", "k", type=click.IntRange(min=1), metavar="N", show_default="the recipe's",
    help="Samples of a minibatch: the more, the tighter the bound.",
)  # fmt: skip
@click.option(
    "-M", "minibatches", type=click.IntRange(min=1), metavar="N", show_default="the recipe's",
    help="Samples of xi per seed, the number that the interval rests on; twice as many "
    "minibatches are drawn.",
)  # fmt: skip
@click.option(
    "--seed", "seeds", type=click.IntRange(min=0), metavar="N", multiple=True, default=(0,),
    show_default="0", help="Seed of the samples; may be repeated: all seeds make one estimate.",
)  # fmt: skip
@click.option(
    "--refine/--no-refine", default=None, show_default="the recipe's",
    help="Go on from the highest ends of the climbs by mean shift, which never descends, so that "
    "a climb that stopped early does not flatter the bound.",
)  # fmt: skip
@click.option(
    "--temper/--no-temper", default=False, show_default=True,
    help="Raise u to the power that is best on minibatches of the training data: the bound is as "
    "valid, and higher where k is larger than in training.",
)  # fmt: skip
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps"]), default="cpu",
              show_default=True, help="Where to climb; a GPU pays for images.")  # fmt: skip
@options.torch_threads()
@options.json_output()
@click.pass_context
def evaluate_lower(
    context: click.Context,
    runs: tuple[Path, ...],
    dataset: str | None,
    k: int | None,
    minibatches: int | None,
    seeds: tuple[int, ...],
    refine: bool | None,
    temper: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Lower bounds of trained networks, in nats per vector, with confidence intervals.

    Every code has rate >= intercept - lambda * distortion. Each RUN's results hold the lines of all
    its lambdas, and the samples that they rest on as .npz files. Several runs are measured one by
    one, not taken together: only the seeds of one run make one estimate.
    """
    from nc_rd_bounds.lower.results import Request

    request = Request(
        dataset=dataset, k=k, minibatches=minibatches, seeds=tuple(dict.fromkeys(seeds)),
        refine=refine, temper=temper, device=device, threads=threads,
    )  # fmt: skip
    measure(runs, request, options.plugins_of(context), as_json=as_json)


def measure(
    runs: Sequence[Path], request: Request, plugins: PluginManager, *, as_json: bool
) -> None:
    """Evaluate runs, and print their lines."""
    from nc_core.command_line.console import note, print_json, print_table
    from nc_core.command_line.progress import progress
    from nc_rd_bounds.lower.results import evaluate_run, measurements, plan

    plans = [plan(path, request) for path in runs]
    count = sum(one.minibatches for one in plans)
    with progress("evaluating", count, "minibatches") as advance:
        lines = [line for one in plans for line in evaluate_run(one, plugins, advance)]
    if as_json:
        print_json([one.to_json() for one in measurements(lines)])
    else:
        print_table(
            [
                (
                    str(line.run), line.point.slope, line.interval.mean,
                    line.interval.standard_error, *(line.interval.two_sided or (None, None)),
                    line.interval.at_least, line.k, line.count,
                )
                for line in lines
            ],
            (
                "run", "lambda", "intercept", "s.e.", "95 % from", "to", "one-sided", "k", "samples"
            ),
        )  # fmt: skip
        click.echo(f"nats per vector, data {lines[0].point.dataset}")
    for text in dict.fromkeys(text for line in lines for text in line.warnings):
        note(text)

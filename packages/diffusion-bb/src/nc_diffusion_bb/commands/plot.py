"""``nc run diffusion-bb plot``: the figures of runs, and rates over the number of steps."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options
from nc_diffusion_bb.published import PUBLISHED

__all__ = ["plot"]


@click.group(
    epilog=options.examples(
        "nc run diffusion-bb plot terms runs/vlb --format pdf",
        "nc run diffusion-bb plot rates runs/rates --published cifar10 -o rates.svg",
    )
)
def plot() -> None:
    """Figures of runs of 'vlb', 'evaluate' and 'original', and of published results."""


@plot.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=options.FilePath())
@click.option("--format", "suffix", type=click.Choice(["svg", "png", "pdf"]), default="svg",
              show_default=True, help="Of the figures.")  # fmt: skip
def terms(runs: tuple[Path, ...], suffix: str) -> None:
    """Draw the figures of runs again, beside their results: what each step costs.

    Of 'vlb': the bound's terms and squared errors over t, with mean, deviation and range. Of
    'evaluate': what each level pushes and pops in both orders, beside the bound's terms; of
    'original --track' the same in its order. The numbers go beside each figure as CSV.
    """
    from nc_core.errors import DataError
    from nc_diffusion_bb.run_figures import draw_run

    for run in runs:
        drawn = draw_run(run, f".{suffix}")
        if not drawn:
            raise DataError(
                f"{run}: nothing to draw",
                "'vlb', 'evaluate -o' and 'original --track' write such runs",
            )
        for path in drawn:
            click.echo(str(path))


@plot.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=options.FilePath())
@click.option("--published", "names", multiple=True, type=click.Choice([*PUBLISHED, "all"]),
              help="Published results to show as well; may be repeated.")  # fmt: skip
@options.out("FILE.svg|png|pdf", "Figure to write; its data go beside it as CSV.", required=True)
@options.force()
def rates(runs: tuple[Path, ...], names: tuple[str, ...], out: Path, force: bool) -> None:
    """Bounds and rates over the number of steps, in bits per dimension.

    RUN is what 'vlb' or 'evaluate -o' wrote: bounds with their standard errors, and rates of both
    orders with and without initial bits.
    """
    from nc_core.errors import UsageError
    from nc_core.files import check_target
    from nc_diffusion_bb.figures import plot_rates
    from nc_diffusion_bb.run_figures import rate_places

    for path in (out, out.with_suffix(".csv")):
        check_target(path, force=force)
    if not runs and not names:
        raise UsageError("nothing to show", "name a run, or use --published")
    places = [place for run in runs for place in rate_places(run, named=len(runs) > 1)]
    plot_rates(places, out, published=[*PUBLISHED] if "all" in names else names)
    click.echo(str(out))

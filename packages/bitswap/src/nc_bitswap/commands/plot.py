"""``nc run bitswap plot``: the figures of the paper, of runs and of published results."""

from __future__ import annotations

from pathlib import Path

import click

from nc_bitswap.commands.options import model_option
from nc_bitswap.published import PUBLISHED
from nc_core.command_line import options

__all__ = ["plot"]

_TERMS = "terms"


class _PlotGroup(click.Group):
    """A group whose first argument may also be a run, which then is plotted by ``terms``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and (args[0].startswith("-") or Path(args[0]).exists()):
            args = [_TERMS, *args]
        return super().resolve_command(ctx, args)


_out_option = options.out(
    "FILE.svg|png|pdf", "Figure to write; its data go beside it as CSV.", required=True
)
_published_option = click.option(
    "--published", "names", multiple=True, type=click.Choice([*PUBLISHED, "all"]),
    metavar="NAME", help=f"Published results to show as well: {', '.join(PUBLISHED)}, or all; "
                         "may be repeated.",
)  # fmt: skip
_RUN = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group(
    cls=_PlotGroup,
    context_settings={"ignore_unknown_options": True},
    epilog=options.examples("nc run bitswap plot runs/digits -o terms.svg"),
)
def plot() -> None:
    """Figures: 'plot RUN -o FILE' is short for 'plot terms RUN -o FILE'."""


@plot.command(_TERMS, epilog=options.examples("nc run bitswap plot terms runs/digits -o terms.svg"))
@click.argument("run", metavar="RUN", type=_RUN)
@_out_option
def terms(run: Path, out: Path) -> None:
    """Stacked terms of the bound over a training run, of either family."""
    from nc_bitswap.plots import plot_terms
    from nc_core.runs import RunDirectory

    plot_terms(RunDirectory.open(run).metrics(), out)
    click.echo(str(out))


@plot.command(
    epilog=options.examples("nc run bitswap plot cma runs/ten --published mnist-nz2 -o cma.svg")
)
@click.argument("runs", metavar="[RUN]...", type=_RUN, nargs=-1)
@_published_option
@_out_option
def cma(runs: tuple[Path, ...], names: tuple[str, ...], out: Path) -> None:
    """Cumulative average over the images coded, of runs of 'experiment'.

    Also prints the rows of the paper's table: ELBO, net rate of both orders, and the average after
    1, 50 and 100 images. Rates are per dimension of images without padding.
    """
    from nc_bitswap.figure_cma import plot_cma, published_panel, run_panels, table_rows

    _something_to_show(runs, names)
    panels = [panel for run in runs for panel in run_panels(run)]
    panels += [published_panel(name) for name in _expanded(names)]
    plot_cma(panels, out)
    for row in table_rows(panels):
        click.echo(row)
    click.echo(str(out))


@plot.command(
    epilog=options.examples("nc run bitswap plot stack runs/digits --published all -o stack.svg")
)
@click.argument("runs", metavar="[RUN|FOLDER]...", type=_RUN, nargs=-1)
@_published_option
@click.option("--average", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="Moving average over N evaluations.")  # fmt: skip
@_out_option
def stack(runs: tuple[Path, ...], names: tuple[str, ...], average: int, out: Path) -> None:
    """Reconstruction and divergences over training, of runs or of exports of TensorBoard.

    A FOLDER holds CSV files with the columns Wall time, Step, Value, whose names end in
    x_reconstruction_test.csv, z1_KL_test.csv and so on.
    """
    from nc_bitswap.figure_stack import folder_curve, plot_stack, published_curve

    _something_to_show(runs, names)
    curves = [folder_curve(run) for run in runs]
    curves += [published_curve(name) for name in _expanded(names)]
    plot_stack(curves, out, average)
    click.echo(str(out))


@plot.command(epilog=options.examples("nc run bitswap plot digits --limit 20 -o digits.svg"))
@model_option("Model to code with")
@click.option("--dataset", default="mnist:test", show_default=True, metavar="NAME[:SPLIT]",
              help="Images to code.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
              help="How many images, from the first.")  # fmt: skip
@options.seed()
@_out_option
@click.pass_context
def digits(
    context: click.Context, model: str, dataset: str, limit: int, seed: int, out: Path
) -> None:
    """Bars of what each of some images costs in a chain, above the images."""
    from nc_bitswap.data import ModelImages
    from nc_bitswap.figure_digits import code_in_a_chain, plot_digits
    from nc_core.datasets.opening import open_dataset
    from nc_core.errors import UsageError
    from nc_core.models import load_model

    plugins = options.plugins_of(context)
    codec = load_model(model, plugins)
    data = open_dataset(dataset, plugins)
    if data.layout == "none":
        raise UsageError(f"{dataset}: holds no images")
    height, width = data.shape[1:] if data.layout == "chw" else data.shape[:2]
    if height is None or width is None:
        raise UsageError(f"{dataset}: images of different sizes", "use 'nc compare' for these")
    images = ModelImages(data, (codec.block.channels[0], height, width)).first(limit)
    plot_digits(images, code_in_a_chain(codec, images, seed), codec.name, out)
    click.echo(str(out))


def _something_to_show(runs: tuple[Path, ...], names: tuple[str, ...]) -> None:
    if not runs and not names:
        raise click.UsageError("nothing to show: name a run, or use --published")


def _expanded(names: tuple[str, ...]) -> tuple[str, ...]:
    return PUBLISHED if "all" in names else names

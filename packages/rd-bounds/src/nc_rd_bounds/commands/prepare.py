"""``nc run rd-bounds prepare``: parameter files, and the datasets of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from nc_core.command_line import options

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = ["prepare"]


@click.group(
    epilog=options.examples(
        "nc run rd-bounds prepare gaussian-params --dim 1000 -o gaussian-1000.npz",
        "nc run rd-bounds prepare speech --from ~/free-spoken-digit-dataset",
    )
)
def prepare() -> None:
    """Make what the sources of the paper need."""


@prepare.command(
    "gaussian-params",
    epilog=options.examples(
        "nc run rd-bounds prepare gaussian-params --dim 2 -o gaussian-2.npz",
        "nc run rd-bounds analytic --dataset 'gaussian?params=gaussian-2.npz' --lamb 3",
    ),
)
@click.option("--dim", "dims", type=click.IntRange(min=1, max=1 << 20), required=True, metavar="N",
              help="Number of dimensions.")  # fmt: skip
@click.option("--loc", type=click.Choice(["rand", "zeros"]), default="rand", show_default=True,
              help="Means: uniform in (-0.5, 0.5), or 0.")  # fmt: skip
@click.option("--var", type=click.Choice(["rand", "ones"]), default="rand", show_default=True,
              help="Variances: uniform in (0, 2), or 1.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0, max=(1 << 32) - 1), default=0,
              show_default=True, metavar="N",
              help="Seed of NumPy's legacy generator: 0 gives the paper's numbers.")  # fmt: skip
@options.out("FILE.npz", "File to write: loc, var and scale, float32.", required=True)
@options.force()
def gaussian_params(dims: int, loc: str, var: str, seed: int, out: Path, force: bool) -> None:
    """Draw means and variances of a Gaussian of independent coordinates."""
    from nc_rd_bounds.sources.gaussian import draw_parameters, write_parameters

    parameters = draw_parameters(
        dims,
        seed,
        cast("Literal['rand', 'zeros']", loc),
        cast("Literal['rand', 'ones']", var),
    )
    write_parameters(out, parameters, force=force)
    click.echo(str(out))


_from_option = click.option(
    "--from", "source", type=options.FilePath(), required=True, metavar="PATH",
    help="Files that you have: a folder, the one above it, or a zip archive of recordings.",
)  # fmt: skip


@prepare.command(
    epilog=options.examples("nc run rd-bounds prepare speech --from fsdd-theo-wav.zip"),
)
@_from_option
@options.force()
@click.pass_context
def speech(context: click.Context, source: Path, force: bool) -> None:
    """Make 'speech' and 'speech-2d' of recordings.

    Takes the recordings of speaker 'theo' of the Free Spoken Digit Dataset, 0_theo_0.wav and so
    on, of which 0 to 4 are the test split; or ready features, stft-split=train.npy and the like.
    """
    _prepare_both(("speech", "speech-2d"), source, options.plugins_of(context), force)


@prepare.command(
    epilog=options.examples("nc run rd-bounds prepare physics --from ~/RD-sandwich/data"),
)
@_from_option
@options.force()
@click.pass_context
def physics(context: click.Context, source: Path, force: bool) -> None:
    """Make 'physics' and 'physics-2d' of the paper's files.

    Takes ppzee-split=test.npy, and ppzee-split=train.npy where it is there.
    """
    _prepare_both(("physics", "physics-2d"), source, options.plugins_of(context), force)


def _prepare_both(
    names: tuple[str, ...], source: Path, plugins: PluginManager, force: bool
) -> None:
    from nc_core.command_line.progress import reported_progress
    from nc_core.datasets.locations import dataset_folder
    from nc_core.datasets.opening import find_dataset
    from nc_core.datasets.prepare import prepare_dataset, prepared_manifest

    for name in names:
        spec = find_dataset(name, plugins)
        with reported_progress(f"preparing {name}", "vectors") as tell:
            prepare_dataset(spec, source, converting=tell, force=force)
        manifest = prepared_manifest(spec)
        items = manifest.items.items() if manifest else ()
        counts = " and ".join(f"{count.found:,} {split}" for split, count in items)
        click.echo(f"{name} is ready: {counts} vectors, in {dataset_folder(name)}")

"""``nc run bitswap prepare``: the datasets of the paper, from their official files."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options
from nc_core.command_line.progress import reported_progress

__all__ = ["prepare"]

_CROPS = "imagenet-crops"
_TEST_PHOTOGRAPHS = 5000


@click.command(
    epilog=options.examples(
        "nc run bitswap prepare mnist",
        "nc run bitswap prepare imagenet32 --from ~/imagenet32",
        "nc run bitswap prepare imagenet-crops --from ~/ilsvrc2012",
    )
)
@click.argument("name", type=click.Choice(["mnist", "cifar10", "imagenet32", _CROPS]))
@click.option("--from", "source", type=click.Path(path_type=Path), metavar="PATH",
              help="Official files that you have: a folder, or the archive.")  # fmt: skip
@click.option("--test", type=click.IntRange(min=1), default=_TEST_PHOTOGRAPHS, show_default=True,
              metavar="N", help="Photographs of imagenet-crops set aside for testing.")  # fmt: skip
@options.seed()
@options.force()
@click.pass_context
def prepare(
    context: click.Context, name: str, source: Path | None, test: int, seed: int, force: bool
) -> None:
    """Prepare a dataset of the paper.

    mnist, cifar10 and imagenet32 are what 'nc data prepare' makes; imagenet32 takes the folders
    train_32x32 and valid_32x32 of the original's create_imagenet, or the newer archives.
    imagenet-crops takes a folder of photographs and links them into two folders, train and test:
    crops are drawn in training, anew each time.
    """
    from nc_core.datasets.locations import dataset_folder

    folder = dataset_folder(name)
    if name == _CROPS:
        _split(source, folder, test, seed, force)
        return
    from nc_core.datasets.opening import find_dataset
    from nc_core.datasets.prepare import prepare_dataset, prepared_manifest

    spec = find_dataset(name, options.plugins_of(context))
    with reported_progress(f"preparing {name}", "images") as tell:
        brought = prepare_dataset(spec, source, converting=tell, force=force)
    given = f" --from {source}" if source else ""
    click.echo(
        f"{name} is ready in {folder} ({len(brought)} new files), as 'nc data prepare "
        f"{name}{given}' makes it"
    )
    manifest = prepared_manifest(spec)
    for split, count in manifest.items.items() if manifest else ():
        if count.found != count.official:
            click.echo(
                f"nc: {name}: {count.found:,} {split} images, officially {count.official:,}",
                err=True,
            )


def _split(source: Path | None, folder: Path, test: int, seed: int, force: bool) -> None:
    from nc_bitswap.photographs import split_photographs
    from nc_core.errors import UsageError

    if source is None:
        raise UsageError(
            f"{_CROPS} needs a folder of photographs", f"nc run bitswap prepare {_CROPS} --from DIR"
        )
    counts = split_photographs(source, folder, test, seed, force=force)
    click.echo(f"{_CROPS}: {counts['train']:,} photographs to train on, {counts['test']:,} to test")
    click.echo(
        "nc run bitswap train --recipe imagenetcrop-nz4 --set "
        f"'data.train=crops:{folder / 'train'}?count=endless' "
        f"--set data.test=crops:{folder / 'test'} --set 'training.duration=1000000 steps' "
        "--set 'training.evaluate_every=10000 steps' --set 'training.checkpoint_every=10000 steps'"
    )

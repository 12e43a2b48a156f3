"""``nc run diffusion-bb prepare``: the images of the paper's experiments as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nc_core.command_line import options

if TYPE_CHECKING:
    from nc_diffusion_bb.image_folders import ImageFolder

__all__ = ["prepare"]

_DIGITS = ("mnist16", "mnist32")
_FOLDERS = {
    "cifar10": ("train_32x32", "valid_32x32"),
    "imagenet64": ("train_64x64", "valid_64x64"),
}


@click.command(
    epilog=options.examples(
        "nc run diffusion-bb prepare mnist16",
        "nc run diffusion-bb prepare cifar10 --from cifar-10-python.tar.gz -o datasets/cifar10",
        "nc run diffusion-bb prepare imagenet64 --from ~/small-imagenet",
    )
)
@click.argument("name", type=click.Choice(["cifar10", "imagenet64", *_DIGITS]))
@click.option("--from", "source", type=options.FilePath(), metavar="PATH",
              show_default="downloaded, but for imagenet64",
              help="Official files that you have: a folder, or the archive.")  # fmt: skip
@click.option("-o", "--out", type=options.FilePath(), metavar="DIR", show_default="NAME",
              help="Folder to write to.")  # fmt: skip
@options.force()
@click.pass_context
def prepare(
    context: click.Context, name: str, source: Path | None, out: Path | None, force: bool
) -> None:
    """Write images as files.

    cifar10: PNG files train_32x32/CLASS_INDEX.png and valid_32x32/CLASS_INDEX.png, as the original
    names them. 'folder:DIR/valid_32x32' reads them by name, so by class, in alphabetical order:
    bird, car, cat, deer, dog, frog, horse, plane, ship, truck. That is the original's order of
    coding; cifar10:test has the same images in the official order.

    imagenet64: PNG files train_64x64/... and valid_64x64/... from such folders, from npz batches
    train_data_batch_1.npz ... and val_data.npz, or from archives (zip, tar) of either. The two
    forms were reduced by different filters, and have different rates.

    mnist16, mnist32: train.npy and test.npy of grey digits, 28x28 with a border of two zeros;
    mnist16 has means of 2x2 pixels.

    Folders and files that exist are skipped without --force. An interrupted job goes on where it
    was when it is started again.
    """
    from nc_diffusion_bb.prepare import write_digits

    folder = out or Path(name)
    plugins = options.plugins_of(context)
    if name not in _DIGITS:
        _write_folders(context, name, source, folder, force)
        return
    written = write_digits(folder, source, plugins, half=name == "mnist16", force=force)
    for file, count in written.items():
        _tell(folder / file, count, "digits")


def _write_folders(
    context: click.Context, name: str, source: Path | None, out: Path, force: bool
) -> None:
    from nc_core.command_line.progress import reported_progress
    from nc_core.errors import UsageError
    from nc_core.files import describe_os_error, made_folder
    from nc_core.staging import staging_folder
    from nc_diffusion_bb.downsampled_imagenet import imagenet64_folders
    from nc_diffusion_bb.prepare import cifar10_folders

    if not force and all((out / folder).is_dir() for folder in _FOLDERS[name]):
        for path in _FOLDERS[name]:
            _tell(out / path, None, "images")
        return
    if name == "imagenet64" and source is None:
        raise UsageError(
            "imagenet64 cannot be downloaded by nc, so its files must be given",
            "nc run diffusion-bb prepare imagenet64 --from PATH   ('nc info imagenet64' says more)",
        )
    try:
        with made_folder(out), staging_folder(out) as scratch:
            if source is not None and name == "imagenet64":
                folders = imagenet64_folders(source, scratch)
            else:
                with reported_progress(f"preparing {name}", "images") as tell:
                    folders = cifar10_folders(source, options.plugins_of(context), tell)
            for folder in folders:
                _write_one(out, folder, force)
    except OSError as error:
        raise describe_os_error(error, out) from error


def _write_one(out: Path, folder: ImageFolder, force: bool) -> None:
    from nc_core.command_line.console import warn
    from nc_core.command_line.progress import cumulative, progress
    from nc_diffusion_bb.image_folders import write_folder

    with progress(f"writing {folder.name}", folder.count, "images") as advance:
        report = cumulative(advance)
        count = write_folder(out, folder, force=force, progress=lambda done: report(done, 0))
    _tell(out / folder.name, count, "images")
    if count is not None and count != folder.official:
        warn(f"{out / folder.name}: {count:,} images, officially {folder.official:,}")


def _tell(path: Path, count: int | None, what: str) -> None:
    click.echo(f"{path}: " + ("exists, skipped" if count is None else f"{count:,} {what}"))

"""What the paper's experiments read: CIFAR-10 as files, and digits in smaller sizes.

File names of CIFAR-10 are the original's: the class, and the image's number within its split. Read
by name, as the original does, images therefore come by class, in alphabetical order, and not in the
order of the official files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from nc_core.datasets.cifar10 import read_cifar10
from nc_core.datasets.converted import SplitSource
from nc_core.datasets.locations import NotPreparedError, dataset_folder
from nc_core.datasets.mnist import Mnist
from nc_core.datasets.opening import find_dataset, open_dataset
from nc_core.datasets.prepare import prepare_dataset
from nc_core.errors import DataError
from nc_core.files import atomic_write
from nc_core.plugins import PluginManager
from nc_diffusion_bb.digits import bordered, halved
from nc_diffusion_bb.image_folders import Content, ImageFolder

__all__ = ["CIFAR10_CLASSES", "cifar10_folders", "write_digits"]

CIFAR10_CLASSES = (
    "plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""What file names call the ten classes, by number."""

_SIDE = 32
_FOLDERS = {"train": "train_32x32", "test": "valid_32x32"}
_OFFICIAL = {"train": 50_000, "test": 10_000}
_SPLITS = ("train", "test")
Progress = Callable[[int, int], None]


def cifar10_folders(
    source: Path | None,
    plugins: PluginManager | None = None,
    progress: Progress | None = None,
) -> list[ImageFolder]:
    """The folders ``train_32x32`` and ``valid_32x32``.

    Args:
        source: official files of the user; None: those that nc has, or downloads.
        plugins: where the dataset is looked up.
        progress: of preparing it, called with (images done, images in all).

    Raises:
        DataError: official files missing or damaged.
    """
    if source is not None:
        splits = read_cifar10(source)
    else:
        prepare_dataset(find_dataset("cifar10", plugins), converting=progress)
        splits = {split: _prepared(split, plugins) for split in _SPLITS}
    return [
        ImageFolder(name, _SIDE, partial(_named, splits[split]), splits[split].count,
                    _OFFICIAL[split])
        for split, name in _FOLDERS.items()
    ]  # fmt: skip


def _prepared(split: str, plugins: PluginManager | None) -> SplitSource:
    data = open_dataset(f"cifar10:{split}", plugins)

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(len(data)):
            item = data[index]
            yield item["image"][None], item["label"][None]

    return SplitSource(len(data), _OFFICIAL[split], _SIDE, read)


def _named(images: SplitSource) -> Iterator[tuple[str, Content]]:
    index = 0
    for part, labels in images.read():
        assert labels is not None
        for pixels, label in zip(part, labels, strict=True):
            yield f"{CIFAR10_CLASSES[label]}_{index:05d}.png", pixels
            index += 1


def write_digits(
    out: Path,
    source: Path | None,
    plugins: PluginManager | None = None,
    *,
    half: bool,
    force: bool = False,
) -> dict[str, int | None]:
    """``train.npy`` and ``test.npy``: MNIST as uint8, (n, 32, 32) or (n, 16, 16).

    Args:
        out: folder for them.
        source: folder of the official files; None: those that nc has, or downloads.
        plugins: where the dataset is looked up.
        half: 16x16 pixels instead of 32x32.
        force: replace files that are there.

    Returns:
        Number of digits by file name; None where the file was there already.

    Raises:
        DataError: official files missing or damaged, or nothing can be written.
    """
    written: dict[str, int | None] = {f"{split}.npy": None for split in _SPLITS}
    wanted = [split for split in _SPLITS if force or not (out / f"{split}.npy").is_file()]
    if wanted and source is None:
        prepare_dataset(find_dataset("mnist", plugins))
    for split in wanted:
        digits = _official_digits(source, split)
        images = bordered(np.stack([digits[index]["image"] for index in range(len(digits))]))
        with atomic_write(out / f"{split}.npy", force=force) as file:
            np.save(file, halved(images) if half else images, allow_pickle=False)
        written[f"{split}.npy"] = len(images)
    return written


def _official_digits(source: Path | None, split: str) -> Mnist:
    try:
        return Mnist(source or dataset_folder("mnist"), split, f"mnist:{split}")
    except NotPreparedError as error:
        if source is None:
            raise
        raise DataError(
            f"{source}: official files of 'mnist' are not there",
            "give the folder that holds them, such as train-images-idx3-ubyte.gz",
        ) from error

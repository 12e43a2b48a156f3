"""Photographs of ImageNet at their own size: split as the paper did, and coded as a whole.

The model of crops sees 32x32 pixels. A photograph is cropped to whole blocks from the top left, and
its blocks are coded row by row on one message, which starts anew with every photograph.

Reference: Friso Kingma, Pieter Abbeel, Jonathan Ho, "Bit-Swap: Recursive Bits-Back Coding for
Lossless Compression with Hierarchical Latent Variables", arXiv 1905.06845, section 4.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError
from nc_core.evaluators.classical import Sample, measure_codecs
from nc_core.evaluators.codecs import find_codecs
from nc_core.files import describe_os_error, made_folder
from nc_core.images import IMAGE_SUFFIXES, read_image, read_shape
from nc_core.lossless import compress_source
from nc_core.protocols import Coder, LosslessModel
from nc_core.rates import Rate
from nc_core.sources import ArraySource
from nc_core.staging import publish, staging_folder, temporary_folder

__all__ = ["CODECS", "PhotographRates", "code_photographs", "images_below", "split_photographs"]

CODECS = ("gzip", "bzip2", "xz", "png", "webp")
"""The codecs that the paper compares with."""

_BLOCK = 32


@dataclass(frozen=True)
class PhotographRates:
    """What one photograph takes.

    Args:
        name: its path below the folder.
        height, width: of the crop.
        models: the rate record of a file, by what the model is called.
        classical: bits per dimension, by codec.
    """

    name: str
    height: int
    width: int
    models: Mapping[str, Rate]
    classical: Mapping[str, float]


def images_below(folder: Path) -> list[Path]:
    """Image files in a folder and in all folders below it, by name.

    Raises:
        DataError: no such folder, or no image in it.
    """
    try:
        found = sorted(
            Path(base, name)
            for base, _, names in os.walk(folder, onerror=_refuse)
            for name in names
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
        )
    except OSError as error:
        raise describe_os_error(error, folder) from error
    if not found:
        raise DataError(f"{folder}: no image files in this folder, or below it")
    return found


def split_photographs(
    source: Path, target: Path, test: int, seed: int, *, force: bool = False
) -> dict[str, int]:
    """Folders ``train`` and ``test`` of links to the photographs in a folder.

    Nothing is copied, and sub-folders are kept. Crops are drawn in training, anew each time.

    Args:
        source: with image files, in it or below it.
        target: folder to make.
        test: photographs for the test split, drawn at random.
        seed: of that draw.
        force: replace a split that is there.

    Returns:
        Number of photographs by split.

    Raises:
        DataError: too few photographs, the target exists, or it cannot be written.
    """
    paths = images_below(source)
    if test >= len(paths):
        raise DataError(
            f"{source}: {len(paths):,} images, of which {test:,} cannot be set aside for testing",
            "--test N takes fewer",
        )
    if target.exists() and not force:
        raise DataError(f"{target}: exists", "--force makes it again")
    chosen = set(np.random.default_rng(seed).permutation(len(paths))[:test].tolist())
    try:
        with made_folder(target.parent), staging_folder(target.parent) as staging:
            for index, path in enumerate(paths):
                split = "test" if index in chosen else "train"
                link = Path(staging, target.name, split, path.relative_to(source))
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.resolve())
            with _set_aside(target, staging):
                publish(staging, [target.name])
    except OSError as error:
        raise describe_os_error(error, target) from error
    return {"train": len(paths) - test, "test": test}


@contextmanager
def _set_aside(target: Path, staging: Path) -> Iterator[None]:
    """What is there goes with the staging folder, or comes back when the block fails."""
    old = staging / f".{target.name}.old"
    try:
        if target.exists():
            target.rename(old)
        yield
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(target):
            old.rename(target)
        raise


def code_photographs(
    folder: Path,
    models: Mapping[str, LosslessModel],
    coder: Coder,
    *,
    limit: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[PhotographRates]:
    """Code photographs one by one, each into a file of its own, which is decoded and compared.

    Args:
        folder: with image files, in it or below it; others than 8-bit RGB, and those without a
            whole block, are left out.
        models: by what to call them.
        coder: entropy coder for the models.
        limit: how many photographs at most.
        seed: which of them, and in which order.
        progress: called with (photographs done, photographs at most).

    Raises:
        DataError: no image, or one that is damaged.
        WorkError: a file does not decode to its input.
    """
    chosen = list(_chosen(images_below(folder), limit, seed))
    if not chosen:
        raise DataError(f"{folder}: no 8-bit RGB image of at least {_BLOCK}x{_BLOCK} pixels")
    with temporary_folder() as temporary:
        for done, path in enumerate(chosen, 1):
            pixels = _cropped(read_image(path).pixels)
            source = ArraySource(pixels, "hwc")
            file = temporary / "photograph.ncz"
            rates = {
                name: compress_source(source, file, model, coder, force=True, journal_seconds=None)
                for name, model in models.items()
            }
            height, width = pixels.shape[:2]
            name = str(path.relative_to(folder))
            yield PhotographRates(name, height, width, rates, _classical(pixels))
            if progress is not None:
                progress(done, len(chosen))


def _chosen(paths: Sequence[Path], limit: int, seed: int) -> Iterator[Path]:
    count = 0
    for index in np.random.default_rng(seed).permutation(len(paths)):
        shape, dtype = read_shape(paths[index])
        fits = len(shape) == 3 and shape[2] == 3 and dtype == "uint8"
        if fits and min(shape[:2]) >= _BLOCK and count < limit:
            count += 1
            yield paths[index]


def _cropped(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    height, width = (side // _BLOCK * _BLOCK for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])


def _classical(pixels: NDArray[np.uint8]) -> dict[str, float]:
    sample = cast(Sample, (pixels, "hwc"))
    results = measure_codecs([sample], 1, codecs=find_codecs(CODECS))
    return {
        result.codec: result.bits_per_dim for result in results if result.bits_per_dim is not None
    }


def _refuse(error: OSError) -> None:
    raise error

"""ImageNet reduced to 32x32 and 64x64, in the two forms in which it is published.

The npz batches of P. Chrabaszcz, I. Loshchilov, F. Hutter, "A Downsampled Variant of ImageNet as
an Alternative to the CIFAR datasets" (arXiv 1707.08819): ``train_data_batch_1.npz`` to ``_10``
and ``val_data.npz``, with labels 1 to 1000. The PNG folders of A. van den Oord, N. Kalchbrenner,
K. Kavukcuoglu, "Pixel Recurrent Neural Networks" (arXiv 1601.06759): ``train_32x32`` and
``valid_32x32``, without labels. They were reduced by other filters: results differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.converted import (
    ConvertedImages,
    Labels,
    Part,
    SplitSource,
    check_rows,
    rows_to_images,
)
from nc_core.datasets.npy_files import load_npz, npz_header
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError, UsageError
from nc_core.files import describe_os_error
from nc_core.images import image_files, read_image, read_shape

__all__ = ["open_imagenet32", "open_imagenet64", "read_imagenet32", "read_imagenet64"]

_CLASSES = 1000
_TRAIN_BATCH = re.compile(r"train_data_batch_([1-9]\d{0,2})\.npz")
_VALIDATION_BATCH = "val_data.npz"
_OFFICIAL_NPZ = {"train": 1_281_167, "test": 50_000}
_OFFICIAL_PNG = {"train": 1_281_149, "test": 49_999}
_PNG_FOLDERS = {"train": "train", "test": "valid"}
_IMAGES_PER_PART = 4096


def open_imagenet32(request: DatasetRequest) -> ConvertedImages:
    """Open one split; the target of the record ``imagenet32``.

    Raises:
        DataError: not prepared, or damaged.
    """
    return ConvertedImages(request, 32, is_offered=False)


def open_imagenet64(request: DatasetRequest) -> ConvertedImages:
    """Open one split; the target of the record ``imagenet64``.

    Raises:
        DataError: not prepared, or damaged.
    """
    return ConvertedImages(request, 64, is_offered=False)


def read_imagenet32(source: Path) -> dict[str, SplitSource]:
    """Official files at 32x32; the converter of the record ``imagenet32``.

    Args:
        source: the folder that holds the npz batches, or the folders ``train_32x32`` and
            ``valid_32x32``; or a folder above it.

    Raises:
        DataError: something is missing, damaged, or of another shape.
    """
    return _read(source, 32)


def read_imagenet64(source: Path) -> dict[str, SplitSource]:
    """Official files at 64x64; the converter of the record ``imagenet64``, as for 32x32.

    Raises:
        DataError: something is missing, damaged, or of another shape.
    """
    return _read(source, 64)


def _read(source: Path, side: int) -> dict[str, SplitSource]:
    try:
        folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    except OSError as error:
        raise describe_os_error(error, source) from error
    if batches := _batches(folders):
        return {
            split: _npz_split(paths, side, _OFFICIAL_NPZ[split]) for split, paths in batches.items()
        }
    names = {split: f"{start}_{side}x{side}" for split, start in _PNG_FOLDERS.items()}
    for folder in folders:
        if all((folder / name).is_dir() for name in names.values()):
            return {
                split: _png_split(folder / name, side, _OFFICIAL_PNG[split])
                for split, name in names.items()
            }
    raise DataError(
        f"{source}: no downsampled ImageNet: neither train_data_batch_1.npz and "
        f"{_VALIDATION_BATCH}, nor folders {' and '.join(names.values())}",
        "unpack its archives into one folder, and give that",
    )


def _batches(folders: list[Path]) -> dict[str, list[Path]]:
    """The npz files of each split, in order; empty where there are none."""
    train: dict[int, Path] = {}
    validation: Path | None = None
    for folder in reversed(folders):  # what lies in the given folder itself comes first
        for path in folder.iterdir():
            if match := _TRAIN_BATCH.fullmatch(path.name):
                train[int(match[1])] = path
            elif path.name == _VALIDATION_BATCH:
                validation = path
    if not train and validation is None:
        return {}
    missing = [
        f"train_data_batch_{number}.npz"
        for number in range(1, max(train, default=1) + 1)
        if number not in train
    ]
    if validation is None:
        missing.append(_VALIDATION_BATCH)
    if missing or validation is None:
        raise DataError(
            f"{folders[0]}: batches of downsampled ImageNet are not there: {', '.join(missing)}"
        )
    return {"train": [train[number] for number in sorted(train)], "test": [validation]}


def _npz_split(paths: list[Path], side: int, official: int) -> SplitSource:
    count = 0
    for path in paths:
        shape, dtype = _as_data_error(npz_header, path, "data")
        check_rows(shape, dtype, side, f"{path}[data]")
        labels, kind = _as_data_error(npz_header, path, "labels")
        if labels != shape[:1] or kind.kind not in "iu":
            raise DataError(f"{path}[labels]: {kind} {labels}, expected integers ({shape[0]},)")
        count += shape[0]
    return SplitSource(count, official, side, partial(_npz_parts, paths, side))


def _npz_parts(paths: list[Path], side: int) -> Iterator[Part]:
    for path in paths:
        _, rows = _as_data_error(partial(load_npz, checked=True), path, "data")
        _, numbers = _as_data_error(partial(load_npz, checked=True), path, "labels")
        labels = _labels(numbers, path)
        images = rows_to_images(rows, side, f"{path}[data]")
        for start in range(0, len(images), _IMAGES_PER_PART):
            end = start + _IMAGES_PER_PART
            yield images[start:end], labels[start:end]


def _labels(numbers: NDArray[Any], path: Path) -> Labels:
    if numbers.min() < 1 or numbers.max() > _CLASSES:
        raise DataError(f"{path}[labels]: labels that are not 1 to {_CLASSES}")
    return numbers.astype(np.uint16)


def _as_data_error(read: Any, path: Path, key: str) -> Any:
    """An official file without an array is damaged data, and no mistake in what was asked for."""
    try:
        return read(path, key)
    except UsageError as error:
        raise DataError(error.message, error.hint) from error


def _png_split(folder: Path, side: int, official: int) -> SplitSource:
    paths = image_files(folder)
    _check_image(paths[0], *read_shape(paths[0]), side)
    return SplitSource(len(paths), official, side, partial(_png_parts, paths, side))


def _png_parts(paths: list[Path], side: int) -> Iterator[Part]:
    for path in paths:
        pixels = read_image(path).pixels
        _check_image(path, pixels.shape, str(pixels.dtype), side)
        yield pixels[None], None


def _check_image(path: Path, shape: tuple[int, ...], dtype: str, side: int) -> None:
    if shape != (side, side, 3) or dtype != "uint8":
        raise DataError(f"{path}: {dtype} {shape}, expected uint8 ({side}, {side}, 3)")

"""MNIST: 28x28 grey digits in their four official IDX files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.idx import read_idx, read_idx_shape
from nc_core.datasets.locations import not_prepared
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError
from nc_core.protocols import Layout

__all__ = ["Mnist", "open_mnist"]

_PREFIXES = {"train": "train", "test": "t10k"}
_SIDE = 28
_ROWS_PER_DRAW = 1000


def open_mnist(request: DatasetRequest) -> Mnist:
    """Open one split; the target of the record ``mnist``.

    Raises:
        DataError: files missing or damaged.
        UsageError: a wrong value of an option.
    """
    binarize = request.option("binarize", ("threshold", "random"), "no")
    return Mnist(request.folder, request.split, request.name, binarize, request.integer("seed", 0))


class Mnist:
    """One split of MNIST; headers are checked when it is opened, samples read when first used.

    Items are ``{"image": uint8 (28, 28), "label": uint8 ()}``: 0 is background and 255 full
    ink, or 0 and 1 where the digits are made binary.

    Args:
        folder: holds the official files, gzip-compressed or plain.
        split: ``train`` or ``test``.
        name: full name of the dataset.
        binarize: ``no``, ``threshold`` (1 where x >= 128, rounding of x / 255) or ``random``
            (1 with probability x / 255).
        seed: of the random draw: ``numpy.random.RandomState(seed)``, one uniform number per
            sample of the split in order, so that equal seeds give equal digits everywhere.

    Raises:
        DataError: files missing, damaged or of other sizes.
    """

    fields = ("image", "label")
    shape: tuple[int | None, ...] = (_SIDE, _SIDE)
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    layout: Layout = "hw"

    def __init__(
        self, folder: Path, split: str, name: str, binarize: str = "no", seed: int = 0
    ) -> None:
        self.name = name
        self.range: tuple[float, float] = (0, 255) if binarize == "no" else (0, 1)
        self._binarize = binarize
        self._seed = seed
        self._image_path = _existing(folder, f"{_PREFIXES[split]}-images-idx3-ubyte.gz")
        self._label_path = _existing(folder, f"{_PREFIXES[split]}-labels-idx1-ubyte.gz")
        count, *sides = read_idx_shape(self._image_path, rank=3)
        if sides != [_SIDE, _SIDE]:
            raise DataError(f"{self._image_path}: images of {sides[0]} x {sides[1]}, not 28 x 28")
        (labels,) = read_idx_shape(self._label_path, rank=1)
        if labels != count:
            raise DataError(f"{self._label_path}: {labels:,} labels for {count:,} images")
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return {"image": self._images[index], "label": self._labels[index, ...]}

    @cached_property
    def _images(self) -> NDArray[np.uint8]:
        images = read_idx(self._image_path, rank=3)
        if self._binarize == "threshold":
            return (images >= 128).astype(np.uint8)
        if self._binarize == "random":
            return _draw(images, self._seed)
        return images

    @cached_property
    def _labels(self) -> NDArray[np.uint8]:
        return read_idx(self._label_path, rank=1)


def _draw(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """1 with probability x / 255; drawn in parts, since the uniform numbers are 8 bytes each."""
    generator = np.random.RandomState(seed)
    drawn = np.empty_like(images)
    for start in range(0, len(images), _ROWS_PER_DRAW):
        part = images[start : start + _ROWS_PER_DRAW]
        drawn[start : start + _ROWS_PER_DRAW] = generator.random_sample(part.shape) < part / 255
    return drawn


def _existing(folder: Path, name: str) -> Path:
    """The official file, or the same file unpacked."""
    for path in (folder / name, folder / name.removesuffix(".gz")):
        if path.is_file():
            return path
    raise not_prepared("mnist", folder / name)

"""Square crops of photographs: crop i is a function of the seed and i, and of nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError, UsageError
from nc_core.files import describe_os_error
from nc_core.images import IMAGE_SUFFIXES, read_rgb
from nc_core.protocols import Layout

__all__ = ["Crops", "open_crops"]

_SIZE = 32
_LARGEST = 1 << 14
_ENDLESS = "endless"


def open_crops(request: DatasetRequest) -> Crops:
    """Open the crops of a folder's images; the target of the record ``crops``.

    Raises:
        DataError: no such folder, or no image in it.
        UsageError: a wrong value of an option.
    """
    folder = request.required_path()
    size, seed = request.integer("size", _SIZE), request.integer("seed", 0)
    if not 1 <= size <= _LARGEST:
        raise UsageError(f"size={size}: expected 1 to {_LARGEST}")
    paths = _images_below(folder)
    endless = request.options.get("count") == _ENDLESS
    count = None if endless else request.integer("count", len(paths))
    if count == 0:
        raise UsageError("count=0: expected a number of crops, or endless")
    return Crops(request.name, paths, size, seed, count)


class Crops:
    """A sampler of crops.

    They come in rounds; each round takes every image once, in an order of its own, and from each
    a square at a random place. Items are ``{"image": uint8 (size, size, 3)}``: grey images become
    colour, and alpha is dropped.

    Args:
        name: full name of the dataset.
        paths: image files, at least one.
        size: height and width of the crops.
        seed: of places and orders.
        count: number of crops; None for no end.

    Reference:
        F. Kingma, P. Abbeel, J. Ho, "Bit-Swap" (arXiv 1905.06845): 32x32 crops of ImageNet at
        its original size.
    """

    fields = ("image",)
    layout: Layout = "hwc"
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    range: tuple[float, float] = (0, 255)

    def __init__(
        self, name: str, paths: Sequence[Path], size: int, seed: int, count: int | None
    ) -> None:
        self.name = name
        self.shape: tuple[int | None, ...] = (size, size, 3)
        self._paths = paths
        self._size = size
        self._seed = seed
        self._count = count
        self._order = lru_cache(maxsize=2)(self._draw_order)

    def __len__(self) -> int:
        if self._count is None:
            raise TypeError(f"{self.name} has no end")
        return self._count

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        if index < 0 or (self._count is not None and index >= self._count):
            raise IndexError(index)
        round_, place = divmod(index, len(self._paths))
        path = self._paths[self._order(round_)[place]]
        pixels = read_rgb(path)
        room = [side - self._size for side in pixels.shape[:2]]
        if min(room) < 0:
            raise DataError(
                f"{path}: {pixels.shape[1]}x{pixels.shape[0]}, smaller than a crop of {self._size}",
                "take it out of the folder, or choose a smaller size",
            )
        words = _generator(self._seed, index, purpose=1).random_raw(2)
        top, left = (int(word) % (free + 1) for word, free in zip(words, room, strict=True))
        crop = pixels[top : top + self._size, left : left + self._size]
        return {"image": np.ascontiguousarray(crop)}

    def _draw_order(self, round_: int) -> NDArray[np.int64]:
        """Order of the images in a round: the order of random words, ties by index."""
        words = _generator(self._seed, round_, purpose=0).random_raw(len(self._paths))
        return np.argsort(words, kind="stable")


def _generator(seed: int, index: int, purpose: int) -> np.random.Philox:
    """A stream of its own for each index; raw words are the same in every version of NumPy."""
    key = np.array([seed, purpose], np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, 0, 0, index], np.uint64))


def _images_below(folder: Path) -> list[Path]:
    """Image files in a folder and all folders in it, by name."""
    if folder.is_file():
        raise DataError(f"{folder}: a file, not a folder of images")

    def refuse(error: OSError) -> None:
        raise describe_os_error(error, error.filename or folder) from error

    found = [
        Path(base, name)
        for base, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
    ]
    if not found:
        raise DataError(f"{folder}: no image files in this folder, or below it")
    return sorted(found)

"""Where items come from when they are compressed: image files, arrays, datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nc_core.content import Content, Item
from nc_core.datasets.folder import ImageFiles
from nc_core.datasets.items import count_items, file_stem
from nc_core.errors import DataError, UsageError
from nc_core.images import image_files, read_image, read_shape
from nc_core.protocols import Dataset

__all__ = ["ArraySource", "DatasetSource", "FileSource", "Source", "expand_inputs"]

ARRAY_LAYOUTS = ("hw", "hwc", "chw", "nhw", "nhwc", "nchw", "none", "nnone")
Metadata = list[tuple[bytes, bytes]]


class Source(Protocol):
    """Items to compress, described before any is read."""

    content: Content

    def load(self, index: int) -> tuple[NDArray[Any], Metadata]:
        """Samples of item ``index`` in its own layout, and its metadata chunks (type, bytes)."""
        ...


class FileSource:
    """Image files, under their base names.

    Raises:
        DataError: a file is missing, no image, or two have the same name.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        items = []
        for path in self._paths:
            shape, dtype = read_shape(path)
            items.append(Item(shape, dtype, "hw" if len(shape) == 2 else "hwc", path.name))
        self.content = Content("images", tuple(items))
        self.content.check()

    def load(self, index: int) -> tuple[NDArray[Any], Metadata]:
        """Pixels of file ``index``, and its colour profile and EXIF."""
        image = read_image(self._paths[index])
        expected = self.content[index]
        if image.pixels.shape != expected.shape or image.pixels.dtype.name != expected.dtype:
            raise DataError(f"{self._paths[index]}: changed while it was read")
        metadata = [(b"ICCP", image.icc), (b"EXIF", image.exif)]
        return image.pixels, [(kind, data) for kind, data in metadata if data is not None]


class ArraySource:
    """One array of uint8 or uint16 samples.

    Args:
        array: one image (H, W) or (H, W, C), or a batch with one more axis in front.
        layout: order of its axes, where it is not the obvious one (:func:`infer_layout`).
        name: file name under which it is restored.

    Raises:
        UsageError: the layout is unknown or does not fit.
        DataError: a dtype or shape that cannot be coded.
    """

    def __init__(
        self, array: NDArray[Any], layout: str | None = None, name: str = "array.npy"
    ) -> None:
        layout = infer_layout(array.shape) if layout is None else layout
        if layout not in ARRAY_LAYOUTS:
            raise UsageError(f"layout '{layout}' is not one of {', '.join(ARRAY_LAYOUTS)}")
        repeated = layout not in {"hw", "hwc", "chw", "none"}
        shape = array.shape[1:] if repeated else array.shape
        item = Item(shape, array.dtype.name, layout.removeprefix("n") if repeated else layout)
        self.content = Content("array", (item,), array.shape[0] if repeated else None, name)
        self.content.check()
        self._array = array

    def load(self, index: int) -> tuple[NDArray[Any], Metadata]:
        """Item ``index``."""
        return (self._array if self.content.repeat is None else self._array[index]), []


class DatasetSource:
    """The first ``limit`` items of a dataset: one array, or images where the shape varies.

    Raises:
        UsageError: a dataset without end and no limit.
        DataError: samples of a dtype that cannot be coded.
    """

    def __init__(self, dataset: Dataset | ImageFiles, limit: int | None = None) -> None:
        count = count_items(dataset, limit)
        self._dataset = dataset
        self._field = dataset.fields[0]
        stem = file_stem(dataset.name)
        if None in dataset.shape:
            width = len(str(max(count - 1, 0)))
            items = tuple(self._described(i, f"{stem}-{i:0{width}}.png") for i in range(count))
            self.content = Content("images", items)
        else:
            item = Item(dataset.shape, dataset.dtype.name, dataset.layout)  # type: ignore[arg-type]
            self.content = Content("array", (item,) if count else (), count, f"{stem}.npy")
        self.content.check()

    def load(self, index: int) -> tuple[NDArray[Any], Metadata]:
        """The content field of item ``index``."""
        samples = np.asarray(self._dataset[index][self._field])
        expected = self.content[index]
        if samples.shape != expected.shape or samples.dtype.name != expected.dtype:
            raise DataError(f"{self._dataset.name}: item {index} changed while it was read")
        return samples, []

    def _described(self, index: int, name: str) -> Item:
        if isinstance(self._dataset, ImageFiles):  # what a file says of itself needs no decoding
            shape, dtype = read_shape(self._dataset.paths[index])
        else:
            pixels = self._dataset[index][self._field]
            shape, dtype = pixels.shape, pixels.dtype.name
        return Item(shape, dtype, "hw" if len(shape) == 2 else "hwc", name)


def infer_layout(shape: tuple[int, ...]) -> str:
    """The obvious order of axes: a short last axis (1 to 4) holds channels, else batches lead.

    Raises:
        UsageError: none is obvious.
    """
    if len(shape) == 2:
        return "hw"
    if len(shape) == 3:
        return "hwc" if shape[-1] <= 4 else "nhw"
    if len(shape) == 4 and shape[-1] <= 4:
        return "nhwc"
    if len(shape) == 4 and shape[1] <= 4:
        return "nchw"
    raise UsageError(
        f"an array of shape {shape} is not obviously an image or a batch of images",
        f"give its layout, one of {', '.join(ARRAY_LAYOUTS)}",
    )


def expand_inputs(paths: Sequence[Path]) -> list[Path]:
    """Files as they are; a directory stands for the images directly in it.

    Raises:
        DataError: a path that does not exist, or a directory without images.
    """
    files: list[Path] = []
    for path in paths:
        files += image_files(path) if path.is_dir() else [path]
    return files

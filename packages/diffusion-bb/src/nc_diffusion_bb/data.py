"""Images of any dataset as a model takes them: for training, bounds and calibration.

Images of another size are scaled and cropped as the original's loader does; but smaller items of
a dataset that is no folder get the border that they have when they are coded. Of a folder, images
come in the original's order, which goes through the folders below it too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.items import count_items
from nc_core.datasets.opening import find_dataset, make_request, open_dataset
from nc_core.errors import DataError
from nc_core.frame import Frame
from nc_core.images import open_picture
from nc_core.plugins import PluginManager
from nc_core.protocols import Dataset
from nc_diffusion_bb.config import ModelConfig
from nc_diffusion_bb.framing import padding_around
from nc_diffusion_bb.pictures import class_name, fitted, picture_files

__all__ = ["DatasetItems", "FolderFiles", "Images", "open_images", "scaled", "to_pixels"]

_FOLDER = "folder"


def open_images(name: str, model: ModelConfig, plugins: PluginManager | None = None) -> Images:
    """The images of a dataset, in the size and with the channels of a model.

    Args:
        name: as ``--dataset`` takes it: ``cifar10:train``, ``folder:/photos``, ``npy:/x.npy``.
        model: its ``image_size``, ``channels`` and ``classes`` decide.
        plugins: where names are looked up; by default what is installed.

    Raises:
        UsageError, PluginError: no such dataset.
        DataError: files missing or damaged, samples that are no 8-bit images, or a first image
            with other channels.

    Example:
        >>> images = open_images("cifar10:test", ModelConfig())  # doctest: +SKIP
        >>> images.load(np.arange(8)).shape  # doctest: +SKIP
        (8, 3, 32, 32)
    """
    spec = find_dataset(name, plugins)
    source: _Source
    if spec.name == _FOLDER:
        request = make_request(name, spec)
        source = FolderFiles(request.name, request.required_path())
    else:
        source = DatasetItems(open_dataset(name, plugins))
    images = Images(source, (model.channels, model.image_size, model.image_size), model.classes)
    images.first(1)  # what does not fit is said before hours of work
    return images


def scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels 0 ... 255 as the network takes them: x = pixel / 127.5 - 1, in float32."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_pixels(x: NDArray[np.float32]) -> NDArray[np.int32]:
    """The pixels that x in [-1, 1] stands for: (x + 1) * 127.5, rounded half to even; int32."""
    pixels: NDArray[np.float32] = np.rint((x + np.float32(1)) * np.float32(127.5))
    return pixels.astype(np.int32)


class _Source(Protocol):
    """Where images and their classes come from."""

    name: str

    @property
    def count(self) -> int | None: ...

    def __len__(self) -> int: ...

    def image(self, index: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]: ...

    def label(self, index: int) -> int: ...


class Images:
    """Images of one shape, and their classes.

    Args:
        source: of images of any size: :class:`FolderFiles` or :class:`DatasetItems`.
        shape: (channels, height, width) that they are brought to; square.
        classes: number of classes that the model is told of; None for none.

    Attributes:
        name: of the dataset.
    """

    def __init__(
        self, source: _Source, shape: tuple[int, int, int], classes: int | None = None
    ) -> None:
        self.name, self.shape, self.classes = source.name, shape, classes
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    @property
    def count(self) -> int | None:
        """Number of images; None for a sampler without end."""
        return self._source.count

    def load(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images with these indices; uint8, (n, channels, height, width).

        Raises:
            DataError: damaged images, or images with other channels.
        """
        images = np.empty((len(indices), *self.shape), np.uint8)
        for row, index in enumerate(indices):
            images[row] = self._source.image(int(index), self.shape)
        return images

    def first(self, count: int) -> NDArray[np.uint8]:
        """The first images, at most ``count``; uint8, (n, channels, height, width)."""
        available = self.count
        return self.load(np.arange(count if available is None else min(count, available)))

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Classes of the images with these indices; int64, (n,); None for a model without any.

        Raises:
            DataError: the dataset has no classes, or more of them than the model.
        """
        if self.classes is None:
            return None
        labels = np.array([self._source.label(int(index)) for index in indices], np.int64)
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
            raise DataError(
                f"{self.name}: class {labels.max()}, where the model has {self.classes:,} classes",
                "--set model.classes=N makes a model of more",
            )
        return labels


class FolderFiles:
    """Image files in a folder and below it, read when asked for.

    The class of an image is the text before the first underscore of its file name; classes are
    numbered in sorted order.

    Args:
        name: full name of the dataset.
        folder: to search.

    Raises:
        DataError: no such folder, or no image in it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.paths = tuple(picture_files(folder))
        self.classes = tuple(sorted({class_name(path) for path in self.paths}))
        self._numbers = {kind: number for number, kind in enumerate(self.classes)}

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """One image, brought to a shape; uint8, (channels, height, width)."""
        path = self.paths[index]
        with open_picture(path) as picture:
            return fitted(picture, shape[1], shape[0], str(path))

    def label(self, index: int) -> int:
        """Number of its class."""
        return self._numbers[class_name(self.paths[index])]


class DatasetItems:
    """Items of a dataset of 8-bit images.

    Args:
        dataset: of grey or colour images, of any size.

    Raises:
        DataError: other samples.
    """

    def __init__(self, dataset: Dataset) -> None:
        if dataset.layout == "none" or dataset.dtype != np.uint8:
            raise DataError(f"{dataset.name}: holds no 8-bit images")
        self.name = dataset.name
        self._dataset = dataset

    @property
    def count(self) -> int | None:
        """Number of images; None for a sampler without end."""
        try:
            return len(self._dataset)
        except TypeError:
            return None

    def __len__(self) -> int:
        return count_items(self._dataset)

    def image(self, index: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """One image, brought to a shape; uint8, (channels, height, width)."""
        planes = self._planes(index)
        if planes.shape == shape:
            return planes
        if planes.dtype == np.uint8 and planes.shape[0] == shape[0] and _fits(planes, shape):
            height, width = planes.shape[1:]
            frame = Frame(shape, height, width, padding_around(shape[0]))
            framed: NDArray[np.uint8] = frame.pad(planes[None])[0]
            return framed
        label = f"{self.name}, item {index}"
        if planes.dtype != np.uint8 or planes.shape[0] not in (1, 2, 3, 4):
            raise DataError(f"{label}: {planes.dtype} {planes.shape}, no 8-bit image")
        from PIL import Image

        pixels = planes.transpose(1, 2, 0)
        picture = Image.fromarray(
            np.ascontiguousarray(pixels[..., 0] if len(planes) == 1 else pixels)
        )
        return fitted(picture, shape[1], shape[0], label)

    def label(self, index: int) -> int:
        """Number of its class.

        Raises:
            DataError: there are none.
        """
        if "label" not in self._dataset.fields:
            raise DataError(
                f"{self.name}: has no classes, which the model wants to be told",
                "use a dataset with labels, or a folder of files named CLASS_...png",
            )
        return int(self._dataset[index]["label"])

    def _planes(self, index: int) -> NDArray[Any]:
        pixels: NDArray[Any] = self._dataset[index][self._dataset.fields[0]]
        if self._dataset.layout == "hw" or pixels.ndim == 2:
            return pixels[None]
        return pixels.transpose(2, 0, 1) if self._dataset.layout == "hwc" else pixels


def _fits(planes: NDArray[Any], shape: tuple[int, int, int]) -> bool:
    return bool(planes.shape[1] <= shape[1] and planes.shape[2] <= shape[2])

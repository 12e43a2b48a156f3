"""Photographs, and random crops of them to train on.

A crop is cut as it is or rescaled, with mild noise before or after, and turned: so that the model
meets sharp and smooth, clean and noisy pictures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nc_bitswap.photo.lattice import to_planes
from nc_core.datasets.items import count_items
from nc_core.errors import DataError
from nc_core.protocols import Dataset

__all__ = ["Photographs", "random_crop", "random_planes"]

_KEPT_BYTES = 1 << 30
_CHANNELS = (2, 3, 4)  # grey with transparency, RGB, RGB with transparency
_PILLOW_BYTES = 4  # of a pixel in colour
_FILTERS = (
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
)
# Pixels around a box that is rescaled, for the filters to see.
_MARGIN = 4


class Photographs:
    """The images of a dataset in RGB; grey ones are made so, and transparency is dropped.

    As many as a gigabyte holds are decoded once and kept.

    Args:
        dataset: of 8-bit images of any size.

    Raises:
        DataError: it holds something else, or nothing.
        UsageError: it has no end.
    """

    def __init__(self, dataset: Dataset) -> None:
        if dataset.layout == "none" or dataset.dtype != np.uint8 or not count_items(dataset):
            raise DataError(f"{dataset.name}: holds no 8-bit images")
        self.name = dataset.name
        self._dataset = dataset
        self._kept: dict[int, Image.Image] = {}
        self._room = _KEPT_BYTES

    def __len__(self) -> int:
        return len(self._dataset)

    def picture(self, index: int) -> Image.Image:
        """Image ``index``, in RGB; not to be changed.

        Raises:
            DataError: it cannot be read, has more than 8 bits per sample, or other channels than
                grey or RGB with or without transparency.
        """
        found = self._kept.get(index)
        if found is not None:
            return found
        pixels: NDArray[Any] = self._dataset[index][self._dataset.fields[0]]
        if pixels.dtype != np.uint8:
            raise DataError(f"{self.name}: image {index} has {pixels.dtype} samples, not uint8")
        if self._dataset.layout == "chw":
            pixels = pixels.transpose(1, 2, 0)
        if pixels.shape[2:] == (1,):
            pixels = pixels[:, :, 0]
        if pixels.ndim == 3 and pixels.shape[2] not in _CHANNELS:
            raise DataError(
                f"{self.name}: image {index} of shape {pixels.shape} has {pixels.shape[2]} "
                "channels, not 1 to 4"
            )
        picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
        size = _PILLOW_BYTES * picture.width * picture.height
        if size <= self._room:
            self._room -= size
            self._kept[index] = picture
        return picture


def random_planes(
    photographs: Photographs,
    count: int,
    size: int,
    stride: int,
    generator: np.random.Generator,
) -> Tensor:
    """Planes of a lattice of random crops, float32, (count, 3, size / stride, size / stride).

    Args:
        photographs: each is as likely as the others.
        count: how many crops.
        size: their side in pixels, a multiple of ``stride``.
        stride: of the lattice, whose offset is random.
        generator: makes all choices.
    """
    crops = np.stack(
        [
            random_crop(
                photographs.picture(int(generator.integers(len(photographs)))), size, generator
            )
            for _ in range(count)
        ]
    )
    row, column = generator.integers(stride, size=2) if stride > 1 else (0, 0)
    return to_planes(crops[:, row::stride, column::stride].transpose(0, 3, 1, 2))


def random_crop(
    picture: Image.Image, size: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """A crop of a picture of any size, uint8, (size, size, 3)."""
    kind = generator.uniform()
    zoom = 1.0
    if kind >= 0.85:
        zoom = generator.uniform(0.6, 1.0)
    elif kind >= 0.3:
        zoom = generator.uniform(1.0, 2.0)
    zoom = max(zoom, size / picture.width, size / picture.height)
    if zoom == 1.0:
        pixels = _cut(picture, size, generator)
    else:
        pixels = _rescaled(picture, size, zoom, generator)
    if generator.uniform() < 0.5:
        pixels = pixels[:, ::-1]
    if generator.uniform() < 0.5:
        pixels = pixels[::-1]
    if generator.uniform() < 0.3:
        pixels = pixels.transpose(1, 0, 2)
    return pixels


def _cut(picture: Image.Image, size: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    top = int(generator.integers(picture.height - size + 1))
    left = int(generator.integers(picture.width - size + 1))
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)))
    return _noisy(pixels, 0.3, 3.0, generator) if generator.uniform() < 0.25 else pixels


def _rescaled(
    picture: Image.Image, size: int, zoom: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """A square of size / zoom pixels, rescaled; noise comes before, after or not at all."""
    width, height = picture.size
    span = size / zoom
    left = generator.uniform(0, width - span) if width > span else 0.0
    top = generator.uniform(0, height - span) if height > span else 0.0
    box = (left, top, min(left + span, width), min(top + span, height))
    when = generator.uniform()
    if when < 0.3:
        outer = (
            max(int(left) - _MARGIN, 0),
            max(int(top) - _MARGIN, 0),
            min(int(left + span) + _MARGIN + 1, width),
            min(int(top + span) + _MARGIN + 1, height),
        )
        noisy = _noisy(np.asarray(picture.crop(outer)), 0.5, 6.0, generator)
        picture = Image.fromarray(noisy)
        box = (box[0] - outer[0], box[1] - outer[1], box[2] - outer[0], box[3] - outer[1])
    chosen = _FILTERS[generator.integers(len(_FILTERS))]
    pixels = np.asarray(picture.resize((size, size), chosen, box))
    return _noisy(pixels, 0.3, 3.5, generator) if when > 0.45 else pixels


def _noisy(
    pixels: NDArray[np.uint8], least: float, most: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Pixels with Gaussian noise, in part the same for all colours.

    Args:
        pixels: (H, W, 3).
        least: smallest size in grey levels.
        most: largest; between them all octaves are equally likely.
        generator: of the noise.
    """
    size = np.exp(generator.uniform(np.log(least), np.log(most)))
    common = generator.standard_normal(pixels.shape[:2])[..., None] * generator.uniform(0, 1)
    own = generator.standard_normal(pixels.shape) * generator.uniform(0.2, 1)
    noisy: NDArray[np.uint8] = np.clip(np.rint(pixels + size * (common + own)), 0, 255).astype(
        np.uint8
    )
    return noisy

"""Random square crops of the images of a dataset, in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.opening import DatasetRequest, find_dataset
from nc_core.errors import DataError, UsageError
from nc_core.protocols import Layout
from nc_rd_bounds.sources.endless import Endless
from nc_rd_bounds.sources.vectors import Source, open_source, split_source

__all__ = ["ImageCrops", "open_image_crops"]

_OF = "mnist"
_SIDE = 16
_BLOCK = 256
_TEST = "test"


def open_image_crops(request: DatasetRequest) -> ImageCrops:
    """Open one split; the target of the record ``image-crops``.

    ``of=mnist`` takes the images of the same split. A full name (``of=mnist:train``) and a
    dataset without splits serve for both splits: of its images 10 % are kept for ``test``.

    Raises:
        UsageError: crops larger than its images.
        DataError: its files are missing or damaged, or it is none of images of one size.
    """
    side = request.integer("side", _SIDE)
    images = _images(request.options.get("of", _OF), request.split)
    return ImageCrops(request.name, request.split, images, side, request.integer("seed", 0))


def _images(text: str, split: str) -> Source:
    """The images that the crops of a split are of."""
    has_splits = {"train", _TEST} <= set(find_dataset(text).splits)
    head, question, options = text.partition("?")
    if has_splits and ":" not in head:
        return open_source(f"{head}:{split}{question}{options}")
    whole = open_source(text)
    if whole.length is None:
        raise UsageError(f"{whole.name} has no end: crops are taken of finite datasets")
    training, evaluation = split_source(whole)
    return evaluation if split == _TEST else training


class ImageCrops(Endless):
    """Crops in [0, 1], float32 (side, side, channels), without end; grey has one channel.

    Each is of an image chosen at random, at a place chosen at random.

    Args:
        name: full name of the dataset.
        split: ``train`` or ``test``: independent streams.
        images: a finite source of images in [0, 1].
        side: height and width of the crops.
        seed: of images and places.

    Raises:
        UsageError: the images are smaller than the crops.
        DataError: images of values that are not in [0, 1].
    """

    fields = ("image",)
    layout: Layout = "hwc"
    range: tuple[float, float] = (0.0, 1.0)

    def __init__(
        self,
        name: str,
        split: str,
        images: Source,
        side: int,
        seed: int = 0,
    ) -> None:
        if images.layout == "none" or images.value_range != (0.0, 1.0) or images.length is None:
            raise DataError(f"{images.name}: not images of 8 bits")
        height, width, channels = _as_hwc(np.empty((1, *images.shape)), images.layout).shape[1:]
        if not 1 <= side <= min(height, width):
            raise UsageError(f"side={side}: expected 1 to {min(height, width)}, as the images are")
        super().__init__(name, f"image-crops:{split}", seed, (side, side, channels), _BLOCK)
        self._images = images
        self._count = images.length
        self._room = (height - side + 1, width - side + 1)
        self._side = side

    def draw(self, generator: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Draw crops, float32 (count, side, side, channels)."""
        chosen = generator.integers(self._count, size=count)
        tops = generator.integers(self._room[0], size=count)
        lefts = generator.integers(self._room[1], size=count)
        images = _as_hwc(self._images.rows(chosen), self._images.layout)
        crops = np.empty((count, *self._row), np.float32)
        for place, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            crops[place] = images[place, top : top + self._side, left : left + self._side]
        return crops


def _as_hwc(images: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Images with a last axis of channels."""
    if layout == "hw":
        return images[..., np.newaxis]
    return np.moveaxis(images, 1, 3) if layout == "chw" else images

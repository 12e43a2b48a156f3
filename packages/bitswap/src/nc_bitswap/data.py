"""Images of a dataset in the shape that a model takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.items import count_items
from nc_core.errors import DataError
from nc_core.frame import Frame, Padding
from nc_core.protocols import Dataset

__all__ = ["ModelImages"]


class ModelImages:
    """A dataset whose items are padded or cropped to one shape.

    Args:
        dataset: of 8-bit images, grey or with as many channels as the model has.
        shape: (channels, height, width) of the model's images.
        padding: what surrounds images that are smaller.

    Raises:
        DataError: other samples, or another number of channels.
    """

    def __init__(
        self, dataset: Dataset, shape: tuple[int, int, int], padding: Padding = "zero"
    ) -> None:
        if dataset.layout == "none" or dataset.dtype != np.uint8:
            raise DataError(f"{dataset.name}: holds no 8-bit images")
        self._dataset, self._shape, self._padding = dataset, shape, padding

    def __len__(self) -> int:
        return count_items(self._dataset)

    @property
    def count(self) -> int | None:
        """Number of images; None for a sampler without end."""
        try:
            return len(self._dataset)
        except TypeError:
            return None

    def load(
        self, indices: NDArray[np.int64], generator: np.random.Generator | None = None
    ) -> NDArray[np.uint8]:
        """Images with these indices; uint8, (n, C, H, W).

        Args:
            indices: of items, int64.
            generator: chooses where larger images are cropped; None: in the middle.
        """
        images = np.empty((len(indices), *self._shape), np.uint8)
        for row, index in enumerate(indices):
            images[row] = self._image(int(index), generator)
        return images

    def first(self, count: int) -> NDArray[np.uint8]:
        """The first images, at most ``count``; uint8, (n, C, H, W)."""
        return self.load(np.arange(count_items(self._dataset, count)))

    def _image(self, index: int, generator: np.random.Generator | None) -> NDArray[np.uint8]:
        planes = self._planes(index)
        _, height, width = self._shape
        cropped = _crop(planes, height, width, generator)
        frame = Frame(self._shape, cropped.shape[1], cropped.shape[2], self._padding)
        padded: NDArray[np.uint8] = frame.pad(cropped[None])[0]
        return padded

    def _planes(self, index: int) -> NDArray[np.uint8]:
        pixels: NDArray[Any] = self._dataset[index][self._dataset.fields[0]]
        layout = self._dataset.layout
        planes = pixels[None] if layout == "hw" else pixels
        planes = planes.transpose(2, 0, 1) if layout == "hwc" else planes
        if planes.shape[0] != self._shape[0]:
            raise DataError(
                f"{self._dataset.name}: item {index} has {planes.shape[0]} channels, "
                f"the model takes {self._shape[0]}"
            )
        return planes


def _crop(
    planes: NDArray[np.uint8], height: int, width: int, generator: np.random.Generator | None
) -> NDArray[np.uint8]:
    corner = []
    for size, limit in zip(planes.shape[1:], (height, width), strict=True):
        room = max(size - limit, 0)
        corner.append(room // 2 if generator is None else int(generator.integers(room + 1)))
    top, left = corner
    return planes[:, top : top + height, left : left + width]

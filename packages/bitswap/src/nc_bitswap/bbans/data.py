"""Images of a dataset as rows of pixels that a VAE takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_bitswap.bbans.model import Architecture
from nc_bitswap.data import ModelImages
from nc_core.protocols import Dataset
from nc_core.training.randomness import Purpose, philox

__all__ = ["VaeImages"]


class VaeImages:
    """A dataset whose items are padded or cropped to a VAE's image size.

    Where the VAE takes pixels of 0 and 1 and an image has grey levels x of 0 ... 255, each access
    draws 1 with probability x / 255. Images of 0 and 1 are taken as they are.

    Args:
        dataset: of grey 8-bit images.
        architecture: of the VAE.

    Raises:
        DataError: other samples, or another number of channels.
    """

    def __init__(self, dataset: Dataset, architecture: Architecture) -> None:
        self._images = ModelImages(dataset, architecture.image_shape)
        self._binary = architecture.top == 1

    def __len__(self) -> int:
        return len(self._images)

    @property
    def count(self) -> int | None:
        """Number of images; None for a sampler without end."""
        return self._images.count

    def load(
        self, indices: NDArray[np.int64], generator: np.random.Generator | None = None
    ) -> NDArray[np.uint8]:
        """Images with these indices; uint8, (n, dims).

        Args:
            indices: of items, int64.
            generator: of crops and draws; None: crops in the middle, and one and the same draw.
        """
        images = self._images.load(indices, generator).reshape(len(indices), -1)
        if self._binary:
            for image, index in zip(images, indices, strict=True):
                if image.max(initial=0) > 1:
                    source = generator or np.random.Generator(philox(0, Purpose.USER, int(index)))
                    image[:] = source.random(len(image)) < image / 255
        return images

    def first(self, count: int) -> NDArray[np.uint8]:
        """The first images, at most ``count``; uint8, (n, dims)."""
        have = self._images.count
        return self.load(np.arange(count if have is None else min(count, have)))

"""Where smaller blocks lie in the images of one size that a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["PADDINGS", "Frame", "Padding"]

Padding = Literal["zero", "edge"]
PADDINGS: tuple[Padding, ...] = ("zero", "edge")


@dataclass(frozen=True)
class Frame:
    """Where blocks lie in the images that the networks take: in the middle.

    Args:
        image: (channels, height, width) of the networks' images.
        height, width: of the blocks.
        padding: what surrounds them: black, or their own outermost pixels.
    """

    image: tuple[int, int, int]
    height: int
    width: int
    padding: Padding

    @classmethod
    def of_blocks(
        cls,
        image: tuple[int, int, int],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        padding: Padding,
    ) -> Frame:
        """The frame of blocks that a codec was given.

        Args:
            image: (channels, height, width) of the networks' images.
            shape: (B, C, h, w) of the blocks.
            dtype: of their samples.
            padding: what surrounds them.

        Raises:
            ValueError: other channels or dtype, a side of 0, or larger than the images.
        """
        fits = len(shape) == 4 and shape[1] == image[0] and all(shape[1:])
        if not fits or shape[2] > image[1] or shape[3] > image[2] or dtype != np.uint8:
            raise ValueError(
                f"blocks are uint8, (B, {image[0]}, up to {image[1:]}), not {dtype} {shape}"
            )
        return cls(image, shape[2], shape[3], padding)

    @property
    def dims(self) -> int:
        """Samples of one block."""
        return self.image[0] * self.height * self.width

    @property
    def image_dims(self) -> int:
        """Samples of one of the networks' images."""
        return self.image[0] * self.image[1] * self.image[2]

    def pad(self, blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Blocks (B, C, h, w) as images (B, C, H, W)."""
        top, left = self._corner
        below = self.image[1] - self.height - top
        right = self.image[2] - self.width - left
        mode: Any = "edge" if self.padding == "edge" else "constant"
        padded: NDArray[np.uint8] = np.pad(
            blocks, ((0, 0), (0, 0), (top, below), (left, right)), mode
        )
        return padded

    def crop(self, images: NDArray[Any]) -> NDArray[Any]:
        """The part of images (..., H, W) that blocks cover."""
        top, left = self._corner
        return images[..., top : top + self.height, left : left + self.width]

    @property
    def _corner(self) -> tuple[int, int]:
        return (self.image[1] - self.height) // 2, (self.image[2] - self.width) // 2

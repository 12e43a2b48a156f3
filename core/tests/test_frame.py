"""Blocks in the middle of the images that a network takes."""

from __future__ import annotations

import numpy as np
import pytest

from nc_core.frame import Frame, Padding

IMAGE = (1, 4, 6)


@pytest.mark.parametrize(("padding", "above"), [("zero", [0, 0]), ("edge", [1, 2])])
def test_blocks_come_back_from_the_middle(padding: Padding, above: list[int]) -> None:
    blocks = np.array([[[[1, 2], [3, 4]]]], np.uint8)
    frame = Frame.of_blocks(IMAGE, blocks.shape, blocks.dtype, padding)
    images = frame.pad(blocks)
    assert (frame.dims, frame.image_dims, images.shape) == (4, 24, (1, *IMAGE))
    assert images[0, 0, 0, 2:4].tolist() == above
    np.testing.assert_array_equal(frame.crop(images), blocks)


def test_there_may_be_no_blocks() -> None:
    assert Frame.of_blocks(IMAGE, (0, 1, 4, 6), np.dtype(np.uint8), "zero").height == 4


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 4, 6), np.uint8),
        ((1, 3, 4, 6), np.uint8),
        ((1, 1, 5, 6), np.uint8),
        ((1, 1, 4, 7), np.uint8),
        ((1, 1, 0, 6), np.uint8),
        ((1, 1, 4, 6), np.uint16),
    ],
)
def test_blocks_of_another_kind_are_refused(shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match=r"blocks are uint8, \(B, 1, up to \(4, 6\)\), not"):
        Frame.of_blocks(IMAGE, shape, np.dtype(dtype), "zero")

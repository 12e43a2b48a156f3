"""Where images that are smaller than a network's lie in it, and what surrounds them."""

from __future__ import annotations

from nc_core.frame import Frame, Padding

__all__ = ["framed", "padding_around"]


def framed(image: tuple[int, int, int], height: int, width: int) -> Frame:
    """The frame of blocks of that size.

    Args:
        image: (channels, height, width) of the network.
        height: of the blocks, at most that of the network.
        width: of the blocks, the same.
    """
    return Frame(image, height, width, padding_around(image[0]))


def padding_around(channels: int) -> Padding:
    """What surrounds smaller images: grey ones black, others their outermost pixels."""
    return "zero" if channels == 1 else "edge"

"""Where images that are smaller than a network's lie in it, and what surrounds them."""

from __future__ import annotations

from nc_core.frame import Frame

__all__ = ["framed"]


def framed(image: tuple[int, int, int], height: int, width: int) -> Frame:
    """The frame of blocks: black around grey images, their outermost pixels around others.

    Args:
        image: (channels, height, width) of the network.
        height: of the blocks, at most that of the network.
        width: of the blocks, the same.
    """
    return Frame(image, height, width, "zero" if image[0] == 1 else "edge")

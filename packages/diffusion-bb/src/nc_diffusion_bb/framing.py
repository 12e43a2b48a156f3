"""What surrounds images that are smaller than a network's."""

from __future__ import annotations

from nc_core.frame import Padding

__all__ = ["padding_around"]


def padding_around(channels: int) -> Padding:
    """What surrounds smaller images: grey ones black, others their outermost pixels."""
    return "zero" if channels == 1 else "edge"

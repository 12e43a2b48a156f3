"""Sizes of networks, within limits that settings and model files have in common."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

__all__ = [
    "MOST_CHANNELS",
    "MOST_LATTICES",
    "MOST_LAYERS",
    "MOST_LEVELS",
    "MOST_PIXELS",
    "MOST_WIDTH",
    "check_flag",
    "check_sizes",
]

MOST_CHANNELS = 4
"""Of images."""
MOST_PIXELS = 1 << 12
"""Along one side of the images that networks take."""
MOST_LEVELS = 64
"""Of latents."""
MOST_LATTICES = 6
"""Above the base of a photograph."""
MOST_LAYERS = 1 << 8
"""Of one kind in one network."""
MOST_WIDTH = 1 << 14
"""Channels or units of one layer."""


def check_sizes(sizes: object, limits: Mapping[str, tuple[int, int]]) -> None:
    """Refuse sizes out of range.

    Args:
        sizes: has attributes that are whole numbers, or tuples of them.
        limits: the smallest and the largest number, by the attribute's name.

    Raises:
        ValueError: out of range, or no whole numbers; the message says which and what it may be.
    """
    for name, (least, most) in limits.items():
        value = getattr(sizes, name)
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) is not int or not least <= number <= most:
                raise ValueError(
                    f"{name} is {_shown(number)}, not a whole number from {least} to {most:,}"
                )


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither true nor false.

    Raises:
        ValueError: something else.
    """
    if type(value) is not bool:
        raise ValueError(f"{name} is {_shown(value)}, not true or false")


def _shown(value: Any) -> str:
    return f"{value:,}" if type(value) is int and abs(value) < 1 << 64 else reprlib.repr(value)

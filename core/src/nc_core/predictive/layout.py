"""Numbers that the compiled loops and what surrounds them must agree on."""

from __future__ import annotations

__all__ = ["CLASSES", "FEATURES", "PAD", "PRECISION", "TOP", "UNSET", "USED"]

PRECISION = 24
PAD = 4  # columns on each side of a padded plane
TOP = 3  # rows above it; there is one below
UNSET = -(1 << 30)  # a sample of a padded plane that was never coded
FEATURES = 24  # 23 differences and a zero, so that loops have a fixed length
USED = (11, 19, 23, 23)  # differences that the first, second, third, fourth plane uses
CLASSES = 8  # of activity and direction

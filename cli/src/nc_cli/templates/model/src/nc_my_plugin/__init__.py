"""A lossless image model: every position of an image has a histogram of its own."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

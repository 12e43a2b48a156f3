"""Bit-Swap: lossless compression with hierarchical latent variables."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

"""Lossless compression with diffusion models (Nichol and Dhariwal, ICML 2021, arXiv 2102.09672).

The improved DDPM as a chain of latents: its variational bound, and bits-back coding that reaches
it, in files that decode on every machine.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

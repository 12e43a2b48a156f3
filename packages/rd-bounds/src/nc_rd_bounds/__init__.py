"""Sandwich bounds on the rate-distortion function (Yang and Mandt, ICLR 2022, arXiv 2111.12166).

Vector sources; an upper bound from variational autoencoders, a lower bound from Csiszar's dual,
Blahut-Arimoto, and closed forms.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

"""An evaluator: the entropy of the values of a dataset."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

"""The nc command line: one front end for every nc package."""

from __future__ import annotations

__version__ = "0.1.0"

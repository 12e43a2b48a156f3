"""What DEFLATE (gzip, zip, PNG) can do at best: a bound on what a small file may declare."""

from __future__ import annotations

__all__ = ["MOST_RATIO"]

MOST_RATIO = 1032
"""DEFLATE codes at most 258 bytes in 2 bits: no data grow by more when they are unpacked."""

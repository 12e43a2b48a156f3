"""Logarithms that are the same bits on every machine, for the few numbers that need one."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache

__all__ = ["log2"]

_DIGITS = 40


@lru_cache(maxsize=1 << 16)
def log2(value: float) -> float:
    """log2 of a positive number, correctly rounded to float64."""
    with localcontext() as context:
        context.prec = _DIGITS
        return float(Decimal(value).ln() / Decimal(2).ln())

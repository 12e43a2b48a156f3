"""The learning-rate schedule of the paper: three drops by 5, at 1/2, 3/4 and 7/8 of a run."""

from __future__ import annotations

__all__ = ["decayed"]


def decayed(base: float, step: int, last: int) -> float:
    """The learning rate at ``step`` (or epoch) of ``last``, counted from 0.

    Returns:
        ``base`` before half of the run, 0.2 of it before three quarters, 0.04 before seven
        eighths, and 0.008 of it afterwards.

    Example:
        >>> [decayed(1.0, step, 8) for step in (0, 4, 6, 7)]
        [1.0, 0.2, 0.04, 0.008]
    """
    if 2 * step < last:
        return base
    if 4 * step < 3 * last:
        return base * 0.2
    if 8 * step < 7 * last:
        return base * 0.04
    return base * 0.008

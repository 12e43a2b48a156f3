"""Curves of rate and distortion: the hull of points above, the envelope of lines below.

R(D) is convex and does not increase. So what lies above it may be replaced by its lower convex
hull (codes can share their time), and what lies below it by its upper envelope.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["envelope", "hull_rates", "lower_convex_hull"]

_Point = tuple[float, float]


def lower_convex_hull(points: Iterable[_Point]) -> list[_Point]:
    """The convex curve below points, as far as it falls.

    Args:
        points: (distortion, rate), in any units that all of them share, and finite.

    Returns:
        corners by rising distortion and falling rate: a point is kept when no mixture of two
        others does as well. Points on an edge are left out.

    Example:
        >>> lower_convex_hull([(1, 2), (2, 1.9), (3, 1), (4, 1)])
        [(1, 2), (3, 1)]
    """
    hull: list[_Point] = []
    for point in sorted(points):
        if hull and point[1] >= hull[-1][1]:
            continue  # more distortion, and no less rate
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def hull_rates(hull: Sequence[_Point], distortions: ArrayLike) -> NDArray[np.float64]:
    """Rates on a hull: infinite left of its first corner, constant right of its last.

    Args:
        hull: of :func:`lower_convex_hull`; without corners, all rates are infinite.
        distortions: float, any shape.

    Returns:
        float64, of that shape.
    """
    wanted = np.asarray(distortions, np.float64)
    if not hull:
        return np.full(wanted.shape, np.inf)
    corners = np.asarray(hull, np.float64)
    rates: NDArray[np.float64] = np.interp(wanted, corners[:, 0], corners[:, 1], left=np.inf)
    return rates


def envelope(lines: Iterable[_Point], distortions: ArrayLike) -> NDArray[np.float64]:
    """The largest of lines ``intercept - slope * distortion``, and of 0, which no rate is below.

    Args:
        lines: (slope, intercept), with slopes that are not negative.
        distortions: float, any shape.

    Returns:
        float64, of that shape.
    """
    wanted = np.asarray(distortions, np.float64)
    rates = np.zeros(wanted.shape)
    for slope, intercept in lines:
        rates = np.maximum(rates, intercept - slope * wanted)
    return rates


def _turns_down(first: _Point, middle: _Point, last: _Point) -> bool:
    """Whether the middle point lies on or above the chord of the two others."""
    ahead = (last[0] - first[0]) * (middle[1] - first[1])
    return ahead >= (middle[0] - first[0]) * (last[1] - first[1])

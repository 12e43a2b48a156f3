"""Hulls of points and envelopes of lines, and the closed form between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nc_core.rate_distortion import envelope, hull_rates, lower_convex_hull

VARIANCES = np.array([4.0, 1.0])
NUMBERS = st.floats(0, 100, width=16)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30)


def truth(level: float) -> tuple[float, float]:
    """Mean squared error and rate (nats per vector) of a Gaussian at a water level."""
    rate = 0.5 * np.log(np.maximum(VARIANCES / level, 1.0)).sum()
    return float(np.minimum(VARIANCES, level).mean()), float(rate)


@given(POINTS)
def test_the_hull_is_convex_falls_and_lies_below_all_points(
    points: list[tuple[float, float]],
) -> None:
    hull = lower_convex_hull(points)
    assert set(hull) <= set(points)
    corners = np.array(hull)
    steps = np.diff(corners, axis=0)
    assert (steps[:, 0] > 0).all() and (steps[:, 1] < 0).all()
    slopes = steps[:, 1] / steps[:, 0]
    assert (np.diff(slopes) > 0).all()
    everywhere = np.array(points)
    assert (hull_rates(hull, everywhere[:, 0]) <= everywhere[:, 1] + 1e-9).all()


@given(POINTS)
def test_the_hull_of_a_hull_is_itself(points: list[tuple[float, float]]) -> None:
    hull = lower_convex_hull(points)
    assert lower_convex_hull(reversed(hull)) == hull


def test_points_on_an_edge_and_points_that_are_worse_are_left_out() -> None:
    points = [(0, 4), (1, 3), (2, 2), (2, 5), (3, 2), (4, 0), (5, 1), (0, 6)]
    assert lower_convex_hull(points) == [(0, 4), (4, 0)]
    assert lower_convex_hull([]) == []


def test_a_hull_has_no_rate_left_of_its_corners_and_a_constant_one_right_of_them() -> None:
    rates = hull_rates([(1, 3), (3, 1)], [0.5, 1, 2, 3, 9])
    np.testing.assert_array_equal(rates, [np.inf, 3, 2, 1, 1])
    np.testing.assert_array_equal(hull_rates([], [[1.0, 2.0]]), [[np.inf, np.inf]])


def test_the_envelope_is_the_largest_line_and_never_negative() -> None:
    lines = [(1.0, 2.0), (4.0, 3.0), (0.0, -1.0)]
    np.testing.assert_allclose(envelope(lines, [0.0, 0.25, 1.0, 2.0, 5.0]), [3, 2, 1, 0, 0])
    np.testing.assert_array_equal(envelope([], [1.0, 2.0]), [0, 0])


def test_hull_and_envelope_enclose_the_truth_and_meet_it() -> None:
    levels = np.geomspace(0.01, 4, 40)
    points = [truth(level) for level in levels]
    # A slope of -lambda belongs to the level dims / (2 lambda), mean squared error being averaged.
    lines = [(1 / level, rate + distortion / level) for level, (distortion, rate)
             in zip(levels, points, strict=True)]  # fmt: skip
    fine = np.array([truth(level) for level in np.geomspace(0.01, 4, 777)])
    above, below = hull_rates(lower_convex_hull(points), fine[:, 0]), envelope(lines, fine[:, 0])
    assert (above >= fine[:, 1] - 1e-12).all()
    assert (below <= fine[:, 1] + 1e-12).all()
    assert (above - below).max() < 0.02
    corners = np.array(points)
    assert envelope(lines, corners[:, 0]) == pytest.approx(corners[:, 1], abs=1e-12)

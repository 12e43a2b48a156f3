"""Points of rate and distortion: units, JSON, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from nc_core.rates import RatePoint, decibels

POINT = RatePoint(
    kind="upper", method="beta-vae", dims=6, rate=2.0, distortion=0.25, slope=3.0, intercept=2.75,
    rate_error=0.02, distortion_error=0.01, intercept_error=0.03, interval=(2.7, 2.8),
    confidence=0.95, value_range=(0.0, 1.0), n=1000, dataset="banana:test", seed=4,
    notes=("rate near ln(n)",),
)  # fmt: skip
UNITS = list(product(("nats", "bits"), ("vector", "dimension"), ("mse", "sse")))


@pytest.mark.parametrize(("unit", "per", "measure"), UNITS)
def test_rate_plus_slope_times_distortion_is_the_same_amount_in_every_unit(
    unit: Any, per: Any, measure: Any
) -> None:
    other = POINT.converted(unit, per, measure)
    assert (other.rate_unit, other.rate_per, other.measure) == (unit, per, measure)
    assert other.rate and other.slope and other.distortion and other.intercept
    nats = (math.log(2) if unit == "bits" else 1) * (6 if per == "dimension" else 1)
    objective = other.rate + other.slope * other.distortion
    assert objective * nats == pytest.approx(2.0 + 3.0 * 0.25, rel=1e-15)
    assert other.intercept == pytest.approx(objective, rel=1e-15)
    assert other.interval == pytest.approx((2.7 / nats, 2.8 / nats))
    assert other.distortion == pytest.approx(0.25 * (6 if measure == "sse" else 1))
    assert other.distortion_error == pytest.approx(0.01 * (6 if measure == "sse" else 1))


@pytest.mark.parametrize(("unit", "per", "measure"), UNITS)
def test_a_conversion_there_and_back_changes_nothing(unit: Any, per: Any, measure: Any) -> None:
    back = POINT.converted(unit, per, measure).converted("nats", "vector", "mse")
    for name, value in vars(POINT).items():
        expected = pytest.approx(value, rel=1e-15) if isinstance(value, float) else value
        found = getattr(back, name)
        assert found == (pytest.approx(value, rel=1e-15) if name == "interval" else expected), name


def test_the_conversions_are_those_of_the_definitions() -> None:
    bits = POINT.converted("bits")
    assert (bits.rate, bits.slope) == pytest.approx((2 / math.log(2), 3 / math.log(2)))
    per_dimension = POINT.converted(rate_per="dimension")
    assert (per_dimension.rate, per_dimension.slope) == pytest.approx((2 / 6, 3 / 6))
    summed = POINT.converted(measure="sse")
    assert (summed.distortion, summed.slope) == pytest.approx((0.25 * 6, 3 / 6))
    assert POINT.converted() == POINT


def test_a_line_has_no_rate_in_any_unit() -> None:
    line = RatePoint(kind="lower", method="dual", dims=2, slope=3.0, intercept=2.0)
    other = line.converted("bits", "dimension", "sse")
    assert other.rate is None and other.distortion is None and other.interval is None
    # The rate that it gives at a distortion is the same rate.
    assert other.intercept and other.slope
    nats = (other.intercept - other.slope * (2 * 0.1)) * math.log(2) * 2
    assert nats == pytest.approx(2.0 - 3.0 * 0.1)


def test_a_point_comes_back_from_json() -> None:
    document = json.loads(json.dumps(POINT.to_json(), allow_nan=False))
    assert document["schema"] == "nc.rate-point/1"
    assert RatePoint.from_json(document) == POINT
    line = RatePoint(kind="lower", method="dual", dims=2, slope=3.0, intercept=2.0)
    assert RatePoint.from_json(json.loads(json.dumps(line.to_json()))) == line


def test_json_has_null_for_what_is_not_finite() -> None:
    document = replace(POINT, rate=math.inf, rate_error=math.nan).to_json()
    assert document["rate"] is None and document["rate_error"] is None
    json.dumps(document, allow_nan=False)


def test_an_interval_without_an_end_is_none_in_json() -> None:
    point = replace(POINT, interval=(-math.inf, 2.0), value_range=(0.0, math.nan))
    document = json.loads(json.dumps(point.to_json(), allow_nan=False))
    assert document["interval"] is None and document["value_range"] is None
    assert RatePoint.from_json(document) == replace(POINT, interval=None, value_range=None)


def test_unknown_keys_of_later_versions_are_passed_over() -> None:
    assert RatePoint.from_json(POINT.to_json() | {"colour": "red"}) == POINT


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "guess"}, {"rate_unit": "hartleys"}, {"rate_per": "pixel"},
        {"measure": "hamming"}, {"dims": 0},
    ],
    ids=str,
)  # fmt: skip
def test_other_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(POINT, **wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RatePoint.from_json(POINT.to_json() | wrong)


@pytest.mark.parametrize(
    "document", [{}, [], None, {"schema": "nc.rate/1"}, {"schema": "nc.rate-point/1"}], ids=str
)
def test_other_documents_are_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="not a record of nc"):
        RatePoint.from_json(document)


def test_decibels_are_relative_to_the_peak() -> None:
    assert decibels(255.0**2, 255.0) == 0.0
    assert decibels(0.01, 1.0) == pytest.approx(20.0)
    assert decibels(0.0, 1.0) == math.inf

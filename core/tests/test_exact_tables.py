"""Integer tables: correctly rounded, frozen by hash, and in step with the coder's grids."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nc_core.ans.distributions.grids import scale_index  # noqa: E402
from nc_core.exact import curves, tables  # noqa: E402

NAMES = tuple(tables.SHA256)


def real(name: str, x: Decimal) -> Decimal:
    """The function to 50 digits."""
    if name == "elu":
        return x.exp() - 1 if x < 0 else x
    if name == "tanh":
        return 1 - 2 / ((2 * x).exp() + 1)
    if name == "softplus":
        return (1 + x.exp()).ln()
    sigmoid = 1 / (1 + (-x).exp())
    return sigmoid if name == "sigmoid" else x * sigmoid


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_correctly_rounded(name: str) -> None:
    table = tables.activation(name)
    with localcontext() as context:
        context.prec = 50
        for argument in range(table.low, table.high + 1, 97):
            exact = real(name, Decimal(argument) / (1 << tables.ARGUMENT_BITS))
            value = exact * (1 << table.fraction_bits)
            assert abs(int(table.values[argument - table.low]) - value) <= Decimal("0.5")


@pytest.mark.parametrize("name", NAMES)
def test_asymptotes_go_on_where_a_table_ends(name: str) -> None:
    table = tables.activation(name)
    with localcontext() as context:
        context.prec = 50
        for distance in (1, 2, 100, 1 << 14, 1 << 17):
            below = real(name, Decimal(table.low - distance) / (1 << tables.ARGUMENT_BITS))
            above = real(name, Decimal(table.high + distance) / (1 << tables.ARGUMENT_BITS))
            one = 1 << table.fraction_bits
            assert round(below * one) == table.values[0]
            last = int(table.values[-1]) + (distance if table.linear else 0)
            assert round(above * one) == last


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_those_of_the_format(name: str) -> None:
    assert tables.activation(name).sha256 == tables.SHA256[name]


def test_values_as_floats_are_exact() -> None:
    for name in NAMES:
        table = tables.activation(name)
        assert np.array_equal(np.ldexp(table.floats, table.fraction_bits), table.values)


MAPS = {
    "posterior": ("sigmoid", 0.1, 0.9, 2.0, 1.0, 0),
    "prior": ("softplus", 0.1, 0.9, math.log(math.e - 1), 1.0, -2),
    "pixels": ("softplus", 2 / 255 / 8, 1.0, 0.0, 127.5, 0),
    "octaves": ("exponential", 0.0, 1.0, 0.0, 1.0, 3),
}


@pytest.mark.parametrize("name", MAPS)
def test_scale_tables_round_as_the_coder_does(name: str) -> None:
    curve, low, span, shift, gain, scale_shift = MAPS[name]
    table = tables.scale_table(curve, low, span, shift, gain, scale_shift)
    raw = np.ldexp(np.arange(len(table.indices)) + table.low, -tables.RAW_BITS) + shift
    value = {
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "softplus": lambda x: np.logaddexp(0, x),
        "exponential": np.exp2,
    }[curve](raw)
    expected = scale_index(gain * (low + span * value), scale_shift)
    assert np.abs(table.indices - expected).max() == 0
    assert (np.diff(table.indices) >= 0).all()


def test_a_scale_map_that_is_no_map_is_refused() -> None:
    with pytest.raises(ValueError, match="low >= 0, span > 0"):
        tables.scale_table("sigmoid", -0.1, 0.9, 2.0, 1.0, 0)


def test_curves_keep_a_hundred_bits() -> None:
    start, step, count = -1, 1 / 128, 300
    with localcontext() as context:
        context.prec = 60
        points = [Decimal(start) + Decimal(step) * j for j in range(count)]
        slack = Decimal(2) ** -100
        fractions = (curves.Fraction(start), curves.Fraction(step), count)
        one = Decimal(1 << curves.BITS)
        for function, exact in (
            (curves.exponential, lambda x: x.exp()),
            (curves.logistic, lambda x: 1 / (1 + (-x).exp())),
            (curves.softplus, lambda x: (1 + x.exp()).ln()),
        ):
            values = function(*fractions)
            assert max(abs(v / one - exact(x)) for v, x in zip(values, points, strict=True)) < slack


def test_softplus_refuses_steps_for_which_its_series_is_too_short() -> None:
    with pytest.raises(ValueError, match="steps up to"):
        curves.softplus(curves.Fraction(0), curves.Fraction(1, 16), 3)

"""The figure of rate and distortion: what is drawn where, in which units."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nc_core.errors import UsageError
from nc_core.plots import save_figure
from nc_core.rates import RatePoint
from nc_core.rd_figure import Units, draw_rate_distortion, points_table


def point(kind: Any, method: str, **values: Any) -> RatePoint:
    return RatePoint(kind=kind, method=method, dims=2, **values)


POINTS = [
    point("upper", "beta-vae", rate=4.0, distortion=0.02, rate_error=0.1, distortion_error=0.001),
    point("upper", "beta-vae", rate=3.9, distortion=0.3),
    point("upper", "ntc", rate=1.0, distortion=1.0),
    point("lower", "dual", slope=3.0, intercept=2.0, interval=(1.9, 2.1), confidence=0.95),
    point("lower", "dual", slope=30.0, intercept=3.5),
    point("estimate", "blahut-arimoto", rate=1.5, distortion=0.3, n=100, notes=("few bins",)),
    *(point("analytic", "water-filling", rate=-0.9 * math.log(d), distortion=d)
      for d in (0.03, 0.1, 0.3, 1.0)),
    point("operating-point", "codec", rate=3.0, distortion=0.4),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _matplotlib() -> None:
    pytest.importorskip("matplotlib")


def curves(figure: Any) -> dict[str, np.ndarray]:
    """(x, y) of what the legend names."""
    (axes,) = figure.axes
    return {line.get_label(): np.array(line.get_xydata()) for line in axes.get_lines()}


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_everything_is_named_and_has_units() -> None:
    figure = draw_rate_distortion(POINTS, title="Banana")
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "Banana"
    assert axes.get_xlabel() == "distortion: mean squared error"
    assert axes.get_ylabel() == "rate [nats/vector]"
    assert axes.get_xscale() == "log"
    assert legend(figure) == [
        "between the bounds", "convex hull of the upper bounds", "lower bound: dual",
        "95 % confidence, each line", "envelope of the lower bounds", "analytic: water-filling",
        "estimate: blahut-arimoto", "upper bound: beta-vae (± 2 s.e.)", "upper bound: ntc",
        "codec: codec",
    ]  # fmt: skip
    assert [text.get_text() for text in axes.texts] == ["codec"]


def test_hull_and_envelope_are_where_they_belong() -> None:
    drawn = curves(draw_rate_distortion(POINTS, logarithmic=False))
    hull = drawn["convex hull of the upper bounds"]
    known = hull[np.isfinite(hull[:, 1])]
    assert known[0] == pytest.approx([0.02, 4.0])
    chord = 4.0 - 3.0 * (known[:, 0] - 0.02) / 0.98  # beta-vae's second point lies above it
    np.testing.assert_allclose(known[:, 1], np.maximum(chord, 1.0), atol=1e-12)
    below = drawn["envelope of the lower bounds"]
    expected = np.maximum(np.maximum(2.0 - 3.0 * below[:, 0], 3.5 - 30.0 * below[:, 0]), 0.0)
    np.testing.assert_allclose(below[:, 1], expected, atol=1e-12)


def test_other_units_move_everything_together() -> None:
    units = Units(rate_unit="bits", rate_per="dimension", measure="sse")
    figure = draw_rate_distortion(POINTS, units=units)
    assert figure.axes[0].get_ylabel() == "rate [bits/dimension]"
    assert "summed over dimensions" in figure.axes[0].get_xlabel()
    nats, bits = curves(draw_rate_distortion(POINTS)), curves(figure)
    for name, curve in nats.items():
        if not name.startswith("_"):
            np.testing.assert_allclose(bits[name][:, 1], curve[:, 1] / (2 * math.log(2)))
            np.testing.assert_allclose(bits[name][:, 0], 2 * curve[:, 0], rtol=1e-12)


def test_decibels_rise_with_the_rate() -> None:
    figure = draw_rate_distortion(POINTS, units=Units(peak=1.0))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "PSNR [dB], peak 1"
    assert axes.get_xscale() == "linear"
    assert curves(figure)["upper bound: ntc"].tolist() == [[0.0, 1.0]]
    curve = curves(figure)["analytic: water-filling"]
    assert curve[0] == pytest.approx([10 * math.log10(1 / 0.03), -0.9 * math.log(0.03)])


@pytest.mark.parametrize("kind", ["upper", "lower", "estimate", "analytic", "operating-point"])
@pytest.mark.parametrize("peak", [None, 2.0])
def test_points_of_one_kind_can_be_drawn_alone(kind: str, peak: float | None) -> None:
    some = [point for point in POINTS if point.kind == kind]
    for shown in (some, some[:1]):
        assert draw_rate_distortion(shown, units=Units(peak=peak)).axes


def test_lossless_points_have_a_place_on_a_linear_axis_only() -> None:
    lossless = replace(POINTS[-1], distortion=0.0)
    figure = draw_rate_distortion([*POINTS, lossless])
    assert figure.axes[0].get_xscale() == "linear"
    assert [0.0, 3.0] in curves(figure)["codec: codec"].tolist()
    decibels = draw_rate_distortion([*POINTS, lossless], units=Units(peak=1.0))
    assert len(curves(decibels)["codec: codec"]) == 1


def test_points_that_diverged_are_left_out() -> None:
    diverged = replace(POINTS[0], rate=math.nan)
    assert legend(draw_rate_distortion([diverged, POINTS[-1]])) == ["codec: codec"]
    with pytest.raises(UsageError, match="no points to draw"):
        draw_rate_distortion([diverged])


def test_vectors_of_different_sizes_are_compared_per_dimension_only() -> None:
    other = replace(POINTS[-1], dims=3)
    with pytest.raises(UsageError, match="2 and 3 dimensions"):
        draw_rate_distortion([*POINTS, other])
    draw_rate_distortion([*POINTS, other], units=Units(rate_per="dimension"))


@pytest.mark.parametrize(("measure", "peak"), [("sse", 1.0), ("mse", 0.0), ("mse", math.nan)])
def test_impossible_units_are_refused(measure: Any, peak: float) -> None:
    with pytest.raises(UsageError, match="PSNR"):
        Units(measure=measure, peak=peak)


def test_the_table_has_the_points_in_the_units_of_the_figure(tmp_path: Path) -> None:
    units = Units(rate_unit="bits", peak=1.0)
    columns, rows = points_table(POINTS, units)
    assert all(len(row) == len(columns) for row in rows)
    first = dict(zip(columns, rows[0], strict=True))
    assert first["rate [bits/vector]"] == pytest.approx(4.0 / math.log(2))
    assert first["psnr [dB]"] == pytest.approx(10 * math.log10(1 / 0.02))
    line = dict(zip(columns, rows[3], strict=True))
    assert line["psnr [dB]"] is None and line["rate [bits/vector]"] is None
    assert line["slope [bits/vector per mse]"] == pytest.approx(3.0 / math.log(2))
    assert line["interval low [bits/vector]"] == pytest.approx(1.9 / math.log(2))
    assert dict(zip(columns, rows[5], strict=True))["notes"] == "few bins"
    figure = draw_rate_distortion(POINTS, units=units)
    _, table = save_figure(figure, tmp_path / "rd.svg", columns, rows)
    assert table.read_text().count("\n") == 1 + len(POINTS)

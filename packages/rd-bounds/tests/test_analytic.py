"""Closed forms: water-filling, the Shannon lower bound, estimates from samples."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.errors import DataError, UsageError
from nc_rd_bounds.analytic import (
    even_levels,
    gaussian_optimum,
    reference_curve,
    reference_points,
    shannon_intercept,
    variances_of,
    water_filling,
)
from nc_rd_bounds.estimates import estimate_entropy, estimated_points, sample_count
from nc_rd_bounds.sources.vectors import first, open_source

PARAMETERS = Path("data", "rd-sources", "gaussian_params-dim=1000.npz")
LN2 = math.log(2)


@pytest.fixture(scope="module")
def variances(shared: Path) -> NDArray[np.float64]:
    """Of the paper's Gaussian of 1000 dimensions."""
    with np.load(shared / PARAMETERS) as file:
        return file["var"].astype(float)


def test_water_filling_is_the_originals(shared: Path, variances: NDArray[np.float64]) -> None:
    golden = np.load(shared / "golden/rd-bounds-vector/sources/gaussian_rdf.npz")
    for name, values in (("small", golden["small_var"]), ("dim1000", variances)):
        errors, rates = water_filling(values, even_levels(values, 21))
        assert errors[0] == 0 and math.isinf(rates[0])
        tolerance = {"rtol": 1e-5, "atol": 1e-6}  # the second is of float32 variances
        np.testing.assert_allclose(errors, golden[f"{name}_se_D"], **tolerance)
        np.testing.assert_allclose(errors / len(values), golden[f"{name}_mse_D"], **tolerance)
        for measure in ("mse", "se"):
            np.testing.assert_allclose(rates, golden[f"{name}_{measure}_R"], **tolerance)


@pytest.mark.parametrize(
    ("lamb", "rate", "distortion", "loss"),
    [
        (0.3, 0, 1.022700, 0.306810),
        (1, 0.288369, 0.588251, 0.876620),
        (3, 0.902724, 0.225171, 1.578236),
        (10, 1.706635, 0.070676, 2.413394),
        (30, 2.479695, 0.023886, 3.196271),
        (100, 3.341560, 0.0071980, 4.061362),
        (300, 4.132053, 0.0024017, 4.852577),
    ],
)
def test_the_optimum_of_the_papers_gaussian_in_bits_per_dimension(
    variances: NDArray[np.float64], lamb: float, rate: float, distortion: float, loss: float
) -> None:
    nats = 1000 * LN2  # per vector, of one bit per dimension
    found = gaussian_optimum(variances, lamb * nats)
    assert found.rate / nats == pytest.approx(rate, abs=1e-6)
    assert found.distortion == pytest.approx(distortion, abs=1e-6)
    assert found.intercept / nats == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize(("dims", "lamb"), [(2, 3.0), (2, 10.0), (4, 6.0), (8, 12.0), (8, 40.0)])
def test_the_intercept_of_a_standard_gaussian_has_a_closed_form(dims: int, lamb: float) -> None:
    (point,) = reference_points(open_source(f"gaussian?dim={dims}"), [lamb])
    assert point.kind == "analytic" and point.dataset == f"gaussian:train?dim={dims}"
    assert point.rate == pytest.approx(dims / 2 * math.log(2 * lamb / dims))
    assert point.distortion == pytest.approx(dims / (2 * lamb))
    assert point.intercept == pytest.approx(dims / 2 * (1 + math.log(2 * lamb / dims)))


def test_a_small_lambda_has_no_rate() -> None:
    found = gaussian_optimum(np.ones(4), 1.5)
    assert (found.rate, found.distortion, found.intercept) == (0, 1, 1.5)


def test_the_optimum_touches_the_curve_from_below(variances: NDArray[np.float64]) -> None:
    errors, rates = water_filling(variances, np.geomspace(1e-3, variances.max(), 400))
    for lamb in (1000.0, 10_000.0):
        losses = rates + lamb * errors / 1000
        found = gaussian_optimum(variances, lamb).intercept
        assert found <= losses.min() + 1e-9 and losses.min() - found < 1e-3 * found


def test_coordinates_without_variance_cost_nothing() -> None:
    found = gaussian_optimum(np.array([1.0, 0.0]), 4.0)
    assert found.rate == pytest.approx(gaussian_optimum(np.array([1.0]), 2.0).rate)
    errors, rates = water_filling(np.array([1.0, 0.0]), np.array([0.25]))
    assert errors[0] == 0.25 and rates[0] == pytest.approx(LN2)


def test_a_full_covariance_counts_by_its_eigenvalues() -> None:
    covariance = np.array([[2.0, 1.2], [1.2, 2.0]])
    np.testing.assert_allclose(variances_of(covariance), [3.2, 0.8])
    np.testing.assert_allclose(variances_of(np.array([0.5, 2.0])), [2.0, 0.5])
    for bad in (np.ones((2, 3)), np.array([[1, 2], [0, 1]]), np.array([[1, 2], [2, 1]])):
        with pytest.raises(UsageError, match="covariance"):
            variances_of(bad)


@pytest.mark.parametrize(
    ("lamb", "intercept"), [(0.3, 0.2015), (1, 1.4055), (3, 2.5041), (10, 3.7081), (30, 4.8067)]
)
def test_the_shannon_bound_of_the_banana(lamb: float, intercept: float) -> None:
    (line,) = reference_points(open_source("banana"), [lamb])
    assert (line.kind, line.method, line.rate) == ("lower", "shannon", None)
    assert line.intercept == pytest.approx(intercept, abs=1e-4)


def test_the_shannon_bound_is_exact_for_a_gaussian() -> None:
    source = open_source("gaussian?dim=4")
    assert source.truth is not None
    (point,) = reference_points(source, [6.0])
    assert shannon_intercept(source.truth.entropy, 6.0, 4, 4) == pytest.approx(point.intercept)


@pytest.mark.parametrize("dims", [4, 16, 100, 500])
def test_the_embedded_banana_is_bounded_in_its_plane(shared: Path, dims: int) -> None:
    path = shared / "data" / "rd-sources" / "banana" / f"banana_embed-n={dims}.npy"
    (line,) = reference_points(open_source(f"banana?matrix={path}"), [3.0])
    singular = np.linalg.svd(np.load(path).astype(float), compute_uv=False)
    # Distortion D per dimension is n D / 2 per coordinate of the plane, with lambda / n each.
    entropy = 3.24334 + np.log(singular).sum()
    expected = entropy - math.log(2 * math.pi * math.e * dims / 6.0) + 1
    assert line.intercept == pytest.approx(expected, abs=1e-4)


def test_a_curve_is_known_of_gaussians_only() -> None:
    curve = reference_curve(open_source("gaussian?dim=8"), 50)
    assert curve is not None
    distortions, rates = curve
    assert (np.diff(distortions) > 0).all() and (np.diff(rates) < 0).all()
    np.testing.assert_allclose(rates, 4 * np.log(1 / distortions), atol=1e-9)
    assert distortions[-1] == 1 and rates[-1] == 0
    assert reference_curve(open_source("banana")) is None


@pytest.mark.parametrize("lamb", [0.0, -1.0, math.nan, math.inf])
def test_lambda_must_be_positive(lamb: float) -> None:
    for name in ("gaussian", "banana"):
        with pytest.raises(UsageError, match="must be above 0"):
            reference_points(open_source(name), [lamb])


@pytest.mark.parametrize(
    ("name", "tolerance"), [("gaussian?dim=1", 0.05), ("gaussian?dim=5", 0.1), ("banana", 0.05)]
)
def test_the_entropy_of_samples_is_near_the_truth(name: str, tolerance: float) -> None:
    source = open_source(name)
    assert source.truth is not None
    found = estimate_entropy(first(source, 10_000))
    assert found.entropy == pytest.approx(source.truth.entropy, abs=tolerance)
    assert found.intrinsic_dims == source.dims and found.n > 9_990  # float32 may repeat
    assert 0 < found.standard_error < 0.05


def test_scaling_and_embedding_change_the_entropy_as_they_must() -> None:
    rows = first(open_source("banana"), 4000)
    plain = estimate_entropy(rows)
    scaled = estimate_entropy(rows * [100.0, 0.001])
    assert scaled.entropy == pytest.approx(plain.entropy + math.log(0.1), abs=0.05)
    source = open_source("banana?dim=16")
    assert source.truth is not None
    embedded = estimate_entropy(first(source, 4000))
    assert embedded.intrinsic_dims == 2
    assert embedded.entropy == pytest.approx(source.truth.entropy, abs=0.05)


def test_what_samples_suggest_is_called_an_estimate(tmp_path: Path) -> None:
    rows = first(open_source("banana"), 5000)
    np.save(tmp_path / "x.npy", rows)
    source = open_source(f"npy:{tmp_path}/x.npy")
    assert reference_points(source, [3.0]) == [] and reference_curve(source) is None
    envelope, line = estimated_points(source, rows, [3.0], seed=1)
    assert {line.kind, envelope.kind} == {"estimate"}
    assert line.intercept == pytest.approx(2.504, abs=0.06)
    assert "not a bound" in line.notes[0] and (line.n, line.seed) == (5000, 1)
    assert envelope.intercept is not None and envelope.intercept > 2.5782


def test_physics_lies_in_a_subspace_and_the_line_says_so(shared: Path) -> None:
    path = shared / "data" / "rd-sources" / "physics" / "ppzee-split=test.npy"
    source = open_source(f"npy:{path}")
    _, line = estimated_points(source, first(source, 2000), [1000.0])
    assert any("subspace of 14 of 16 dimensions" in note for note in line.notes)
    assert any("says nothing" in note for note in line.notes)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((100, 2)),
        np.random.RandomState(0).randint(0, 3, (100, 2)).astype(float),
        np.random.RandomState(0).randn(4, 2),
    ],
)
def test_discrete_sources_have_no_density(rows: NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match="no density"):
        estimate_entropy(rows)


def test_sources_without_a_density_have_an_envelope_only(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.RandomState(0).randint(0, 3, (100, 2)).astype(float))
    source = open_source(f"npy:{tmp_path}/x.npy")
    (envelope,) = estimated_points(source, first(source, 100), [3.0])
    assert envelope.method == "gaussian-envelope"
    assert "no Shannon lower bound: 9 different samples of 100" in envelope.notes[1]


def test_few_samples_of_many_dimensions_are_taken_as_independent() -> None:
    source = open_source("gaussian?dim=100")
    assert source.truth is not None and source.truth.variances is not None
    (envelope,) = estimated_points(source, first(source, 500), [500.0])
    truth = gaussian_optimum(source.truth.variances, 500.0)
    assert envelope.intercept == pytest.approx(truth.intercept, rel=0.01)
    assert "independent" in envelope.notes[0] and "100 dimensions" in envelope.notes[1]
    assert sample_count(2, 10_000) == 10_000 and sample_count(49_152, 10_000) < 2000

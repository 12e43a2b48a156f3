"""Blahut-Arimoto: golden traces, closed forms, grids of any dimension, and the command."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from nc_core.errors import DataError, ExitCode, NcError, UsageError
from nc_core.runs import RunDirectory
from nc_rd_bounds.blahut_arimoto import Trajectory, blahut_arimoto, blahut_arimoto_grid
from nc_rd_bounds.commands.blahut_arimoto import blahut_arimoto as command
from nc_rd_bounds.grid_kernel import GridKernel
from nc_rd_bounds.histogram import MOST_BYTES, Histogram, bytes_of_grid, check_grid, discretise
from nc_rd_bounds.histogram_points import rate_point, trace
from nc_rd_bounds.points import read_points

Golden = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def golden(shared: Path) -> Path:
    return shared / "golden" / "rd-bounds-vector" / "ba"


def table(trajectory: Trajectory) -> NDArray[np.float64]:
    """Objective, distortion and rate of every step."""
    return np.array([[step.objective, step.distortion, step.rate] for step in trajectory.steps])


def squared_errors(source: NDArray[Any], reproductions: NDArray[Any]) -> NDArray[Any]:
    errors: NDArray[Any] = np.square(source[:, None] - reproductions[None]).mean(axis=-1)
    return errors


def all_pairs(histogram: Histogram, lamb: float, precision: Any, **settings: Any) -> Trajectory:
    """The general iteration on the matrix that the one on grids never makes."""
    alphabet, occupied = histogram.alphabet.astype(precision), histogram.counts > 0
    errors = squared_errors(alphabet[occupied.ravel()], alphabet)
    return blahut_arimoto(histogram.probabilities[occupied], errors, lamb, **settings)


def lambdas(arrays: Golden) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """Each lambda with the original's objective, distortion, rate and number of steps."""
    for lamb, rate, distortion, objective, steps in arrays["lamb_R_D_ub_steps"]:
        yield float(lamb), np.array([objective, distortion, rate, steps])


def test_any_matrix_of_distortions_gives_the_originals_trace(golden: Path) -> None:
    arrays = np.load(golden / "ba_tiny.npz")
    source, errors, lamb = arrays["p_x_unnormalised"], arrays["Rho"], float(arrays["lamb"])
    result = blahut_arimoto(source, errors, lamb, steps=50, tolerance=1e-12)
    expected = np.stack([arrays["ub"], arrays["D"], arrays["R"]], axis=1)
    np.testing.assert_allclose(table(result), expected, rtol=1e-9)
    for steps, after in ((1, "_after1"), (3, "_after3"), (50, "")):
        short = blahut_arimoto(source, errors, lamb, steps=steps, tolerance=1e-12)
        assert short.log_conditional is not None
        np.testing.assert_allclose(short.log_conditional, arrays[f"log_Q{after}"], rtol=1e-9)
        np.testing.assert_allclose(short.log_marginal, arrays[f"log_q_y{after}"], rtol=1e-9)


def test_a_biased_coin_has_its_closed_form(golden: Path) -> None:
    expected = json.loads((golden / "configs.json").read_text())["binary_hamming"]
    share, lamb = expected["p"], expected["lamb"]
    result = blahut_arimoto(np.array([share, 1 - share]), 1.0 - np.eye(2), lamb, tolerance=1e-12)
    distortion = 1 / (1 + math.exp(lamb))
    rate = _binary_entropy(share) - _binary_entropy(distortion)
    assert result.last.rate == pytest.approx(rate, rel=1e-5)
    assert result.last.distortion == pytest.approx(distortion, rel=1e-5)
    assert result.last.certified == pytest.approx(rate + lamb * distortion, rel=1e-5)
    assert result.last.certified <= rate + lamb * distortion
    assert len(result.steps) == expected["steps"]
    assert result.last.rate == pytest.approx(expected["R"], rel=1e-9)
    assert result.last.distortion == pytest.approx(expected["D"], rel=1e-9)


def _binary_entropy(share: float) -> float:
    return -share * math.log(share) - (1 - share) * math.log(1 - share)


def test_a_histogram_is_the_originals(golden: Path, shared: Path) -> None:
    banana = np.load(golden / "ba_banana2d.npz")
    histogram = discretise(banana["samples"], 24)
    np.testing.assert_array_equal(histogram.counts, banana["counts"])
    np.testing.assert_array_equal(histogram.edges[1], banana["edges1"])
    np.testing.assert_array_equal(histogram.alphabet, banana["rep_alphabet"])
    occupied = histogram.counts > 0
    np.testing.assert_array_equal(histogram.alphabet[occupied.ravel()], banana["src_alphabet"])
    np.testing.assert_allclose(histogram.probabilities[occupied], banana["p_src"], rtol=1e-15)
    events = np.load(shared / "data/rd-sources/physics/n=2-ppzee-split=test.npy")
    physics = np.load(golden / "ba_physics2d.npz")
    np.testing.assert_array_equal(discretise(events, 25).counts, physics["counts"])


@pytest.mark.parametrize("lamb", ["0.3", "1", "3", "10", "30"])
def test_all_steps_on_the_banana_are_the_originals(golden: Path, lamb: str) -> None:
    arrays = np.load(golden / "ba_banana2d.npz")
    expected = arrays[f"trace_lamb={lamb}"]
    histogram = discretise(arrays["samples"], 24)
    settings: dict[str, Any] = {"steps": 2000, "tolerance": 1e-5}
    # The original rounds its matrix to the samples' float32; so does the general iteration.
    same = all_pairs(histogram, float(lamb), np.float32, **settings)
    np.testing.assert_allclose(table(same), expected, rtol=1e-9)
    marginal = np.exp(same.log_marginal)
    np.testing.assert_allclose(marginal, arrays[f"q_y_lamb={lamb}"], rtol=1e-9, atol=1e-200)
    # The iteration on grids does not, and is the original's in float64.
    exact = all_pairs(histogram, float(lamb), np.float64, **settings)
    ours = trace(histogram, float(lamb), **settings)
    np.testing.assert_allclose(table(ours), table(exact), rtol=1e-12)
    np.testing.assert_allclose(ours.last.certified, exact.last.certified, rtol=1e-12)
    np.testing.assert_allclose(table(ours), expected, rtol=1e-7)


def test_points_of_physics_and_of_one_dimension_are_the_originals(
    golden: Path, shared: Path
) -> None:
    events = np.load(shared / "data/rd-sources/physics/n=2-ppzee-split=test.npy")
    scalars = np.load(golden / "ba_1d.npz")
    cases: list[tuple[Golden, NDArray[Any], int, dict[str, Any]]] = [
        (np.load(golden / "ba_physics2d.npz"), events, 25, {"steps": 500, "tolerance": 1e-5}),
        (scalars, scalars["samples"], 40, {}),
    ]
    for arrays, samples, bins, settings in cases:
        histogram = discretise(samples, bins)
        for lamb, expected in lambdas(arrays):
            result = trace(histogram, lamb, **settings)
            np.testing.assert_allclose(table(result)[-1], expected[:3], rtol=1e-9)
            assert len(result.steps) == expected[3]
            marginal = np.exp(result.log_marginal).ravel()
            reference = arrays[f"q_y_lamb={lamb:g}"]
            np.testing.assert_allclose(marginal, reference, rtol=1e-9, atol=1e-100)


def test_a_grid_of_three_dimensions_is_right() -> None:
    generator = np.random.default_rng(3)
    axes = [np.sort(generator.normal(size=size)) for size in (4, 6, 5)]
    source = generator.random((4, 6, 5)) * (generator.random((4, 6, 5)) < 0.4)
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    occupied = source.ravel() > 0
    for lamb in (0.5, 20.0):
        settings: dict[str, Any] = {"steps": 40, "tolerance": 1e-9}
        ours = blahut_arimoto_grid(axes, source, lamb, **settings)
        reference = blahut_arimoto(
            source.ravel()[occupied], squared_errors(places[occupied], places), lamb, **settings
        )
        np.testing.assert_allclose(table(ours), table(reference), rtol=1e-12)
        np.testing.assert_allclose(ours.log_marginal.ravel(), reference.log_marginal, rtol=1e-9)


@pytest.mark.parametrize("lamb", [1e4, 1e5, 1e6])
def test_kernels_that_vanish_do_no_harm(lamb: float) -> None:
    histogram = discretise(np.random.default_rng(0).normal(size=(500, 2)), 20)
    ours, reference = trace(histogram, lamb), all_pairs(histogram, lamb, np.float64)
    np.testing.assert_allclose(table(ours), table(reference), rtol=1e-9, atol=1e-100)
    assert ours.last.objective == pytest.approx(histogram.entropy)
    assert ours.last.certified == pytest.approx(reference.last.certified, rel=1e-9)


def test_cells_of_hardly_any_probability_do_no_harm() -> None:
    axis = np.linspace(-40.0, 40.0, 33)
    density = np.exp(-(axis[:, None] ** 2 + axis[None, :-1] ** 2) / 2 / 2)
    density[density < 1e-280] = 0.0
    places = np.stack(np.meshgrid(axis, axis[:-1], indexing="ij"), axis=-1).reshape(-1, 2)
    occupied = density.ravel() > 0
    errors = squared_errors(places[occupied], places)
    for lamb in (2.0, 100.0):
        ours = blahut_arimoto_grid((axis, axis[:-1]), density, lamb, steps=20, start=density)
        uniform = blahut_arimoto_grid((axis, axis[:-1]), density, lamb, steps=20)
        reference = blahut_arimoto(density.ravel()[occupied], errors, lamb, steps=20)
        np.testing.assert_allclose(table(uniform), table(reference), rtol=1e-9, atol=1e-300)
        assert np.isfinite(table(ours)).all()


def test_an_iteration_in_logarithms_is_the_same() -> None:
    generator = np.random.default_rng(5)
    kernel = GridKernel([np.arange(4.0), np.arange(5.0) / 2], 1.5)
    source, marginal = generator.dirichlet(np.ones(20), 2).reshape(2, 4, 5)
    source[1, 2] = 0.0
    plain = kernel.update(source, np.log(marginal))
    logs = kernel._update_in_logs(source, np.log(marginal))
    assert plain.objective == pytest.approx(logs.objective, rel=1e-13)
    assert plain.distortion == pytest.approx(logs.distortion, rel=1e-13)
    np.testing.assert_allclose(plain.log_factor, logs.log_factor, atol=1e-13)


def test_a_known_density_on_a_lattice_meets_the_gaussians_truth() -> None:
    axis = np.arange(-5.0, 5.01, 0.2)
    density = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / 2)
    result = blahut_arimoto_grid((axis, axis), density, 3.0, steps=400, start=density).last
    truth = 1 + math.log(3)
    assert result.objective == pytest.approx(truth, abs=2e-4)
    assert result.certified == pytest.approx(truth, abs=2e-2)
    assert result.distortion == pytest.approx(1 / 3, abs=1e-3)


def test_samples_of_a_gaussian_come_near_its_truth() -> None:
    variances = np.array([1.2055267, 1.0897664])
    samples = np.random.default_rng(1).normal(size=(100_000, 2)) * np.sqrt(variances)
    result = trace(discretise(samples, 50), 3.0).last
    assert result.objective == pytest.approx(2.2351, abs=6e-3)
    assert result.distortion == pytest.approx(1 / 3, abs=3e-3)


def test_a_source_of_one_value_costs_nothing() -> None:
    result = blahut_arimoto(np.array([1.0]), np.zeros((1, 1)), 3.0)
    assert result.converged and result.last.objective == 0.0


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (np.arange(6).reshape(3, 2), "samples of type int64"),
        (np.zeros(3), "samples of shape (3,)"),
        (np.zeros((0, 2)), "samples of shape (0, 2)"),
        (np.array([[1.0], [np.nan]]), "NaN"),
        (np.array([[1e8], [1e8 + 8]], np.float32), "too fine for float32"),
        (np.ones((1, 2)), "one sample"),
        (np.full((9, 2), 7.0), "all samples are equal"),
        (np.array([[1.0, 7.0], [2.0, 7.0]]), "dimension 1: all samples are 7"),
    ],
)
def test_samples_that_cannot_be_binned_are_refused(samples: NDArray[Any], complaint: str) -> None:
    with pytest.raises(DataError) as refusal:
        discretise(samples, 50)
    assert complaint in refusal.value.message


def test_a_grid_that_does_not_fit_is_refused_with_one_that_does() -> None:
    with pytest.raises(UsageError) as refusal:
        check_grid(500, 3)
    assert "500^3 = 125,000,000 cells" in refusal.value.message
    assert refusal.value.hint is not None
    most = int(refusal.value.hint.split()[2])
    assert bytes_of_grid(most, 3) <= MOST_BYTES < bytes_of_grid(most + 1, 3)
    with pytest.raises(UsageError, match="take a few dimensions"):
        check_grid(50, 1000)
    check_grid(1000, 2)


def test_a_point_below_the_error_of_its_bins_says_so() -> None:
    histogram = discretise(np.random.default_rng(0).normal(size=(300, 2)), 12)
    settings: dict[str, Any] = {"dataset": "noise", "seed": 0}
    fine = rate_point(histogram, trace(histogram, 2.0), **settings)
    assert len(fine.notes) == 1 and "12 bins an axis" in fine.notes[0]
    saturated = rate_point(histogram, trace(histogram, 1000.0), **settings)
    assert any("error of the grid itself" in note for note in saturated.notes)
    assert saturated.rate == pytest.approx(histogram.entropy, rel=1e-3)
    short = rate_point(histogram, trace(histogram, 2.0, steps=2), **settings)
    assert "still falling after 2 steps" in short.notes
    assert (fine.n, fine.kind, fine.slope) == (300, "estimate", 2.0)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=True)


@pytest.fixture
def samples(tmp_path: Path) -> str:
    np.save(tmp_path / "x.npy", np.random.default_rng(2).normal(size=(400, 2)))
    return f"npy:{tmp_path / 'x.npy'}"


def test_the_command_prints_the_records_of_each_slope(samples: str) -> None:
    result = invoke("--dataset", samples, "--bins", "9", "--lamb", "2", "--lamb", "5", "--json")
    assert result.exit_code == ExitCode.DONE
    records = json.loads(result.stdout)
    names = ["lamb", "rate", "distortion", "objective", "certified", "steps",
             "bin_width_0", "bin_width_1"]  # fmt: skip
    assert [record["name"] for record in records] == 2 * names
    first = {record["name"]: record["value"] for record in records[: len(names)]}
    assert first["lamb"] == 2
    assert first["objective"] == pytest.approx(first["rate"] + 2 * first["distortion"])
    assert first["certified"] <= first["objective"]


def test_the_command_leaves_points_and_steps_in_its_run_directory(
    samples: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = (
        "--dataset",
        samples,
        "--bins",
        "9",
        "--lamb",
        "2",
        "--lamb",
        "900",
        "-o",
        str(out),
    )
    result = invoke(*arguments, "--limit", "300")
    assert result.exit_code == ExitCode.DONE
    assert "lambda 900: distortion" in result.stderr
    points = read_points(out)
    assert [(point.slope, point.n, point.method) for point in points] == [
        (2.0, 300, "blahut-arimoto"),
        (900.0, 300, "blahut-arimoto"),
    ]
    steps = [step for step in RunDirectory.open(out).metrics() if step["lamb"] == 2]
    assert set(steps[0]) == {"lamb", "step", "ub", "D", "R", "certified"}
    assert steps[-1]["R"] == points[0].rate
    again = invoke(*arguments).exception
    assert isinstance(again, NcError)
    assert again.hint == "--force starts again, --out names another"
    assert invoke(*arguments, "--force").exit_code == ExitCode.DONE
    assert [point.n for point in read_points(out)] == [400, 400]


def test_an_interrupted_command_keeps_the_points_that_are_done(
    samples: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted_at_5(histogram: Histogram, lamb: float, **settings: Any) -> Trajectory:
        if lamb == 5:
            raise KeyboardInterrupt
        return trace(histogram, lamb, **settings)

    monkeypatch.setattr("nc_rd_bounds.histogram_points.trace", interrupted_at_5)
    out = tmp_path / "run"
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        command.main(
            ["--dataset", samples, "--lamb", "2", "--lamb", "5", "-o", str(out)],
            standalone_mode=False,
        )
    assert [point.slope for point in read_points(out)] == [2.0]


def test_the_command_refuses_what_does_not_fit_and_integers(tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((5, 16)))
    np.save(tmp_path / "integers.npy", np.zeros((5, 2), np.int64))
    out = tmp_path / "run"
    for name, complaint in (("wide", "50^16 = 10^27 cells"), ("integers", "int64")):
        result = invoke("--dataset", f"npy:{tmp_path / name}.npy", "-o", str(out))
        assert isinstance(result.exception, NcError)
        assert complaint in result.exception.message
        assert "\n" not in result.exception.message
        assert not out.exists()

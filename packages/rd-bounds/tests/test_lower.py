"""The lower bound: what must hold beyond the numbers of the original."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from nc_core.config import load_config
from nc_core.errors import DataError, UsageError, WorkError
from nc_core.protocols import Layout
from nc_core.runs import RunDirectory
from nc_core.training import Hardware
from nc_rd_bounds.commands.evaluate_lower import evaluate_lower
from nc_rd_bounds.commands.train_lower import train_lower
from nc_rd_bounds.lower import climb as climbing
from nc_rd_bounds.lower.bound import MovingAlpha, clamped, log_mean_exp, xi_samples
from nc_rd_bounds.lower.climb import Search, climb, maximise
from nc_rd_bounds.lower.config import LowerConfig
from nc_rd_bounds.lower.data import image_of, independent_indices
from nc_rd_bounds.lower.evaluate import Samples, evaluate, interval_of, lower_line, warnings_of
from nc_rd_bounds.lower.objective import log_objective
from nc_rd_bounds.lower.release import build_network, load, read_multiplier, write_model
from nc_rd_bounds.lower.train import annealed, learning_rate_of, train
from nc_rd_bounds.points import read_points
from nc_rd_bounds.rows import flat_rows
from nc_rd_bounds.sources.truth import KnownTruth
from nc_rd_bounds.sources.vectors import open_source

CPU = Hardware(device="cpu", threads=1, loaders=0)
SMALL = {"dims": 2, "units": [8], "activation": "selu"}


def minibatch(k: int = 60, n: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(k, n, generator=generator)
    return x, -0.3 * x.square().sum(dim=1)


def small(**changes: Any) -> LowerConfig:
    settings = {
        "data.train": "banana", "network.units": [8], "climb.topn": 3, "learning_rate": 5e-3,
        "evaluation.minibatches": 3, "training.duration": 12, "training.batch_size": 16,
        "training.checkpoint_every": 6,
    } | changes  # fmt: skip
    return load_config(LowerConfig, settings=[f"{key}={value}" for key, value in settings.items()])


def run_training(path: Path, config: LowerConfig, **options: Any) -> list[dict[str, Any]]:
    with RunDirectory.create(path, config.to_json(), **options) as run:
        train(config, run, open_source(config.data.train), hardware=CPU)
        return run.metrics()


def batched(monkeypatch: pytest.MonkeyPatch, elements: int | None = None) -> None:
    """Climbs in batches of torch, with so many numbers in each matrix."""
    monkeypatch.setattr(climbing, "_MOST_DIMS_COMPILED", 0)
    if elements is not None:
        monkeypatch.setattr(climbing, "_ELEMENTS", {"cpu": elements})


# The maximum


def test_both_ways_of_climbing_find_the_same_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    x, log_u = minibatch(n=5)
    search = Search("exhaustive")
    compiled = maximise(x, log_u, 9.0, search)
    batched(monkeypatch)
    whole = maximise(x, log_u, 9.0, search)
    batched(monkeypatch, elements=7 * len(x))
    parts = maximise(x, log_u, 9.0, search)
    assert compiled.value == pytest.approx(whole.value, abs=2e-6)
    assert parts.value == pytest.approx(whole.value, abs=2e-6)
    np.testing.assert_allclose(compiled.climbs.values, whole.climbs.values, atol=2e-3)
    assert (compiled.climbs.steps >= 0).all()


def test_threads_do_not_change_climbs() -> None:
    x, log_u = minibatch(k=100)
    threads = torch.get_num_threads()
    one = climb(x, x, log_u, 5.0, Search())
    try:
        torch.set_num_threads(3)
        three = climb(x, x, log_u, 5.0, Search())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one.values, three.values)
    assert torch.equal(one.y, three.y)


def test_an_exhaustive_search_is_at_least_as_high_as_a_quick_one() -> None:
    for seed in range(5):
        x, log_u = minibatch(seed=seed)
        quick = maximise(x, log_u, 20.0, Search(topn=2)).value
        assert maximise(x, log_u, 20.0, Search("exhaustive")).value >= quick - 1e-6


def test_a_value_is_the_objective_where_the_climb_ended() -> None:
    x, log_u = minibatch()
    found = maximise(x, log_u, 4.0, Search("exhaustive"))
    at_end = float(log_objective(found.y, x, log_u, 4.0))
    assert found.value == pytest.approx(at_end, abs=1e-6)


def test_large_lambdas_lose_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    x, log_u = minibatch(k=40, n=2)
    x = x + 1000.0  # far from the origin, where x^2 - 2 x y + y^2 has none left
    exact = log_objective(x[3].double(), x.double(), log_u.double(), 30_000.0)
    for compiled in (True, False):
        if not compiled:
            batched(monkeypatch)
        found = climb(x[3:4], x, log_u, 30_000.0, Search(steps=1))
        assert float(found.values) == pytest.approx(float(exact), abs=1e-5)


@pytest.mark.parametrize("start", ["quick", "exhaustive"])
def test_without_steps_the_best_sample_wins(start: Any) -> None:
    x, log_u = minibatch()
    found = maximise(x, log_u, 4.0, Search(start, steps=0))
    heights = torch.stack([log_objective(y, x, log_u, 4.0) for y in x])
    assert found.value == pytest.approx(float(heights.max()), abs=1e-6)
    assert torch.equal(found.y, x[heights.argmax()])


@pytest.mark.parametrize("compiled", [True, False])
def test_steps_that_run_out_are_told(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    if not compiled:
        batched(monkeypatch)
    x, log_u = minibatch()
    assert climb(x, x, log_u, 4.0, Search(steps=3, tol=0.0)).steps.eq(-1).all()


def test_refinement_never_lowers_a_maximum_and_repairs_an_early_stop() -> None:
    x, log_u = minibatch()
    early = Search("exhaustive", tol=1e-2)
    stopped = maximise(x, log_u, 4.0, early).value
    refined = maximise(x, log_u, 4.0, Search("exhaustive", tol=1e-2, refine=True)).value
    best = maximise(x, log_u, 4.0, Search("exhaustive", tol=1e-9)).value
    assert refined > stopped + 1e-5
    assert refined >= best - 1e-6


def test_a_network_that_diverged_is_refused() -> None:
    x, log_u = minibatch()
    with pytest.raises(WorkError, match="not finite"):
        maximise(x, log_u * math.nan, 4.0, Search())


# The bound


def test_the_moving_average_ignores_estimates_that_are_far_off() -> None:
    average = MovingAlpha(-1.0, -2.0).moved(0.25)
    assert average.log_alpha == pytest.approx(math.log(0.25 * math.exp(-1) + 0.75 * math.exp(-2)))
    assert MovingAlpha(-1.0, -12.0).moved(0.25).log_alpha == -1.0
    assert MovingAlpha(-1.0, -2.0).moved(0.0).log_alpha == -2.0


@pytest.mark.parametrize(
    ("estimate", "value", "gradient"), [(0.5, 0.5, 1.0), (3.0, 1.0, 1.0), (-3.0, -1.0, 0.0)]
)
def test_the_clamp_passes_gradients_that_lead_back(
    estimate: float, value: float, gradient: float
) -> None:
    given = torch.tensor(estimate, requires_grad=True)
    result = clamped(given, 0.0, 1.0)
    torch.autograd.backward(result)
    assert float(result.detach()) == value
    assert float(given.grad) == gradient  # type: ignore[arg-type]


def test_xi_is_largest_in_the_mean_for_alpha_at_the_mean_of_c() -> None:
    log_c = np.log([0.5, 1.0, 3.0])
    best = log_mean_exp(log_c)
    assert best == pytest.approx(math.log(1.5))
    means = [xi_samples(np.zeros(3), log_c, best + shift).mean() for shift in (-0.3, 0.0, 0.3)]
    assert means[1] == max(means) == pytest.approx(-best)


def test_intervals_are_students() -> None:
    found = interval_of(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    error = math.sqrt(2.5 / 5)
    assert found.mean == 3.0
    assert found.standard_error == pytest.approx(error)
    assert found.two_sided == pytest.approx((3 - 2.77645 * error, 3 + 2.77645 * error), abs=1e-4)
    assert found.at_least == pytest.approx(3 - 2.13185 * error, abs=1e-4)
    assert interval_of(np.array([1.0])).standard_error is None


# Data


class Rows:
    """A finite source of given rows."""

    name = "rows"
    value_range: tuple[float, float] | None = None
    truth: KnownTruth | None = None

    def __init__(self, rows: NDArray[np.float32], layout: Layout = "none") -> None:
        self._rows = rows
        self.layout = layout
        self.shape: tuple[int, ...] = rows.shape[1:]
        self.length: int | None = len(rows)

    @property
    def dims(self) -> int:
        return math.prod(self.shape)

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._rows[indices]


def test_images_are_flattened_with_their_channels_last() -> None:
    planes = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    source = Rows(planes, "chw")
    assert image_of(source) == (4, 5, 3)
    flat = flat_rows(source, np.arange(2))
    np.testing.assert_array_equal(flat[1].reshape(4, 5, 3), planes[1].transpose(1, 2, 0))
    assert image_of(Rows(planes, "hwc")) == (3, 4, 5)
    assert image_of(Rows(planes[:, 0], "hw")) == (4, 5, 1)
    with pytest.raises(DataError, match="no images"):
        image_of(open_source("banana"))


def test_an_evaluation_takes_each_row_once_before_any_twice() -> None:
    indices = independent_indices(10, 25, seed=3)
    assert sorted(indices[:10]) == sorted(indices[10:20]) == list(range(10))
    assert not np.array_equal(indices[:10], independent_indices(10, 10, seed=4))
    np.testing.assert_array_equal(independent_indices(None, 4, seed=3), np.arange(4))


# Training


def test_lambda_is_constant_then_grows_then_is_constant() -> None:
    config = small(anneal="{targets: [1, 3, 11], ready: 5}")
    assert [annealed(config, step, 30) for step in (0, 4, 5, 15, 25, 26, 30)] == [
        1.0, 1.0, 1.0, 6.0, 11.0, 11.0, 11.0,
    ]  # fmt: skip
    assert annealed(small(lamb=7), 3, 30) == 7.0


def test_rates_fall_one_step_after_half_of_the_run() -> None:
    rate = learning_rate_of(small(decay="true", learning_rate=1.0), 8)
    assert [rate(k) for k in range(8)] == [1, 1, 1, 1, 1, 0.2, 0.2, 0.04]
    assert learning_rate_of(small(learning_rate=1.0), 8)(7) == 1.0


def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    changes = {"anneal": "{targets: [1, 3, 9], ready: 2}", "decay": "true"}
    whole = run_training(tmp_path / "whole", small(**changes))
    run_training(tmp_path / "parts", small(**changes))
    parts = tmp_path / "parts"
    (parts / "checkpoints" / "step-000000012.safetensors").unlink()
    assert run_training(parts, small(**changes), resume=True) == whole
    names = sorted(path.name for path in (parts / "checkpoints").glob("lamb=*"))
    for name in names:
        one, other = (load_bytes(tmp_path / run, name) for run in ("whole", "parts"))
        assert one == other
    assert len(names) == 3


def load_bytes(run: Path, name: str) -> list[bytes]:
    from nc_core.model_file import read_model_file

    tensors = read_model_file(run / "checkpoints" / name).tensors()
    return [array.tobytes() for _, array in sorted(tensors.items())]


def test_a_run_may_start_from_the_weights_of_another(tmp_path: Path) -> None:
    first = run_training(tmp_path / "first", small(**{"training.duration": 200}))
    again = small(initial=str(tmp_path / "first"))
    second = run_training(tmp_path / "second", again)
    assert second[0]["loss"] < first[0]["loss"] - 0.2
    with pytest.raises(UsageError, match="another shape"):
        run_training(tmp_path / "third", again.model_copy(
            update={"network": small(**{"network.units": [9]}).network}))  # fmt: skip


def test_a_bound_stays_below_the_truth_of_a_gaussian_and_is_not_trivial(tmp_path: Path) -> None:
    config = small(
        lamb=3, **{"data.train": "gaussian?dim=2", "network.units": [32, 32],
                   "training.duration": 150, "training.batch_size": 128, "learning_rate": 2e-3}
    )  # fmt: skip
    run_training(tmp_path / "run", config)
    model = read_multiplier(tmp_path / "run")
    source = open_source("gaussian:test?dim=2")
    samples = evaluate(model, source, k=256, minibatches=12)
    line = lower_line(samples, source)
    truth = 1 + math.log(3)
    assert line.intercept is not None and line.intercept_error is not None
    assert 1.5 < line.intercept < line.intercept + 2 * line.intercept_error < truth
    assert (line.kind, line.slope, line.n) == ("lower", 3.0, 24 * 256)


def test_small_data_sets_are_warned_of() -> None:
    few = Rows(np.zeros((50, 2), np.float32))
    samples = Samples(3.0, 32, np.zeros(4), np.full(4, -3.9))
    warnings = warnings_of(samples, few)
    assert len(warnings) == 2
    assert "share samples" in warnings[0]
    assert "ln(50)" in warnings[1]
    vacuous = Samples(3.0, 5, np.zeros(4), np.full(4, 1.0))
    assert "says nothing" in warnings_of(vacuous, few)[0]


# Files and commands


def test_a_model_file_that_claims_other_sizes_is_refused(tmp_path: Path) -> None:
    network = build_network(SMALL)
    path = tmp_path / "u.safetensors"
    for wrong in ({**SMALL, "units": [9]}, {"units": [8]}, {**SMALL, "activation": "no"}):
        with pytest.raises(DataError, match="not a model of family"):
            load(write_model(path, network, wrong, 3.0))
    with pytest.raises(DataError, match="not a model of family"):
        load(write_model(path, network, SMALL, -3.0))


def invoke(command: Any, *arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_the_commands_train_evaluate_and_keep_the_numbers(tmp_path: Path) -> None:
    run = tmp_path / "run"
    small_sizes = ("training.batch_size=16", "training.duration=6", "network.units=[8]")
    sets = [word for setting in small_sizes for word in ("--set", setting)]
    out = ("-o", str(run), "--threads", "1")
    done = invoke(train_lower, "--recipe", "lower-banana-small", "--lamb", "5", *sets, *out)
    assert "6 steps" in done.output
    found = invoke(evaluate_lower, str(run), "-k", "32", "-M", "2", "--seed", "0", "--seed", "7",
                   "--threads", "1", "--refine")  # fmt: skip
    assert "intercept" in found.output
    (point,) = read_points(run)
    assert (point.slope, point.dataset, point.n) == (5.0, "banana:test", 8 * 32)
    names = [path.name for path in sorted((run / "results").glob("*.npz"))]
    assert [name.partition("-R_")[0] for name in names] == [
        "rd-seed=0-k=32-M=2-lamb=5", "rd-seed=7-k=32-M=2-lamb=5",
    ]  # fmt: skip


def test_annealed_runs_are_evaluated_at_every_target(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_training(run, small(anneal="{targets: [1, 3, 9], ready: 2}"))
    invoke(evaluate_lower, str(run), "-k", "16", "-M", "2", "--threads", "1", "--json")
    points = read_points(run)
    slopes = [point.slope or 0.0 for point in points]
    assert slopes == sorted(slopes)
    assert (slopes[0], slopes[-1], len(slopes)) == (1.0, 9.0, 4)


def test_data_of_another_size_are_refused(tmp_path: Path) -> None:
    run_training(tmp_path / "run", small())
    with pytest.raises(UsageError, match="the network takes 2"):
        invoke(evaluate_lower, str(tmp_path / "run"), "--dataset", "gaussian?dim=3")
    with pytest.raises(DataError, match="not a run directory"):
        invoke(evaluate_lower, str(tmp_path / "nothing"))


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    few = tmp_path / "few.npy"
    np.save(few, np.random.default_rng(0).normal(size=(100, 2)))
    data = {"data.train": f"npy:{few}"}
    with pytest.raises(UsageError, match="fewer than 2 minibatches of 64"):
        run_training(tmp_path / "large", small(**data, **{"training.batch_size": 64}))
    config = small(**data)
    run_training(tmp_path / "run", config)
    with pytest.raises(UsageError, match="no two minibatches of 50"):
        invoke(evaluate_lower, str(tmp_path / "run"), "-k", "50")
    with pytest.raises(UsageError, match="no device 'mps'"):
        invoke(evaluate_lower, str(tmp_path / "run"), "--device", "mps")
    found = invoke(evaluate_lower, str(tmp_path / "run"))
    assert "evaluated on 10 rows held out" in found.output
    with pytest.raises(UsageError, match="one process"), RunDirectory.create(
        tmp_path / "two", {}) as run:  # fmt: skip
        hardware = Hardware(device="cpu", devices=2)
        train(config, run, open_source(config.data.train), hardware=hardware)


def test_a_diverged_run_has_no_bound(tmp_path: Path) -> None:
    run_training(tmp_path / "run", small(learning_rate=1e9))
    seeds = [word for seed in range(10) for word in ("--seed", str(seed))]
    with pytest.raises(WorkError, match="diverged"):
        invoke(evaluate_lower, str(tmp_path / "run"), *seeds)

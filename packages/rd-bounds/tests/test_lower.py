"""The lower bound: what must hold beyond the numbers of the original."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from nc_core.config import load_config
from nc_core.errors import DataError, NcError, UsageError, WorkError
from nc_core.protocols import Layout
from nc_core.runs import RunDirectory
from nc_core.testing.torch_settings import threads
from nc_core.training import Hardware
from nc_rd_bounds.commands.evaluate_lower import evaluate_lower
from nc_rd_bounds.commands.train_lower import train_lower
from nc_rd_bounds.lower import climb as climbing
from nc_rd_bounds.lower.bound import MovingAlpha, clamped, log_mean_exp, xi_samples
from nc_rd_bounds.lower.climb import Search, climb, maximise
from nc_rd_bounds.lower.config import LowerConfig
from nc_rd_bounds.lower.data import image_of, independent_indices
from nc_rd_bounds.lower.evaluate import (
    Samples,
    evaluate,
    interval_of,
    lower_line,
    pooled,
    warnings_of,
)
from nc_rd_bounds.lower.objective import log_objective
from nc_rd_bounds.lower.release import (
    TrainedMultiplier,
    build_network,
    load,
    read_multiplier,
    write_model,
)
from nc_rd_bounds.lower.results import models_of
from nc_rd_bounds.lower.temper import best_power
from nc_rd_bounds.lower.train import annealed, fitted, learning_rate_of, train
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
    one = climb(x, x, log_u, 5.0, Search())
    with threads(3):
        three = climb(x, x, log_u, 5.0, Search())
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
    x, log_u = minibatch(k=20)
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


@pytest.mark.parametrize("compiled", [True, False])
def test_a_step_that_is_too_large_does_not_lower_a_maximum(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    if not compiled:
        batched(monkeypatch)
    x, log_u = minibatch()
    for start in ("quick", "exhaustive"):
        far = maximise(1e-3 * x, log_u, 4e6, Search(start, steps=5, lr=1.0))
        best = maximise(1e-3 * x, log_u, 4e6, Search(steps=0))
        assert far.value == pytest.approx(best.value, abs=1e-5)
        assert torch.equal(far.y, best.y)


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
    origin = "rows"
    held_out = False
    pinned_seed: int | None = None
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


def test_a_bound_does_not_depend_on_the_scale_of_the_data(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(8192, 2)).astype(np.float32)
    bounds, networks = [], []
    for scale in (1, 100, 1000):
        run, data = tmp_path / f"run-{scale}", Rows((scale * (rows + 5)).astype(np.float32))
        config = small(lamb=3 / scale**2, standardise="true", learning_rate=2e-3,
                       **{"training.duration": 60, "training.batch_size": 64})  # fmt: skip
        with RunDirectory.create(run, config.to_json()) as directory:
            train(config, directory, data, hardware=CPU)
        model = read_multiplier(run)
        assert model.unit == pytest.approx(scale, rel=0.05)
        bounds.append(evaluate(model, data, k=128, minibatches=6).intercept)
        networks.append(model.network)
    assert bounds == pytest.approx([bounds[0]] * 3, abs=0.01)
    assert 0.8 < bounds[0] < 1 + math.log(3)
    again = small(standardise="true", initial=str(tmp_path / "run-100"), lamb=3e-4)
    run_training(tmp_path / "again", again)
    assert read_multiplier(tmp_path / "again").unit == read_multiplier(tmp_path / "run-100").unit


def test_images_are_not_standardised() -> None:
    with pytest.raises(UsageError, match="only vectors are standardised"):
        small(standardise="true", network="{kind: cnn, units: [2], kernels: [3]}")


@pytest.mark.parametrize(("length", "k"), [(32, 16), (31, 4), (300, 16), (5, 1)])
def test_k_of_training_is_what_the_data_allow(length: int, k: int) -> None:
    source = Rows(np.zeros((length, 2), np.float32))
    assert fitted(small(), source).training.batch_size == k


# Powers of u


class Bell(torch.nn.Module):
    """``log u`` in the shape of a Gaussian's logarithm."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -0.5 * self.scale * x.square().sum(dim=1)


def bell(path: Path, scale: float) -> TrainedMultiplier:
    model = load(write_model(path / "u.safetensors", build_network(SMALL), SMALL, 3.0))
    return replace(model, network=Bell(scale))  # type: ignore[arg-type]


def test_the_chosen_power_makes_up_for_a_multiplier_of_another_scale(tmp_path: Path) -> None:
    source = open_source("gaussian?dim=2")
    found = [
        best_power(bell(tmp_path, scale), source, k=64, search=Search(topn=3)) * scale
        for scale in (0.3, 0.4, 0.5)
    ]
    assert found == pytest.approx([found[1]] * 3, abs=0.03)
    assert 0.2 < found[1] < 1  # endless minibatches would have 1


def test_the_chosen_power_raises_the_bound_on_other_samples(tmp_path: Path) -> None:
    model = bell(tmp_path, 0.9)
    power = best_power(model, open_source("gaussian?dim=2"), k=128, search=Search(topn=3))
    unseen = open_source("gaussian:test?dim=2")
    plain, better = (
        evaluate(model, unseen, k=128, minibatches=5, power=c).intercept for c in (1.0, power)
    )
    assert plain + 0.05 < better < 1 + math.log(3)


def test_rows_that_were_not_trained_on_decide_the_power(tmp_path: Path) -> None:
    asked: list[int] = []

    class Watched(Rows):
        def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
            asked.extend(indices.tolist())
            return np.random.default_rng(0).normal(size=(len(indices), 2)).astype(np.float32)

    endless = Watched(np.zeros((1, 2), np.float32))
    endless.length = None
    best_power(bell(tmp_path, 1.0), endless, k=8, search=Search())
    assert len(set(asked)) == len(asked) == 32 * 8
    assert min(asked) > 1e12


def test_a_power_is_part_of_the_multiplier(tmp_path: Path) -> None:
    source = open_source("gaussian:test?dim=2")
    powered = evaluate(bell(tmp_path, 1.0), source, k=16, minibatches=2, power=1.25)
    scaled = evaluate(bell(tmp_path, 1.25), source, k=16, minibatches=2)
    np.testing.assert_allclose(powered.xi, scaled.xi, atol=1e-5)
    assert "u to the power 1.250, chosen on training data" in lower_line(powered, source).notes
    assert not any("power" in note for note in lower_line(scaled, source).notes)
    with pytest.raises(ValueError, match="one u"):
        pooled([powered, scaled])
    for samples, names in ((powered, {"power"}), (scaled, set())):
        samples.save(tmp_path / "xi.npz")
        with np.load(tmp_path / "xi.npz") as file:
            original = {"E_log_us", "log_Ck_samples", "xi_samples", "log_alpha", "R_"}
            assert set(file) == original | names


def test_small_data_sets_are_warned_of() -> None:
    few = Rows(np.zeros((50, 2), np.float32))
    samples = Samples(3.0, 32, np.zeros(4), np.full(4, -3.9))
    warnings = warnings_of(samples, few)
    assert len(warnings) == 3
    assert "share samples" in warnings[0]
    assert "limited by k" in warnings[1]
    assert "ln(50)" in warnings[2]
    assert not warnings_of(replace(samples, k=1000), open_source("banana"))
    vacuous = Samples(3.0, 5, np.zeros(4), np.full(4, 1.0))
    assert "says nothing" in warnings_of(vacuous, few)[0]


# Files and commands


def test_a_model_file_that_claims_other_sizes_is_refused(tmp_path: Path) -> None:
    network = build_network(SMALL)
    path = tmp_path / "u.safetensors"
    for wrong in ({**SMALL, "units": [9]}, {"units": [8]}, {**SMALL, "activation": "no"}):
        with pytest.raises(DataError, match="not a model of family"):
            load(write_model(path, network, wrong, 3.0))
    with pytest.raises(DataError, match=r"not a model of family .*: lambda is not positive"):
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


def test_a_run_is_evaluated_with_a_power_of_its_multiplier(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_training(run, small())
    words = (str(run), "-k", "32", "--seed", "0", "--seed", "7", "--threads", "1", "--json")
    plain, tempered = (
        json.loads(invoke(evaluate_lower, *words, *more).stdout) for more in ((), ("--temper",))
    )
    values = {record["name"]: record["value"] for record in tempered}
    assert set(values) - {record["name"] for record in plain} == {"power"}
    assert values["power"] != 1 and values["intercept"] != plain[0]["value"]
    (point,) = read_points(run)
    assert any(f"the power {values['power']:.3f}" in note for note in point.notes)
    names = [path.name for path in (run / "results").glob(f"*-power={values['power']:.3f}-*.npz")]
    assert len(names) == 2


def test_training_may_end_with_a_tempered_evaluation(tmp_path: Path) -> None:
    run = tmp_path / "run"
    sets = [word for setting in ("training.batch_size=16", "training.duration=2",
                                 "network.units=[8]", "evaluation.k=16", "evaluation.minibatches=2")
            for word in ("--set", setting)]  # fmt: skip
    words = ("--recipe", "lower-banana-small", "--threads", "1", "--evaluate", "--json", *sets)
    found = json.loads(invoke(train_lower, *words, "-o", str(run)).stdout)
    assert found[-1]["name"] == "power"


def test_an_evaluation_after_training_has_samples_of_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    sets = [word for setting in ("training.batch_size=16", "training.duration=2",
                                 "network.units=[8]", "evaluation.k=16", "evaluation.minibatches=2")
            for word in ("--set", setting)]  # fmt: skip
    words = ("--recipe", "lower-banana-small", "--threads", "1", "--evaluate", "--seed", "4")
    invoke(train_lower, *words, *sets, "-o", str(run))
    assert [path.name[:9] for path in (run / "results").glob("*.npz")] == ["rd-seed=5"]


def test_few_rows_are_trained_on_with_a_smaller_k(tmp_path: Path) -> None:
    few, run = tmp_path / "few.npy", tmp_path / "run"
    np.save(few, np.random.default_rng(0).normal(size=(300, 2)))
    words = ("--recipe", "lower-vectors-small", "--dataset", f"npy:{few}", "--threads", "1",
             "--set", "training.duration=2", "--set", "network.units=[8]")  # fmt: skip
    found = invoke(train_lower, *words, "-o", str(run))
    assert "270 samples are fewer than 2 minibatches of 256; training with k = 64" in found.output
    assert RunDirectory.open(run).config["training"]["batch_size"] == 64


def test_mistakes_leave_no_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = ("-o", str(tmp_path / "run"))
    with pytest.raises(UsageError, match="no CUDA device"):
        invoke(train_lower, "--device", "cuda", *out)
    with pytest.raises(UsageError, match="one process"):
        invoke(train_lower, "--device", "cpu", "--devices", "2", *out)
    with pytest.raises(NcError):
        invoke(train_lower, "--initial", str(tmp_path / "nothere"), *out)
    assert not (tmp_path / "run").exists()


def test_seeds_that_all_draw_the_same_samples_are_refused(tmp_path: Path) -> None:
    run_training(tmp_path / "run", small(**{"data.train": "banana?seed=3"}))
    words = (str(tmp_path / "run"), "-k", "16", "-M", "2", "--threads", "1")
    with pytest.raises(UsageError, match="the same for 2 seeds"):
        invoke(evaluate_lower, *words, "--seed", "0", "--seed", "1")
    assert "intercept" in invoke(evaluate_lower, *words, "--seed", "1").output


def test_annealed_runs_are_evaluated_at_every_target(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_training(run, small(anneal="{targets: [1, 3, 9], ready: 2}"))
    invoke(evaluate_lower, str(run), "-k", "16", "-M", "2", "--threads", "1", "--json")
    points = read_points(run)
    slopes = [point.slope or 0.0 for point in points]
    assert slopes == sorted(slopes)
    assert (slopes[0], slopes[-1], len(slopes)) == (1.0, 9.0, 4)


def test_a_target_that_is_nearly_the_last_lambda_is_not_evaluated_twice(tmp_path: Path) -> None:
    run_training(tmp_path / "run", small(anneal="{targets: [1, 3, 9], ready: 2}"))
    network = build_network(SMALL)
    for lamb in (8.95, 8.8):
        write_model(tmp_path / f"run/checkpoints/lamb={lamb}.safetensors", network, SMALL, lamb)
    found = [model.lamb for model in models_of(tmp_path / "run")]
    assert 8.95 not in found
    assert found[-2:] == [8.8, 9.0]


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
    with pytest.raises(UsageError, match="no MPS device is available"):
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

"""Training and evaluation of the upper bound on small models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nc_core.errors import UsageError, WorkError
from nc_core.model_file import read_model_file
from nc_core.runs import RunDirectory
from nc_core.training import Hardware
from nc_rd_bounds.sources.vectors import Source, chosen_rows, open_source
from nc_rd_bounds.upper.config import UpperConfig
from nc_rd_bounds.upper.evaluate import Evaluation, evaluate, measurements
from nc_rd_bounds.upper.release import load, read_config, read_model
from nc_rd_bounds.upper.train import train

HARDWARE = Hardware(device="cpu", threads=1, loaders=0)


def make_config(duration: int = 20, **settings: Any) -> UpperConfig:
    training = {
        "duration": duration, "batch_size": 64, "log_every": 10, "evaluate_every": 10,
        "checkpoint_every": 10,
    }  # fmt: skip
    model = {"prior": "gmm_1", **settings.pop("model", {})}
    return UpperConfig.model_validate({
        "lamb": 3, "learning_rate": 5e-3, "validation_batches": 2, "model": model,
        "training": training | settings.pop("training", {}), **settings,
    })  # fmt: skip


def sources() -> tuple[Source, Source]:
    return open_source("gaussian:train"), open_source("gaussian:test")


def run_training(
    path: Path, config: UpperConfig, *, resume: bool = False, stop: int | None = None
) -> RunDirectory:
    def tell(done: int, total: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    with RunDirectory.create(path, config.to_json(), resume=resume) as run:
        train(config, run, *sources(), hardware=HARDWARE, progress=tell)
    return run


def test_an_affine_model_reaches_the_rate_distortion_function_of_a_gaussian(
    tmp_path: Path,
) -> None:
    config = make_config(800, learning_rate=2e-2, training={"batch_size": 256})
    run = run_training(tmp_path / "run", config)
    records = run.metrics()
    assert {"loss", "rate", "mse"} <= records[-1].keys()
    file = read_model_file(run.model_path)
    (point,) = evaluate(file, sources()[1], 100_000)
    truth = 1 + math.log(3)  # (n / 2) (1 + ln(2 lambda / n)) for n = 2
    assert point.intercept is not None and point.intercept_error is not None
    assert truth - 4 * point.intercept_error < point.intercept < 1.01 * truth
    assert (point.kind, point.method, point.n) == ("upper", "beta-vae", 100_000)
    assert (point.rate_unit, point.rate_per, point.slope) == ("nats", "vector", 3)
    assert point.dataset == "gaussian:test"


def test_units_of_the_recipe_do_not_change_the_point(tmp_path: Path) -> None:
    bits = make_config(model={"dims": 2}, unit="bits", per_dimension=True, lamb=1.5 / math.log(2))
    run = run_training(tmp_path / "bits", bits)
    (point,) = evaluate(read_model_file(run.model_path), sources()[1], 1000)
    assert point.slope == pytest.approx(3.0)  # 2 ln 2 times that of bits per dimension
    assert point.rate is not None and point.distortion is not None
    assert point.intercept == pytest.approx(point.rate + 3 * point.distortion)


@pytest.mark.parametrize("model", [
    {"prior": "maf", "maf_stacks": 2, "flow_units": [5], "posterior": "iaf", "iaf_stacks": 1},
    {"prior": "deep", "posterior": "uniform"},
])  # fmt: skip
def test_a_resumed_run_is_the_undisturbed_one(tmp_path: Path, model: dict[str, Any]) -> None:
    config = make_config(30, model=model)
    whole = run_training(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        run_training(tmp_path / "parts", config, stop=15)
    parts = run_training(tmp_path / "parts", config, resume=True)
    assert whole.metrics() == parts.metrics()
    trained = read_model(read_model_file(whole.model_path)).state_dict()
    for name, value in read_model(read_model_file(parts.model_path)).state_dict().items():
        assert torch.equal(value, trained[name])


def test_autoregressive_networks_stay_so(tmp_path: Path) -> None:
    model = {"prior": "maf", "maf_stacks": 2, "flow_units": [5, 4], "flow_activation": "tanh"}
    run = run_training(tmp_path / "run", make_config(model=model))
    weights = read_model_file(run.model_path).tensors()
    kernels = [value for name, value in weights.items() if "mades" in name and "kernel" in name]
    assert len(kernels) == 6
    for kernel in kernels[2::3]:
        assert not kernel[:, :2].any()


def test_data_are_standardised_by_the_first_batches(tmp_path: Path) -> None:
    config = make_config(model={"standardise": True, "prior": "deep", "posterior": "uniform"})
    run = run_training(tmp_path / "run", config)
    model = read_model(read_model_file(run.model_path))
    x = sources()[0].rows(np.arange(20 * 64))
    np.testing.assert_allclose(model.location, x.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(model.scale, x.std(axis=0), rtol=1e-5)


def test_a_diverging_run_stops_with_one_line(tmp_path: Path) -> None:
    config = make_config(learning_rate=1e30, training={"log_every": 1})
    with pytest.raises(WorkError, match="the loss is no longer finite"):
        run_training(tmp_path / "run", config)


def test_quantised_latents_are_points_of_their_own(tmp_path: Path) -> None:
    model = {"prior": "deep", "posterior": "uniform"}
    run = run_training(tmp_path / "run", make_config(model=model))
    file = read_model_file(run.model_path)
    points = evaluate(file, sources()[1], 3000, rounded=True, as_file=True)
    assert [point.method for point in points] == [
        "ntc", "ntc-rounded", "ntc-rounded-median", "ntc-file"
    ]  # fmt: skip
    assert [point.kind for point in points] == ["upper"] * 3 + ["operating-point"]
    *_, median, coded = points
    assert median.rate is not None and coded.rate is not None
    assert coded.distortion == pytest.approx(median.distortion, rel=1e-4)
    assert median.rate < coded.rate < median.rate + 0.05
    assert "3,000 vectors in " in coded.notes[0]
    names = [one.name for one in measurements(points)]
    assert names[:3] == ["rate", "distortion", "objective"]
    assert "ntc-file/rate" in names
    again = evaluate(file, sources()[1], 3000, rounded=True, as_file=True)
    assert again == points


def test_noise_is_a_function_of_the_seed(tmp_path: Path) -> None:
    run = run_training(tmp_path / "run", make_config())
    file = read_model_file(run.model_path)
    model, config, test = read_model(file), read_config(file), sources()[1]
    first, second, other = (
        Evaluation(model, config, test, 500, seed=seed).drawn().rate for seed in (1, 1, 2)
    )
    assert first == second != other


def test_a_rate_near_what_the_data_can_show_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "few.npy"
    np.save(path, np.random.default_rng(0).standard_normal((2, 2)))
    run = run_training(tmp_path / "run", make_config())
    (point,) = evaluate(read_model_file(run.model_path), open_source(f"npy:{path}"), 10_000)
    assert point.n == 2
    assert any("ln(2)" in note for note in point.notes)


def test_some_rows_of_a_file_are_chosen_from_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((1000, 2)))
    source = open_source(f"npy:{path}")
    rows = chosen_rows(source, 100, 0)
    assert len(set(rows.tolist())) == 100
    assert 400 < rows.mean() < 600
    assert rows.tolist() != chosen_rows(source, 100, 1).tolist()
    assert chosen_rows(source, 2000, 0).tolist() == list(range(1000))
    assert chosen_rows(sources()[1], 5, 3).tolist() == [0, 1, 2, 3, 4]


def test_a_model_without_rounding_is_not_rounded(tmp_path: Path) -> None:
    run = run_training(tmp_path / "run", make_config())
    file = read_model_file(run.model_path)
    with pytest.raises(UsageError, match="its posterior is gaussian"):
        evaluate(file, sources()[1], 100, rounded=True)


def test_the_codec_of_a_run_is_loaded_by_its_file(tmp_path: Path) -> None:
    model = {"prior": "lmm_2", "posterior": "uniform"}
    run = run_training(tmp_path / "run", make_config(model=model))
    codec = load(read_model_file(run.model_path))
    x = sources()[1].rows(np.arange(100))
    assert codec.decode(codec.encode(x)).shape == (100, 2)

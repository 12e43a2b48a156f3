"""``train-upper`` and ``evaluate-upper``, and the recipes of this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from nc_core.config import load_config, recipe_names
from nc_core.errors import DataError, UsageError
from nc_core.runs import RunDirectory
from nc_rd_bounds.commands.evaluate_upper import evaluate_upper
from nc_rd_bounds.commands.train_upper import train_upper
from nc_rd_bounds.points import read_points
from nc_rd_bounds.upper.config import UpperConfig
from nc_rd_bounds.upper.model import VectorVae

RECIPES = [name for name in recipe_names("nc_rd_bounds") if name.startswith("upper-")]
SHORT = (
    "--threads", "1", "--set", "training.duration=4", "--set", "training.batch_size=16",
    "--set", "training.log_every=2", "--set", "training.evaluate_every=2",
    "--set", "training.checkpoint_every=2", "--set", "model.encoder_units=[4]",
    "--set", "model.decoder_units=[4]",
)  # fmt: skip
# Dimensions, latents, widths, flow widths, batch, steps.
PUBLISHED: dict[str, tuple[int, int, list[int], list[int], int, int]] = {
    "upper-banana": (2, 2, [100, 100], [10, 10], 1024, 100_000),
    "upper-banana-4": (4, 4, [400, 400], [20, 20], 1024, 100_000),
    "upper-banana-16": (16, 16, [1600, 1600], [20, 20], 1024, 100_000),
    "upper-banana-100": (100, 100, [2000, 2000], [20, 20], 1024, 100_000),
    "upper-banana-500": (500, 500, [2000, 2000], [20, 20], 1024, 100_000),
    "upper-physics": (16, 16, [500, 500], [50, 50], 512, 100_000),
    "upper-physics-2d": (2, 2, [500, 500], [50, 50], 512, 100_000),
    "upper-speech": (33, 33, [500, 500], [50, 50], 512, 100_000),
    "upper-speech-2d": (2, 2, [500, 500], [50, 50], 512, 100_000),
}


def train(*arguments: object) -> Result:
    return CliRunner().invoke(train_upper, [*map(str, arguments)], catch_exceptions=False)


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate_upper, [*map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_of_flows_have_the_published_settings(name: str) -> None:
    dims, latents, units, flow_units, batch, steps = PUBLISHED[name]
    config = load_config(UpperConfig, name, package="nc_rd_bounds")
    model = config.model.resolved(dims, name)
    assert (model.dims, model.latents) == (dims, latents)
    assert [*model.encoder_units] == [*(model.decoder_units or ())] == units
    assert model.encoder_activation == model.decoder_activation == "softplus"
    assert (model.prior, model.maf_stacks, model.flow_activation) == ("maf", 3, "softplus")
    assert [*model.flow_units] == flow_units
    assert (model.posterior, config.unit, config.per_dimension) == ("gaussian", "nats", False)
    assert (config.training.batch_size, config.training.duration) == (batch, steps)
    assert config.learning_rate == 5e-4
    assert config.validation_batches == (20 if "physics" in name else 10)


def test_recipes_of_the_large_gaussian_have_the_published_settings() -> None:
    config = load_config(UpperConfig, "upper-gaussian-1000", package="nc_rd_bounds")
    without = load_config(UpperConfig, "upper-gaussian-1000-nodecoder", package="nc_rd_bounds")
    assert (config.unit, config.per_dimension, config.validation_batches) == ("bits", True, 1)
    assert (config.training.batch_size, config.training.duration) == (64, 80_000)
    assert (config.model.prior, config.model.latents) == ("gmm_1", 400)
    assert (config.model.encoder_units, config.model.decoder_units) == ((), (1000,))
    assert config.model.decoder_activation == "leaky_relu"
    assert without.model.decoder_units is None
    assert without.model.resolved(1000, "gaussian").latents == 1000


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_makes_a_model(name: str) -> None:
    config = load_config(UpperConfig, name, package="nc_rd_bounds")
    known = {"gaussian-1000": 1000, "physics": 16, "speech": 33}
    dims = next((n for key, n in known.items() if key in name and "2d" not in name), 2)
    if name.startswith("upper-banana-") and name.split("-")[2].isdigit():
        dims = int(name.split("-")[2])
    with torch.device("meta"):
        model = VectorVae(config.model.resolved(dims, name))
    assert model.quantised == ("-ntc" in name)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


def test_every_recipe_of_the_paper_has_a_small_sibling() -> None:
    large = {name for name in RECIPES if not name.endswith("-small")} - {"upper-demo"}
    assert {f"{name}-small" for name in large} <= set(RECIPES)


def test_a_run_becomes_points_with_their_data_and_seed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = train("--recipe", "upper-banana-ntc-small", "--lamb", 7, "--out", out, *SHORT)
    assert said.exit_code == 0, said.output
    assert "4 steps, rate" in said.stdout
    assert json.loads((out / "config.json").read_bytes())["config"]["lamb"] == 7
    shown = evaluate(out, "--batches", 4, "--rounded", "--file", "--seed", 3, "--json")
    measured = {one["name"]: one for one in json.loads(shown.stdout)}
    assert measured["rate"]["unit"] == "nats per vector"
    assert measured["rate"]["standard_error"] > 0
    assert {"ntc-rounded/rate", "ntc-rounded-median/objective", "ntc-file/distortion"} <= {
        *measured
    }
    points = read_points(out)
    assert [point.method for point in points] == [
        "ntc", "ntc-rounded", "ntc-rounded-median", "ntc-file"
    ]  # fmt: skip
    assert {(p.dataset, p.seed, p.n, p.slope) for p in points} == {("banana:test", 3, 64, 7.0)}
    table = evaluate(out, "--batches", 4).stdout
    assert "lambda 7, data banana:test" in table


def test_an_existing_folder_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train("--recipe", "upper-banana-small", "--out", out, *SHORT)
    monkeypatch.setattr("nc_rd_bounds.upper.evaluate.evaluate", pytest.fail)
    other = tmp_path / "other"
    with RunDirectory.create(other, {}) as run:
        run.log({"step": 1})
    with pytest.raises(DataError, match="run directory exists") as error:
        evaluate(out, "--out", other)
    assert error.value.hint == "--force starts again, --out names another"
    new = tmp_path / "new"
    with pytest.raises(UsageError, match="its posterior is gaussian"):
        evaluate(out, "--rounded", "--out", new)
    with pytest.raises(DataError, match="vectors of 4 numbers"):
        evaluate(out, "--dataset", "banana?dim=4", "--out", new)
    assert not new.exists()


def test_the_runs_own_folder_keeps_its_model(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train("--recipe", "upper-banana-small", "--out", out, *SHORT)
    words = ("--dataset", "banana:test", "--batches", 2, "--force", "--out", out)
    for model in (out, out / "model.safetensors"):
        assert evaluate(model, *words).exit_code == 0
    assert (out / "model.safetensors").exists()
    assert [point.dataset for point in read_points(out)] == ["banana:test"]


def test_a_device_that_is_not_there_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        train("--out", tmp_path / "run", "--device", "cuda", *SHORT)
    assert not (tmp_path / "run").exists()


def test_rows_of_a_file_are_held_out_and_never_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((300, 3)))
    out = tmp_path / "run"
    said = train("--recipe", "upper-gaussian-small", "--dataset", f"npy:{path}", "-o", out, *SHORT)
    assert said.exit_code == 0, said.output
    evaluate(out, "--seed", 5)
    (point,) = read_points(out)
    assert point.n == 30
    assert any("held out" in note for note in point.notes)
    evaluate(out, "--dataset", f"npy:{path}", "--out", tmp_path / "all")
    (whole,) = read_points(tmp_path / "all")
    assert whole.n == 300
    assert any("same samples" in note for note in whole.notes)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("--recipe", "upper-banan"), UsageError, "did you mean 'upper-banana"),
        (("--set", "model.prior=mfa"), UsageError, "no prior 'mfa'"),
        (("--dataset", "npy:missing.npy"), DataError, "missing.npy"),
        (("--set", "data.test=banana:test?dim=4"), DataError, "vectors of 2 numbers"),
        (("--set", "model.dims=5"), DataError, "vectors of 2 numbers; the model takes 5"),
        (("--set", "training.duration=2 epochs"), UsageError, "epochs"),
    ],
)
def test_mistakes_leave_nothing_behind(
    tmp_path: Path, arguments: tuple[str, ...], error: Any, said: str
) -> None:
    out = tmp_path / "run"
    with pytest.raises(error, match=said):
        train("--out", out, *SHORT, *arguments)
    assert not out.exists()


def test_a_run_that_has_no_model_yet_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="no model yet"):
        evaluate(tmp_path)

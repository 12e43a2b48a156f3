"""Training against the original's numbers, and a run from the beginning to a model file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nc_bitswap.config import BitswapConfig, RateSchedule
from nc_bitswap.data import ModelImages
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_bitswap.release import float_model, load
from nc_bitswap.train import BitswapTask, learning_rate, train
from nc_core.config import load_config, recipe_names
from nc_core.datasets.arrays import ArrayRows
from nc_core.errors import DataError, UsageError
from nc_core.model_file import read_model_file
from nc_core.runs import RunDirectory
from nc_core.sheets import image_sheet
from nc_core.training import Hardware, TrainingData, fit

CPU = Hardware(device="cpu", threads=1, loaders=0)


class GoldenTask(BitswapTask):
    """Starts from given weights, and keeps what evaluation sees: the averaged parameters."""

    averaged: dict[str, torch.Tensor]

    def start(self, batches: Iterator[Any]) -> None:
        """Nothing: the weights are initialised."""

    def evaluate(self) -> Mapping[str, float]:
        """Copies of the parameters."""
        self.averaged = {k: v.detach().clone() for k, v in self.module.named_parameters()}
        return {}


class GoldenModel(HierarchicalVAE):
    """Takes its noise from a list."""

    prepared: list[list[torch.Tensor]]

    def noise(self, *args: Any, **kwargs: Any) -> list[torch.Tensor]:
        """The noise of the next step."""
        return self.prepared.pop(0)


def norms(tensors: Mapping[str, torch.Tensor], keys: list[str]) -> list[float]:
    return [float(tensors[key].detach().double().norm()) for key in keys]


@pytest.mark.parametrize(
    ("run", "delay"), [("mnist_nz2", 0), ("cifar_nz2", 0), ("imagenetcrop_nz4", 100_000)]
)
def test_three_steps_are_the_original_ones(
    shared: Path, tmp_path: Path, run: str, delay: int
) -> None:
    folder = shared / "golden" / "bitswap"
    document = json.loads((folder / f"model_{run}.json").read_text())
    arrays = np.load(folder / f"model_{run}.npz")
    given = document["config"]
    channels, height, width = given["xs"]
    shape = Architecture(
        channels,
        height,
        width,
        levels=given["nz"],
        latent_channels=given["zchannels"],
        hidden=given["reswidth"],
        processing=given["nprocessing"],
        blocks=given["resdepth"],
        conditional_scale="gen_std.0.v" in document["param_keys_sorted"],
    )
    model = GoldenModel(shape)
    model.load_state_dict(load_file(folder / f"model_{run}.warm.safetensors"))
    model.prepared = [
        [
            torch.from_numpy(arrays[f"train_eps_step{step}_layer{level}"])
            for level in range(shape.levels)
        ]
        for step in range(3)
    ]
    config = load_config(
        BitswapConfig,
        settings=[
            "training.duration=3",
            "training.batch_size=4",
            "training.log_every=1",
            "training.evaluate_every=3",
            "training.checkpoint_every=3",
            "training.evaluate_at_start=false",
            f"learning_rate.delay={delay}",
        ],
    )
    task = GoldenTask(config, model, None)  # type: ignore[arg-type]

    def load(indices: Any, _: Any) -> torch.Tensor:
        return torch.from_numpy(arrays["train_x"][indices[0] // 4])

    with RunDirectory.create(tmp_path / "run", config.to_json()) as directory:
        rate = learning_rate(config.learning_rate)
        fit(task, TrainingData(load), config.training, directory, hardware=CPU, learning_rate=rate)
        records = [r for r in directory.metrics() if r["phase"] == "train"]
    np.testing.assert_allclose([r["loss"] for r in records], arrays["train_elbo_bpd"], rtol=1e-4)
    np.testing.assert_allclose(
        [r["gradient_norm"] for r in records], arrays["train_gnorm"], rtol=1e-4
    )
    np.testing.assert_allclose([r["learning_rate"] for r in records], arrays["train_lr"], rtol=1e-6)
    keys = document["param_keys_sorted"]
    after = dict(model.named_parameters())
    np.testing.assert_allclose(norms(after, keys), arrays["after3_param_norms"], rtol=1e-4)
    np.testing.assert_allclose(norms(task.averaged, keys), arrays["after3_ema_norms"], rtol=1e-4)
    for name in arrays.files:
        if name.startswith("after3/"):
            key = name.removeprefix("after3/")
            np.testing.assert_allclose(after[key].detach(), arrays[name], atol=2e-4)
            average = arrays[f"after3_ema/{key}"]
            np.testing.assert_allclose(task.averaged[key], average, atol=2e-4)


def test_the_rate_decays_until_it_is_not_above_its_floor() -> None:
    rate = learning_rate(RateSchedule(start=2e-3, decay=0.5, floor=5e-4, delay=1))
    assert [rate(k) for k in range(5)] == [2e-3, 1e-3, 5e-4, 5e-4, 5e-4]
    rate = learning_rate(RateSchedule())
    assert rate(467) == pytest.approx(1.583e-3, rel=1e-3)
    assert rate(2 * 468 - 1) == pytest.approx(1.252e-3, rel=1e-3)


@pytest.mark.parametrize("name", [n for n in recipe_names("nc_bitswap") if "-nz" in n])
def test_recipes_are_valid(name: str) -> None:
    config = load_config(BitswapConfig, name, package="nc_bitswap")
    levels = name.split("-nz")[1].split("-")[0]
    assert config.model.levels == int(levels)
    assert config.training.clip_norm == 1.0


def test_the_tiny_recipe_is_the_one_that_was_measured() -> None:
    model = load_config(BitswapConfig, "mnist-nz2-tiny", package="nc_bitswap").model
    assert (model.hidden, model.processing, model.blocks, model.dropout) == (16, 1, 2, 0.2)


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model\.hidden"):
        load_config(BitswapConfig, settings=["model.hiden=3"])


def digits(count: int, side: int = 8) -> ArrayRows:
    rows = np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)
    return ArrayRows("digits", rows // 3, "hw")


def tiny(**changes: Any) -> BitswapConfig:
    settings = {
        "model.height": 8,
        "model.width": 8,
        "model.hidden": 4,
        "model.processing": 0,
        "model.blocks": 1,
        "bins.bits": 4,
        "bins.samples_per_bin": 2,
        "warm_up_batches": 2,
        "training.duration": 4,
        "training.batch_size": 4,
        "training.evaluate_every": 2,
        "training.evaluate_at_start": "false",
        "training.checkpoint_every": 2,
    } | changes
    return load_config(BitswapConfig, settings=[f"{k}={v}" for k, v in settings.items()])


def run_training(path: Path, config: BitswapConfig, **options: Any) -> list[dict[str, Any]]:
    images = ModelImages(digits(12, 6), (1, 8, 8))
    with RunDirectory.create(path, config.to_json(), **options) as run:
        train(config, run, images, images, hardware=CPU)
        return run.metrics()


@pytest.mark.parametrize("form", ["swapped", "conventional"])
def test_a_run_leaves_a_model_that_codes(
    tmp_path: Path, form: Literal["swapped", "conventional"]
) -> None:
    config = tiny(**{"training.ema.form": form})
    records = run_training(tmp_path / "run", config)
    evaluations = [r for r in records if r["phase"] == "evaluate"]
    names = {"elbo", "x/reconstruction", "z1/encoder", "z1/decoder", "z1/KL", "z2/KL"}
    assert names <= evaluations[-1].keys()
    terms = sum(evaluations[-1][name] for name in ("x/reconstruction", "z1/KL", "z2/KL"))
    assert terms == pytest.approx(evaluations[-1]["elbo"], rel=1e-5)
    samples = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert samples[0].startswith("x_reconstruct-")
    file = read_model_file(tmp_path / "run" / "model.safetensors")
    assert load(file).arithmetic == "exact"
    networks = float_model(file)
    assert networks.architecture.hidden == 4


def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole = run_training(tmp_path / "whole", tiny())
    run_training(tmp_path / "parts", tiny(**{"training.duration": 2}))
    parts = run_training(tmp_path / "parts", tiny(), resume=True, may_differ=["training.duration"])
    assert parts == whole


def test_larger_images_are_cropped_and_smaller_ones_padded() -> None:
    large = ModelImages(digits(2, 12), (1, 8, 8))
    assert large.load(np.array([1])).shape == (1, 1, 8, 8)
    somewhere = large.load(np.array([1]), np.random.default_rng(5))
    assert not np.array_equal(somewhere, large.load(np.array([1])))
    small = ModelImages(digits(2, 6), (1, 8, 8)).first(1)[0, 0]
    assert not small[0].any() and not small[:, -1].any() and small[1:-1, 1:-1].any()


def test_images_with_other_channels_are_refused() -> None:
    images = ModelImages(digits(2), (3, 8, 8))
    with pytest.raises(DataError, match="1 channels"):
        images.first(1)


def test_sheets_hold_images_row_by_row() -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 3, 2, 2), np.uint8)
    sheet = image_sheet(images, columns=2)
    assert sheet.shape == (4, 4, 3)
    assert sheet[0, 2, 0] == 1 and sheet[2, 0, 1] == 2 and sheet[3, 3, 2] == 0

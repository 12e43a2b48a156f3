"""Every model of the paper as a recipe: its size, its schedule, and that it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nc_bitswap.config import BitswapConfig
from nc_bitswap.data import ModelImages
from nc_bitswap.families import load_recipe
from nc_bitswap.train import build_model, learning_rate, train
from nc_core.datasets.arrays import ArrayRows
from nc_core.model_file import read_model_file
from nc_core.runs import RunDirectory
from nc_core.training import Hardware

# Width, parameters, and tensors of a checkpoint, as counted in the original.
PUBLISHED = {
    "mnist-nz8": (61, 2_601_949, 286),
    "mnist-nz4": (62, 2_672_826, 214),
    "mnist-nz2": (63, 2_751_939, 178),
    "mnist-nz1": (64, 2_835_916, 160),
    "cifar10-nz8": (252, 44_645_880, 286),
    "cifar10-nz4": (254, 44_906_456, 214),
    "cifar10-nz2": (255, 45_036_192, 178),
    "cifar10-nz1": (256, 45_277_240, 160),
    "imagenet32-nz4": (254, 44_906_456, 214),
    "imagenet32-nz2": (255, 45_036_192, 178),
    "imagenet32-nz1": (256, 45_277_240, 160),
    "imagenetcrop-nz4": (256, 45_636_880, 216),
}
# Dropout, batch, decay, steps before it, and between evaluations.
SCHEDULES: dict[str, tuple[float, int, float, int, str]] = {
    "mnist": (0.2, 128, 0.9995, 0, "5 epochs"),
    "cifar10": (0.3, 16, 0.999995, 0, "5 epochs"),
    "imagenet32": (0.0, 128, 0.999995, 100_000, "1 epoch"),
    "imagenetcrop": (0.0, 128, 0.999995, 100_000, "1 epoch"),
}


def recipe(name: str, *settings: str) -> BitswapConfig:
    config = load_recipe(name, settings)
    assert isinstance(config, BitswapConfig)
    return config


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_is_the_published_model(name: str) -> None:
    width, parameters, tensors = PUBLISHED[name]
    config = recipe(name)
    colour = not name.startswith("mnist")
    assert config.model.hidden == width
    assert config.model.levels == int(name[-1])
    assert config.model.latent_channels == (8 if colour else 1)
    assert config.model.channels == (3 if colour else 1)
    assert (config.model.processing, config.model.blocks, config.model.kernel_size) == (4, 8, 3)
    assert config.model.conditional_scale == name.startswith("imagenetcrop")
    with torch.device("meta"):  # shapes only: the largest model would take 180 MB
        weights = dict(build_model(config).named_parameters())
    assert sum(tensor.numel() for tensor in weights.values()) == parameters
    assert len(weights) == tensors


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_has_the_published_schedule(name: str) -> None:
    dropout, batch, decay, delay, every = SCHEDULES[name.rpartition("-")[0]]
    config = recipe(name)
    assert config.model.dropout == dropout
    assert config.training.batch_size == batch
    assert config.training.evaluate_every == every
    assert config.training.evaluate_at_start
    assert config.training.seed == 99
    assert config.training.clip_norm == 1.0
    assert config.training.ema is not None
    assert (config.training.ema.decay, config.training.ema.form) == (0.999, "swapped")
    assert (config.free_bits, config.warm_up_batches, config.bins.bits) == (1.0, 25, 10)
    rate = learning_rate(config.learning_rate)
    first = 2e-3 * (decay if delay == 0 else 1)
    assert rate(0) == pytest.approx(first)
    assert rate(delay) == pytest.approx(2e-3 * decay)
    assert rate(delay + 99) == pytest.approx(2e-3 * decay**100)
    assert 5e-4 * decay <= rate(10_000_000) <= 5e-4


@pytest.mark.parametrize("name", ["mnist-nz8", "cifar10-nz1", "imagenet32-nz2", "imagenetcrop-nz4"])
def test_a_recipe_trains_at_reduced_size(tmp_path: Path, name: str) -> None:
    reduced = {
        "model.hidden": 4, "model.processing": 1, "model.height": 8, "model.width": 8,
        "warm_up_batches": 1, "training.batch_size": 4, "training.duration": 3,
        "training.evaluate_every": 3, "training.checkpoint_every": 3, "bins.bits": 4,
        "bins.samples_per_bin": 2,
    }  # fmt: skip
    config = recipe(name, *(f"{key}={value}" for key, value in reduced.items()))
    shape = (config.model.channels, 8, 8)
    pixels: Any = np.random.default_rng(0).integers(0, 256, (8, *shape), np.uint8)
    images = ModelImages(ArrayRows("rows", pixels, "chw"), shape, config.model.padding)
    with RunDirectory.create(tmp_path / "run", config.to_json()) as run:
        hardware = Hardware(device="cpu", threads=1, loaders=0)
        result = train(config, run, images, images, hardware=hardware)
        assert result.step == 3
        assert result.best is not None
        assert result.best < 12
    architecture = read_model_file(run.model_path).config["architecture"]
    assert architecture["levels"] == config.model.levels
    assert architecture["conditional_scale"] == config.model.conditional_scale

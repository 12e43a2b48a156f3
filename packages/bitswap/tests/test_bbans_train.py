"""Training and evaluation of the VAEs of BB-ANS, and their commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nc_bitswap.bbans.config import BbansConfig
from nc_bitswap.bbans.data import VaeImages
from nc_bitswap.bbans.evaluate import evaluate_bounds
from nc_bitswap.bbans.importers import recognise
from nc_bitswap.bbans.model import Architecture, Vae
from nc_bitswap.bbans.release import load
from nc_bitswap.bbans.train import train
from nc_bitswap.cli import bitswap
from nc_bitswap.families import bounds_of, load_recipe
from nc_core.config import load_config
from nc_core.datasets.arrays import ArrayRows
from nc_core.datasets.mnist import Mnist
from nc_core.errors import UsageError
from nc_core.importing import read_state_dict
from nc_core.model_file import ModelFile, read_model_file
from nc_core.runs import RunDirectory
from nc_core.training import Hardware

CPU = Hardware(device="cpu", threads=1, loaders=0)
SIDE = 6


def stripes(count: int, top: int = 255) -> ArrayRows:
    """Images of one bright row or column each, on a dark ground."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 1 + top // 8, (count, SIDE, SIDE), np.uint8)
    places = generator.integers(0, SIDE, count)
    for index in range(count):
        rows = images[index] if index % 2 else images[index].T
        rows[places[index]] = top
    return ArrayRows("stripes", images, "hw")


def small(likelihood: str, **changes: Any) -> BbansConfig:
    settings = {
        "model.likelihood": likelihood,
        "model.height": SIDE,
        "model.width": SIDE,
        "model.hidden": 12,
        "model.latents": 3,
        "learning_rate": 0.01,
        "training.duration": 60,
        "training.batch_size": 10,
        "training.evaluate_every": 30,
        "training.checkpoint_every": 30,
    } | changes
    return load_config(BbansConfig, settings=[f"{key}={value}" for key, value in settings.items()])


def run_training(path: Path, config: BbansConfig, **options: Any) -> list[dict[str, Any]]:
    architecture = Architecture(**config.model.to_json())
    images = VaeImages(stripes(40), architecture)
    with RunDirectory.create(path, config.to_json(), **options) as run:
        train(config, run, images, images, hardware=CPU)
        return run.metrics()


@pytest.mark.parametrize("likelihood", ["bernoulli", "beta-binomial"])
def test_a_run_learns_and_leaves_a_model_that_codes(tmp_path: Path, likelihood: str) -> None:
    records = run_training(tmp_path / "run", small(likelihood))
    first, last = (r for r in records if r["phase"] == "evaluate")
    assert last["elbo"] < first["elbo"]
    assert last["x/reconstruction"] + last["z1/KL"] == pytest.approx(last["elbo"], rel=1e-6)
    codec = load(read_model_file(tmp_path / "run" / "model.safetensors"))
    blocks = VaeImages(stripes(20), codec.architecture).first(20).reshape(20, 1, SIDE, SIDE)
    assert codec.bits(blocks).mean() / SIDE**2 == pytest.approx(last["elbo"], rel=0.2)


def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole = run_training(tmp_path / "whole", small("beta-binomial"))
    run_training(tmp_path / "parts", small("beta-binomial", **{"training.duration": 30}))
    parts = run_training(
        tmp_path / "parts", small("beta-binomial"), resume=True, may_differ=["training.duration"]
    )
    assert parts == whole


def test_grey_images_are_drawn_anew_for_binary_models_and_binary_ones_are_not() -> None:
    architecture = Architecture("bernoulli", SIDE, SIDE, 3, 2)
    grey, binary = (VaeImages(stripes(30, top), architecture) for top in (255, 1))
    indices, generator = np.arange(30), np.random.default_rng(0)
    draws = np.stack([grey.load(indices, generator) for _ in range(2)])
    assert draws.max() == 1 and not np.array_equal(*draws)
    fixed = grey.load(indices)
    np.testing.assert_array_equal(fixed[7:8], grey.load(indices[7:8]))
    np.testing.assert_array_equal(binary.load(indices, generator), binary.load(indices))
    levels = VaeImages(stripes(30), Architecture("beta-binomial", SIDE, SIDE, 3, 2)).load(indices)
    many = np.mean([grey.load(indices, generator) for _ in range(400)], axis=0)
    np.testing.assert_allclose(many, levels / 255, atol=0.13)


@pytest.mark.parametrize(
    ("name", "rate", "parameters"),
    [
        ("bbans-mnist", 5e-4, 503_468),
        ("bbans-mnist-binary", 1e-3, 169_864),
        ("bbans-mnist-rounded", 1e-3, 163_824),
    ],
)
def test_recipes_have_the_published_constants(name: str, rate: float, parameters: int) -> None:
    config = load_recipe(name, ())
    assert isinstance(config, BbansConfig)
    training = config.training
    assert (training.duration, training.batch_size, training.seed) == ("20 epochs", 100, 17)
    assert config.learning_rate == rate
    vae = Vae(Architecture(**config.model.to_json()))
    assert sum(weights.numel() for weights in vae.parameters()) == parameters


def test_bounds_name_the_loss_that_is_none(tmp_path: Path) -> None:
    run_training(tmp_path / "run", small("beta-binomial"))
    file = read_model_file(tmp_path / "run" / "model.safetensors")
    found = {one.name: one for one in bounds_of(file, stripes(40), limit=30)}
    assert {one.n for one in found.values()} == {30}
    assert all(one.standard_error is not None for one in found.values())
    exact, real = found["exact_elbo"].value, found["elbo"].value
    assert exact == pytest.approx(real, rel=0.1)
    assert found["mean_latent_loss"].value != real
    with pytest.raises(UsageError, match="family 'predictive'"):
        bounds_of(ModelFile.without_weights("x", "predictive", "0" * 64), stripes(2))


def test_bounds_of_the_original_weights_are_those_that_it_gave(shared: Path) -> None:
    folder = shared / "golden" / "bitswap"
    vae = recognise(read_state_dict(folder / "bbans_binary_20.safetensors"))
    assert vae is not None
    mnist: Any = Mnist(shared / "data" / "mnist", "test", "mnist", "threshold")
    pixels = VaeImages(mnist, vae.architecture).first(10_000)
    found = {one.name: one.value for one in evaluate_bounds(vae, None, pixels)}
    assert found["elbo"] == pytest.approx(0.2071, abs=2e-4)
    assert found["mean_latent_loss"] == pytest.approx(0.2241, abs=1e-4)


def test_the_command_trains_a_vae_and_says_its_bound(tmp_path: Path) -> None:
    np.save(tmp_path / "stripes.npy", np.stack([stripes(40)[k]["image"] for k in range(40)]))
    settings = [
        f"--set={name}={value}"
        for name, value in {
            "data.train": f"npy:{tmp_path / 'stripes.npy'}",
            "data.test": f"npy:{tmp_path / 'stripes.npy'}",
            "model.height": SIDE,
            "model.width": SIDE,
            "training.duration": 4,
            "training.batch_size": 10,
        }.items()
    ]
    out = tmp_path / "run"
    arguments = ["train", "--recipe=bbans-mnist", f"--out={out}", "--device=cpu", *settings]
    result = CliRunner().invoke(bitswap, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert re.search(r"4 steps, bound \d\.\d{4} bits per dimension", result.stdout)
    assert load(read_model_file(out / "model.safetensors")).architecture.latents == 50

"""Training of the model of photographs: its method, exact resume, and the file it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nc_bitswap.families import load_recipe
from nc_bitswap.photo.config import PhotoConfig, PhotoRates
from nc_bitswap.photo.data import Photographs, random_crop, random_planes
from nc_bitswap.photo.lattice import to_planes
from nc_bitswap.photo.levels import BaseLoss, LatticeLoss, Levels, levels_of
from nc_bitswap.photo.model import Architecture, PhotoModel
from nc_bitswap.photo.predictors import fit_predictors, predictors
from nc_bitswap.photo.release import crops, float_model, load
from nc_bitswap.photo.train import build_model, rate_factor, train, training_data
from nc_core.datasets.arrays import ArrayRows
from nc_core.errors import DataError, UsageError, WorkError
from nc_core.model_file import read_model_file
from nc_core.runs import RunDirectory
from nc_core.training import Hardware

# Computed with the program that trained the first released weights.
LATTICE_BITS, BASE_BITS = 122.43402862548828, 84.93181610107422
PREDICTOR_NORMS = [
    1.6500480919103098, 2.9477962968701243, 5.057053939464541, 0.3847453258608005,
    0.7940829334687487,
]  # fmt: skip
CPU = Hardware(device="cpu", threads=1, loaders=0)
SETTINGS = {
    "model": "{widths: [4, 4], blocks: 1, hidden: 4, mixtures: 2, base_width: 4, latents: 2}",
    "lattices": "{crop: [32, 64], every: [1, 2], predictor_crops: 40}",
    "base": "{crop: 32, batch_size: 2}",
    "learning_rate.warm_up": 10,
    "training.batch_size": 2,
    "training.duration": 6,
    "training.log_every": 1,
    "training.evaluate_every": 4,
    "training.checkpoint_every": 2,
}


def pictures(count: int, height: int = 168, width: int = 160) -> Any:
    """Slopes, edges and noise, uint8, (count, height, width, 3)."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    angles = generator.normal(0, 0.2, (2, count, 1, 1, 3))
    waves = np.sin(angles[0] * rows[..., None] + angles[1] * columns[..., None])
    noise = generator.normal(0, 3, (count, height, width, 3))
    return np.clip(np.rint(128 + 90 * waves + noise), 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def few_calibration_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lowering takes most of a small run's time."""
    monkeypatch.setattr("nc_bitswap.photo.train.crops", lambda images: crops(images, 3))


@pytest.fixture(scope="module")
def photographs() -> Photographs:
    return Photographs(ArrayRows("waves", pictures(3), "hwc"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photographs")
    for index, pixels in enumerate(pictures(3)):
        Image.fromarray(pixels).save(path / f"{index}.png")
    return path


def small(**changes: Any) -> PhotoConfig:
    settings = [f"{name}={value}" for name, value in (SETTINGS | changes).items()]
    config = load_recipe("photo", settings)
    assert isinstance(config, PhotoConfig)
    return config


def run_training(
    path: Path, photographs: Photographs, config: PhotoConfig, **options: Any
) -> list[dict[str, Any]]:
    with RunDirectory.create(path, config.to_json(), **options) as run:
        train(config, run, photographs, photographs, hardware=CPU)
        return run.metrics()


# The method


def set_by_formula(model: PhotoModel) -> None:
    """Weights that are the same everywhere, without a generator."""
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            count = torch.arange(parameter.numel(), dtype=torch.float64)
            size = 1e-3 if "linear" in name or "crossed" in name else 0.1
            parameter.copy_((size * torch.sin(count * 0.7 + len(name))).view(parameter.shape))


def fixed_planes(side: int) -> torch.Tensor:
    ramp = np.arange(2 * 3 * side * side).reshape(2, 3, side, side)
    return to_planes(((ramp * ramp // 97 + ramp // 3) % 256).astype(np.uint8))


def test_losses_and_predictors_are_those_that_the_weights_were_trained_with() -> None:
    model = PhotoModel(Architecture((4, 4), 1, 4, 2, 4, 2))
    set_by_formula(model)
    planes = fixed_planes(32)
    assert LatticeLoss(model, 0)(planes).item() == pytest.approx(LATTICE_BITS, rel=1e-5)
    torch.manual_seed(3)
    assert BaseLoss(model)(planes).item() == pytest.approx(BASE_BITS, rel=1e-5)
    fit_predictors(model.lattice(0), planes)
    fitted = [layer.get_parameter("weight") for layer in predictors(model)[:5]]
    norms = [weight.detach().double().norm().item() for weight in fitted]
    assert norms == pytest.approx(PREDICTOR_NORMS, rel=1e-4)


def test_rates_rise_stay_and_fall() -> None:
    factor = rate_factor(PhotoRates(warm_up=10, constant=0.4, floor=0.01), 100)
    assert [factor(k) for k in (0, 4, 9, 40)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert factor(70) == pytest.approx(0.505)
    assert factor(100) == factor(200) == pytest.approx(0.01)


def test_every_level_is_trained_in_its_turn(photographs: Photographs) -> None:
    data = training_data(small(), photographs)
    for step, names in enumerate((["lattice0", "lattice1", "base"], ["lattice0", "base"])):
        indices = np.arange(2 * step, 2 * step + 2)
        batch = data.load(indices, np.random.default_rng(0))
        assert list(batch) == names
        again = data.load(indices, np.random.default_rng(0))
        assert all(torch.equal(batch[name], again[name]) for name in names)
    assert batch["lattice0"].shape == (2, 3, 32, 32) and batch["base"].shape == (2, 3, 8, 8)


def test_a_step_without_a_finite_gradient_is_skipped(photographs: Photographs) -> None:
    from lightning_fabric import Fabric

    config = small()
    model = build_model(config)
    levels = Levels(model, levels_of(config), Fabric(accelerator="cpu", devices=1))
    planes = fixed_planes(16)
    before = model.lattice(0).entry[0].weight.clone()  # type: ignore[operator]
    bad = planes * float("nan")
    values = levels.update({"lattice0": bad, "base": planes}, 1.0)
    assert torch.equal(model.lattice(0).entry[0].weight, before)  # type: ignore[arg-type]
    assert "lattice0" not in values and torch.isfinite(values["loss"])
    with pytest.raises(WorkError, match="lattice0: its gradient is no longer finite"):
        for _ in range(20):
            levels.update({"lattice0": bad}, 1.0)


@pytest.mark.parametrize("shape", [(168, 160), (20, 30), (40, 15), (64, 64)])
def test_crops_of_photographs_of_any_size(shape: tuple[int, int]) -> None:
    picture = Image.fromarray(pictures(1, *shape)[0])
    generator = np.random.default_rng(1)
    crops = [random_crop(picture, 64, generator) for _ in range(20)]
    assert {(crop.shape, crop.dtype) for crop in crops} == {((64, 64, 3), np.dtype("uint8"))}


def test_grey_images_and_transparency_become_rgb() -> None:
    grey = Photographs(ArrayRows("grey", pictures(1)[..., 0], "hw"))
    assert grey.picture(0).mode == "RGB"
    clear = np.concatenate([pictures(1), pictures(1)[..., :1]], axis=3)
    assert Photographs(ArrayRows("clear", clear, "hwc")).picture(0).mode == "RGB"
    planes = random_planes(grey, 2, 32, 4, np.random.default_rng(0))
    assert planes.shape == (2, 3, 8, 8)
    with pytest.raises(DataError, match="no 8-bit images"):
        Photographs(ArrayRows("deep", pictures(1).astype(np.uint16), "hwc"))
    many = Photographs(ArrayRows("many", np.zeros((1, 40, 30, 5), np.uint8), "hwc"))
    with pytest.raises(DataError, match=r"many: image 0 of shape \(40, 30, 5\) has 5 channels"):
        many.picture(0)


# Runs


def test_training_lowers_the_bound_and_leaves_a_model_that_codes(
    tmp_path: Path, photographs: Photographs
) -> None:
    config = small(
        **{
            "training.duration": 60,
            "training.log_every": 20,
            "training.evaluate_every": 60,
            "training.evaluate_at_start": "true",
        }
    )
    records = run_training(tmp_path / "run", photographs, config)
    evaluations = [record for record in records if record["phase"] == "evaluate"]
    first, *_, last = evaluations
    assert last["elbo"] < 0.95 * first["elbo"]
    assert sum(last[name] for name in ("lattice0", "lattice1", "base")) == pytest.approx(
        last["elbo"]
    )
    file = read_model_file(tmp_path / "run" / "model.safetensors")
    blocks = pictures(3).transpose(0, 3, 1, 2)
    exact = load(file).bits(blocks).sum() / blocks.size
    assert exact == pytest.approx(last["elbo"], rel=0.03)
    goes_on = small(**{"initial": tmp_path / "run", "training.evaluate_at_start": "true"})
    again = run_training(tmp_path / "again", photographs, goes_on)
    assert again[0]["elbo"] == pytest.approx(min(e["elbo"] for e in evaluations), rel=1e-6)
    assert float_model(file).architecture.widths == (4, 4)


def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path: Path, photographs: Photographs) -> None:
    config = small(**{"learning_rate.constant": 0.5})
    whole = run_training(tmp_path / "run", photographs, config)
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    for step in (4, 6):
        (tmp_path / "run" / "checkpoints" / f"step-{step:09d}.safetensors").unlink()
    # What is left is the state of no step at all, and of the run as it was killed.
    assert run_training(tmp_path / "run", photographs, config, resume=True) == whole
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model


def program(folder: Path, out: Path, *arguments: str) -> subprocess.Popen[str]:
    settings = SETTINGS | {"data.train": f"folder:{folder}", "data.test": f"folder:{folder}"}
    chosen = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-W", "error", "-m", "nc_cli", "run", "bitswap", "train"]
    command += ["--recipe", "photo", "--device", "cpu", "--threads", "1", "--out", str(out)]
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK")}
    return subprocess.Popen(
        [*command, *chosen, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    )  # fmt: skip


def test_two_processes_train_one_model(folder: Path, tmp_path: Path) -> None:
    once = ("--set", "training.evaluate_every=6")
    process = program(folder, tmp_path / "run", "--devices", "2", *once)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "best bound" in output
    records = RunDirectory.open(tmp_path / "run").metrics()
    assert [record["phase"] for record in records] == [*["train"] * 6, "evaluate"]


# Mistakes


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lattices.crop=[16]", "lattices: crop has 1 numbers for 2 lattices"),
        ("lattices.crop=[15, 32]", "crop of lattice 0: 15 pixels are no multiple of 2"),
        ("base.crop=40", "base: crop: 40 pixels are no multiple of 16"),
        ("lattices.every=[0, 1]", "numbers of steps are 1 or more"),
        ("training.clip_norm=1", "lattices.clip_norm, base.clip_norm"),
        ("training.precision=bf16-mixed", "grey levels need float32"),
        ("training.duration=2 epochs", "duration: '2 epochs': these data have no end"),
        ("family=bitswap", "family: input should be 'bitswap-photo'"),
        ("model.levels=3", "unknown setting 'model.levels'"),
    ],
)
def test_wrong_settings_are_refused(setting: str, message: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(UsageError) as caught:
        small(**{name: value})
    assert message in str(caught.value)


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: photo\nfamily: bitswap-foto\n")
    with pytest.raises(UsageError, match=r"no family 'bitswap-foto'.*bitswap-photo"):
        load_recipe(str(recipe), [])


def test_models_that_do_not_fit_are_no_start(tmp_path: Path, photographs: Photographs) -> None:
    config = small(**{"training.duration": 1})
    run_training(tmp_path / "run", photographs, config)
    other = {"model.hidden": 5, "initial": tmp_path / "run"}
    with pytest.raises(UsageError, match="a model of other sizes"):
        run_training(tmp_path / "other", photographs, small(**other))
    shipped = small(initial="bitswap-photo")
    with pytest.raises(DataError, match="holds the integers for coding only"):
        run_training(tmp_path / "shipped", photographs, shipped)


def test_crops_that_processes_cannot_share_are_refused(photographs: Photographs) -> None:
    data = training_data(small(**{"base.batch_size": 3}), photographs)
    with pytest.raises(UsageError, match="3 crops of base cannot be divided among 2") as caught:
        data.load(np.array([0]), np.random.default_rng(0))
    assert caught.value.hint == "--set base.batch_size=4"
    data = training_data(small(**{"training.batch_size": 5}), photographs)
    with pytest.raises(UsageError, match="5 crops of lattice0 cannot be divided") as caught:
        data.load(np.array([0, 1]), np.random.default_rng(0))
    assert caught.value.hint == "--set training.batch_size=6"


def test_predictors_that_integers_cannot_hold_are_refused_at_once(
    tmp_path: Path, photographs: Photographs
) -> None:
    few = small(**{"lattices.predictor_crops": 1})
    with pytest.raises(UsageError, match="too few pixels") as caught:
        run_training(tmp_path / "run", photographs, few)
    assert "predictor_crops" in str(caught.value.hint)


def test_images_too_small_to_calibrate_with_are_refused_at_once(tmp_path: Path) -> None:
    tiny = Photographs(ArrayRows("tiny", pictures(2, 100, 100), "hwc"))
    with pytest.raises(DataError, match="no image of 160 x 160 pixels"):
        run_training(tmp_path / "run", tiny, small())

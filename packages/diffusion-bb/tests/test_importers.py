"""Original checkpoints: recognised, imported, refused in words, and written back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from torch import Tensor

from golden_fill import fill_weights, normal_like
from nc_core.errors import DataError, NcError, UsageError
from nc_core.importing import read_state_dict
from nc_core.model_file import read_model_file
from nc_diffusion_bb.calibration import made_up_images, usual_images
from nc_diffusion_bb.commands.export_checkpoint import export_checkpoint
from nc_diffusion_bb.commands.import_checkpoint import import_checkpoint
from nc_diffusion_bb.config import DiffusionConfig, ModelConfig
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.importers import (
    PUBLISHED_FILES,
    Description,
    build_network,
    described_by_recipe,
    fitting_recipe,
)
from nc_diffusion_bb.original_settings import described_by_file, image_size_of
from nc_diffusion_bb.recognition import recognised
from nc_diffusion_bb.release import float_model
from nc_diffusion_bb.unet import Architecture, UNet

SMALL = Architecture(
    image_size=8, width=32, blocks=1, multipliers=(1, 2), attention_factors=(2,), heads=2
)
FULL = {
    "unet": {"num_heads": 2, "image_size": 8},
    "diffusion": {"steps": 100, "noise_schedule": "linear"},
}


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def run(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def arrays_of(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return dict(arrays)


def small_weights(shape: Architecture = SMALL) -> dict[str, Tensor]:
    network = UNet(shape)
    fill_weights(network, "importers")
    return dict(network.state_dict())


def saved(path: Path, weights: dict[str, Any]) -> Path:
    torch.save(weights, path)
    return path


def described(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("told", ["config", "recipe", "nothing"])
def test_the_reference_model_is_imported(shared: Path, tmp_path: Path, told: str) -> None:
    golden = shared / "golden" / "diffusion-bb"
    out = tmp_path / "m16.safetensors"
    options: dict[str, list[object]] = {
        "config": ["--config", golden / "trained_m16.json"],
        "recipe": ["--recipe", "mnist16-hybrid"],
        "nothing": [],
    }
    checkpoint = golden / "trained_m16.safetensors"
    result = run(import_checkpoint, checkpoint, *options[told], "-o", out, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["parameters"] == 317_826
    assert "noise is used" in result.stderr
    assert ("is taken for its model" in result.stderr) == (told == "nothing")
    network, diffusion = float_model(read_model_file(out))
    assert network.architecture.image_shape == (1, 16, 16)
    assert (diffusion.steps, diffusion.noise_schedule) == (1000, "cosine")
    assert not diffusion.use_kl
    weights = load_file(checkpoint)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, weights[key].float(), rtol=0, atol=0)
    arrays = arrays_of(golden / "trained_m16.npz")
    process = GaussianDiffusion.of(diffusion, "vlb50")
    x = torch.from_numpy(arrays["images"][:4].astype(np.float32) / 127.5 - 1)
    t, noise = torch.tensor([25]), normal_like("m16/noise", (50, 8, 1, 16, 16))[25, :4]
    with torch.inference_mode():
        moments = process.p_mean_variance(
            network, process.q_sample(x, t, noise), t, clip_denoised=True
        )
    np.testing.assert_allclose(moments[0], arrays["p.t25.mean"], atol=1e-4)


@pytest.mark.parametrize("name", ["cifar_vlb.pt", "imagenet64_uncond_vlb_100M_1500K.pt"])
def test_published_files_are_known_by_their_names(shared: Path, tmp_path: Path, name: str) -> None:
    """Also by their tensors. All parameters share one number, so that the file is small."""
    golden = json.loads((shared / "golden" / "diffusion-bb" / "state_dict_shapes.json").read_text())
    recipe = PUBLISHED_FILES[name]
    shapes = golden[recipe.replace("-", "_")]["shapes"]
    number = torch.tensor(0.5)
    path = saved(tmp_path / name, {key: number.expand(size) for key, size in shapes.items()})
    weights = read_state_dict(path)
    assert fitting_recipe(weights) == recipe
    network = build_network(weights, described_by_recipe(recipe), name)
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == shapes
    assert not network.training
    other = "imagenet64-vlb" if recipe == "cifar10-vlb" else "cifar10-vlb"
    with pytest.raises(DataError, match=r"and [\d,]+ more") as refused:
        build_network(weights, described_by_recipe(other), name)
    assert "tensors differ" in str(refused.value.hint)


@pytest.mark.parametrize(
    "shape",
    [
        SMALL,
        Architecture(image_size=8, width=32, blocks=2, multipliers=(1,), attention_factors=()),
        Architecture(16, 1, 32, 1, 1, (1, 4), (1, 2, 2), 4, 2, scale_shift=False, classes=10),
        Architecture(8, 2, 64, 4, 1, (), (2, 1), resample_convolution=False),
    ],
)
def test_tensors_tell_how_a_network_is_built(shape: Architecture, tmp_path: Path) -> None:
    weights = small_weights(shape)
    facts = recognised(weights, "x")
    assert facts == {name: getattr(shape, name) for name in facts}
    path = described(tmp_path / "x.json", {
        "unet": {"image_size": shape.image_size, "num_heads": shape.heads,
                 "num_heads_upsample": shape.heads_upsample},
        "diffusion": {"steps": 10, "noise_schedule": "cosine"},
    })  # fmt: skip
    description = described_by_file(path, weights, "x")
    assert description.architecture == shape
    assert description.diffusion.learn_sigma == (shape.out_channels == 2 * shape.in_channels)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_type_become_float32(
    tmp_path: Path, suffix: str, dtype: torch.dtype
) -> None:
    weights = {key: value.to(dtype) for key, value in small_weights().items()}
    path = tmp_path / f"x{suffix}"
    if suffix == ".pt":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    read = read_state_dict(path)
    model = ModelConfig(
        image_size=8, width=32, blocks=1, multipliers=(1, 2), attention=(4,), heads=2
    )
    network = build_network(read, Description(model, DiffusionConfig()), "x")
    assert all(value.dtype == torch.float32 for value in network.state_dict().values())
    torch.testing.assert_close(network.out[2].weight.data, weights["out.2.weight"].float())


def test_the_original_s_script_is_understood_too(tmp_path: Path) -> None:
    document = {
        "unet": {"image_size": 8, "num_channels": 32, "num_res_blocks": 1, "num_heads": 2,
                 "attention_resolutions": "4", "use_checkpoint": True, "class_cond": False,
                 "channel_mult": [1, 2]},
        "diffusion": {"steps": 100, "noise_schedule": "linear", "timestep_respacing": "vlb50",
                      "learn_sigma": True, "sigma_small": False, "predict_xstart": False},
    }  # fmt: skip
    path = described(tmp_path / "x.json", document)
    description = described_by_file(path, small_weights(), "x")
    assert description.architecture == SMALL
    assert description.diffusion.respacing == ""


def test_the_image_size_follows_from_what_is_known(shared: Path) -> None:
    record = json.loads((shared / "golden" / "diffusion-bb" / "trained_m16.json").read_text())
    grey = {"multipliers": (1, 1), "in_channels": 1}
    assert image_size_of(grey, record) == 16
    assert image_size_of(grey, record | {"initial_len": 115_201}) == 16
    assert image_size_of(grey, record | {"initial_len": 100_000}) is None
    assert image_size_of(grey, {}) is None
    assert image_size_of(grey, {"initial_len": "x", "T": 1, "batch": 1}) is None
    colours = record | {"initial_len": 16 * 3 * 8 * 8 * 50 * 18 // 32}
    assert image_size_of(grey | {"in_channels": 3}, colours) == 8
    assert image_size_of({"multipliers": (1, 2, 3, 4), "in_channels": 3}, {}) == 64


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "no JSON object"),
        ({"unet": 3}, "'unet' is no JSON object"),
        ({"unet": {"image_size": 8}}, "lacks unet.num_heads, diffusion.steps, diffusion.noise_sc"),
        ({"unet": {"num_heads": 2}}, "says no image_size"),
        ({**FULL, "unet": {"num_heads": 2, "image_size": "8"}}, "image_size is '8'"),
        ({**FULL, "unet": {"num_heads": "many", "image_size": 8}}, "heads: input should be"),
        ({**FULL, "diffusion": {"steps": 10, "noise_schedule": "wavy"}}, "noise_schedule: input"),
    ],
)
def test_descriptions_that_do_not_do_are_refused(
    tmp_path: Path, document: Any, reason: str
) -> None:
    path = described(tmp_path / "x.json", document)
    with pytest.raises(NcError, match=reason):
        described_by_file(path, small_weights(), "x")


def test_a_description_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        described_by_file(tmp_path / "x.json", small_weights(), "x")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        described_by_file(tmp_path / "x.json", small_weights(), "x")


def without_a_key(weights: dict[str, Any]) -> None:
    del weights["middle_block.1.qkv.weight"]


def with_another_key(weights: dict[str, Any]) -> None:
    weights["ema.decay"] = torch.ones(1)


def with_another_shape(weights: dict[str, Any]) -> None:
    weights["out.0.bias"] = torch.ones(3)


def with_nan(weights: dict[str, Any]) -> None:
    weights["time_embed.0.bias"][7] = torch.nan


def with_prefixes(weights: dict[str, Any]) -> None:
    for key in list(weights):
        weights[f"module.{key}"] = weights.pop(key)


def wrapped(weights: dict[str, Any]) -> None:
    weights["state"] = {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_a_key, r"lacks 'middle_block\.1\.qkv\.weight'\n1 of 128 "),
        (with_another_key, r"has an unknown 'ema\.decay'\n1 of"),
        (with_another_shape, r"'out\.0\.bias' has the shape \(3,\), not \(32,\)\n1 of"),
        (with_nan, r"not finite in time_embed\.0\.bias"),
        (with_prefixes, "not a checkpoint of a diffusion model"),
        (wrapped, "not a state_dict"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    weights: dict[str, Any] = small_weights()
    change(weights)
    path = saved(tmp_path / "x.pt", weights)
    config = described(tmp_path / "x.json", FULL)
    out = tmp_path / "out.safetensors"
    with pytest.raises(DataError, match=reason) as refused:
        run(import_checkpoint, path, "--config", config, "-o", out)
    assert str(path) in refused.value.message
    assert not out.exists()


class Malicious:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("code of a pickle ran",))


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps(Malicious())])
def test_other_files_are_refused_and_run_no_code(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match="read safely"):
        run(import_checkpoint, path, "-o", tmp_path / "out.safetensors")
    path.rename(tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="not a whole safetensors file"):
        run(import_checkpoint, tmp_path / "x.safetensors", "-o", tmp_path / "out.safetensors")


@pytest.mark.parametrize("name", ["malicious_pickle.pt", "malicious_zip.pt", "nan_inf.npz"])
def test_hostile_files_are_refused(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=name):
        run(import_checkpoint, shared / "data" / "broken" / name, "-o", "out.safetensors")
    assert not list(tmp_path.rglob("PWNED"))


def test_what_no_tensor_tells_must_be_said(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pt", small_weights())
    out = tmp_path / "out.safetensors"
    with pytest.raises(UsageError, match="3 channels, width 32 times 1,2, 1 blocks") as refused:
        run(import_checkpoint, path, "-o", out)
    assert "--recipe NAME or --config FILE.json" in str(refused.value.hint)
    for options in (["--recipe", "tiny", "--config", "x.json"], ["--image-size", "8"]):
        with pytest.raises(UsageError):
            run(import_checkpoint, path, "-o", out, *options)


def test_a_recipe_with_changes_says_it_too(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pt", small_weights())
    np.save(tmp_path / "x.npy", made_up_images((3, 8, 8)))
    changes = ["channels=3", "multipliers=[1,2]", "heads=2"]
    options = [word for change in changes for word in ("--set", f"model.{change}")]
    out = tmp_path / "out.safetensors"
    data = f"npy:{tmp_path / 'x.npy'}"
    result = run(
        import_checkpoint, path, "--recipe", "tiny", *options, "-o", out, "--dataset", data
    )
    assert result.exit_code == 0, result.output
    assert not result.stderr
    assert read_model_file(out).info["calibrated_on"] == "npy:x.npy"
    assert float_model(read_model_file(out))[0].architecture == SMALL
    with pytest.raises(DataError, match="file exists"):
        run(import_checkpoint, path, "--recipe", "tiny", *options, "-o", out)


def test_class_conditional_models_are_imported_for_training(tmp_path: Path) -> None:
    shape = Architecture(8, 3, 32, 6, 1, (), (1,), 1, classes=10)
    path = saved(tmp_path / "x.pt", small_weights(shape))
    config = described(tmp_path / "x.json", FULL | {"unet": {"num_heads": 1, "image_size": 8}})
    out = tmp_path / "out.safetensors"
    result = run(import_checkpoint, path, "--config", config, "-o", out)
    assert result.exit_code == 0, result.output
    assert "10 classes" in result.stdout
    assert float_model(read_model_file(out))[0].architecture == shape


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_model_goes_back_to_the_original_s_names(tmp_path: Path, suffix: str) -> None:
    weights = small_weights()
    path = saved(tmp_path / "x.pt", weights)
    config = described(tmp_path / "x.json", FULL)
    model, back = tmp_path / "model.safetensors", tmp_path / f"back{suffix}"
    run(import_checkpoint, path, "--config", config, "-o", model)
    result = run(export_checkpoint, model, "-o", back)
    assert result.exit_code == 0, result.output
    read = torch.load(back, weights_only=True) if suffix == ".pt" else load_file(back)
    assert sorted(read) == sorted(weights)
    assert all(torch.equal(read[key], weights[key]) for key in weights)
    if suffix == ".pt":
        assert list(read) == list(weights)
    with pytest.raises(DataError, match="file exists"):
        run(export_checkpoint, model, "-o", back)
    with pytest.raises(UsageError, match=r"ends in \.pt or \.safetensors"):
        run(export_checkpoint, model, "-o", tmp_path / "back.bin")


def test_grey_models_are_calibrated_on_digits(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NC_DATA", str(shared / "data"))
    for size in (8, 16, 28, 32):
        found = usual_images(ModelConfig(channels=1, image_size=size))
        assert found is not None
        assert (found[0], found[1].shape) == ("mnist:train", (32, 1, size, size))
    assert usual_images(ModelConfig()) is None  # CIFAR-10 is not prepared there


def test_made_up_images_are_smooth_and_differ() -> None:
    images = made_up_images((3, 16, 16)).astype(np.float64)
    assert images.shape == (32, 3, 16, 16)
    steps = np.abs(np.diff(images, axis=3)).mean()
    assert 1 < steps < images.std() / 2
    assert len(np.unique(images.mean(axis=(1, 2, 3)))) == 32

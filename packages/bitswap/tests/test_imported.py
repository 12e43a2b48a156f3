"""Commands around the original: its checkpoints, datasets, photographs and compressed file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from nc_bitswap import plugin
from nc_bitswap.discretization import top_centres, top_edges, uniform_edges
from nc_bitswap.photographs import split_photographs
from nc_cli.app import root
from nc_cli.session import Session
from nc_core.datasets.idx import read_idx
from nc_core.errors import ExitCode, NcError
from nc_core.plugins import PluginManager
from nc_core.specs import ModelSpec


def nc(*arguments: object) -> Result:
    plugins = PluginManager()
    plugins.discover({"NC_PLUGINS": "core"})
    if not any(spec.name == "bitswap" for spec in plugins.specs(ModelSpec)):
        plugins.register(plugin, distribution="nc-bitswap")
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(root, words, obj=Session(plugins), catch_exceptions=False)


def run(*arguments: object) -> Result:
    return nc("run", "bitswap", *arguments)


def lines(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def save_bins(folder: Path, ends: Sequence[tuple[Any, Any]], bits: int) -> tuple[Path, Path]:
    """Bins of equal width between ends, in the original's two files."""
    dims = len(ends[0][0])
    levels: list[Any] = [uniform_edges(low, high, bits) for low, high in ends]
    levels.append(tuple(np.tile(top(bits), (dims, 1)) for top in (top_edges, top_centres)))
    paths = folder / "nz_zendpoints.pt", folder / "nz_zcentres.pt"
    for path, tables in zip(paths, zip(*levels, strict=True), strict=True):
        torch.save(torch.from_numpy(np.stack(tables).astype(np.float64)), path)
    return paths


def rate_of(model: Path, images: NDArray[np.uint8], order: str, folder: Path) -> float:
    """Bits per dimension of a file, without header and initial bits; the images come back."""
    data, packed, out = folder / "images.npy", folder / "images.ncz", folder / "restored"
    np.save(data, images)
    arguments = ["--dataset", f"npy:{data}?layout=chw", "--model", model, "--order", order]
    rate = json.loads(lines(run("compress", *arguments, "-o", packed, "--force", "--json")))
    (restored,) = lines(run("decompress", packed, "-o", out, "--force")).split()
    np.testing.assert_array_equal(np.load(restored), images)
    return float(rate["bits_per_dim_marginal"])


def test_an_imported_model_of_digits_has_the_original_s_rate(shared: Path, tmp_path: Path) -> None:
    folder = shared / "golden" / "bitswap"
    measured = json.loads((folder / "measured.json").read_text())["tiny_mnist_coding"]
    arrays = np.load(folder / "encode_run_mnist_nz2.npz")
    digits = read_idx(shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz", 3)
    chosen = np.random.RandomState(100).choice(10_000, (100, 100), replace=False)[0]
    images = np.pad(digits[chosen], ((0, 0), (2, 2), (2, 2)))[:, None]
    np.save(tmp_path / "train.npy", images)
    bins = save_bins(tmp_path, [(arrays["bins_lo0"], arrays["bins_hi0"])], 10)
    model = tmp_path / "mnist.safetensors"
    told = lines(
        run("import-checkpoint", folder / "encode_run_mnist_nz2.model.safetensors", "-o", model,
            "--dataset", f"npy:{tmp_path / 'train.npy'}?layout=chw", "--bins", *bins)
    )  # fmt: skip
    assert "MNIST, nz 2, width 16, zchannels 1, nprocessing 1, blocks 2, 49,060 param" in told
    for order, name in (("bit-swap", "q10_bs1"), ("bb-ans", "q10_bs0")):
        found = rate_of(model, images, order, tmp_path)
        assert found == pytest.approx(measured[name]["net_mean"], abs=0.005)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cifar_nz2", "CIFAR-10 or ImageNet 32x32, nz 2, width 8, zchannels 2"),
        ("imagenetcrop_nz4", "ImageNet crop, nz 4, width 6, zchannels 2"),
    ],
)
def test_imported_models_of_colour_images_have_the_original_s_rate(
    shared: Path, tmp_path: Path, name: str, kind: str
) -> None:
    folder = shared / "golden" / "bitswap"
    images = np.load(folder / f"model_{name}.npz")["warm_x"]
    elbo = json.loads((folder / f"model_{name}.json").read_text())["warmup_scalars"]["elbo/train"]
    np.save(tmp_path / "train.npy", images)
    model = tmp_path / "colour.safetensors"
    ends = (np.full(512, -10.0), np.full(512, 10.0))
    bins = save_bins(tmp_path, [ends] * (int(name[-1]) - 1), 8)
    told = lines(
        run("import-checkpoint", folder / f"model_{name}.warm.safetensors", "-o", model,
            "--bins", *bins, "--dataset", f"npy:{tmp_path / 'train.npy'}?layout=chw")
    )  # fmt: skip
    assert kind in told
    assert rate_of(model, images, "bit-swap", tmp_path) == pytest.approx(elbo, abs=0.005)


def test_a_checkpoint_of_bb_ans_is_recognised(shared: Path, tmp_path: Path) -> None:
    checkpoint = shared / "golden" / "bitswap" / "bbans_binary_20.safetensors"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 2, (40, 28, 28), np.uint8))
    arguments = ["import-checkpoint", checkpoint, "-o", tmp_path / "bb.safetensors",
                 "--dataset", f"npy:{tmp_path / 'x.npy'}"]  # fmt: skip
    document = json.loads(lines(run(*arguments, "--json")))
    assert document["family"] == "bbans"
    assert document["kind"] == "a bernoulli VAE of BB-ANS, 20 latents, hidden 100"
    refused = run(*arguments, "--force", "--padding", "edge")
    assert refused.exit_code == ExitCode.USAGE
    assert "neither bin files nor padding" in refused.stderr


def test_what_cannot_be_imported_is_said(shared: Path, tmp_path: Path) -> None:
    crop = shared / "golden" / "bitswap" / "model_imagenetcrop_nz4.warm.safetensors"
    out = tmp_path / "x.safetensors"
    missing = run("import-checkpoint", tmp_path / "nz2", "-o", out)
    assert missing.exit_code == ExitCode.DATA
    unknown_data = run("import-checkpoint", crop, "-o", out)
    assert unknown_data.exit_code == ExitCode.USAGE
    assert "--dataset crops:/photos/train" in unknown_data.stderr
    both = run("import-checkpoint", crop, "-o", out, "--bins", crop, crop, "--bits", 8)
    assert both.exit_code == ExitCode.USAGE
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other")
    other = run("import-checkpoint", tmp_path / "other", "-o", out)
    assert other.exit_code == ExitCode.DATA
    assert "it holds weight; those of Bit-Swap have 'infer_in.1.v'" in other.stderr
    assert not out.exists()


def test_official_files_are_prepared(shared: Path, own_data: Path) -> None:
    told = lines(run("prepare", "mnist", "--from", shared / "data" / "mnist"))
    assert "as 'nc data prepare mnist --from" in told
    assert (own_data / "mnist" / "t10k-images-idx3-ubyte.gz").exists()
    fewer = run("prepare", "cifar10", "--from", shared / "data" / "cifar10-format-standin")
    assert lines(fewer).startswith("cifar10 is ready")
    assert "cifar10: 1,000 train images, officially 50,000" in fewer.stderr
    assert len(list((own_data / "cifar10").glob("*.npy"))) == 4


def photographs(folder: Path, count: int = 6) -> Path:
    folder.mkdir()
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 60, (40 + index, 70, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_photographs_are_split_and_cropped(tmp_path: Path, own_data: Path) -> None:
    folder = photographs(tmp_path / "photos")
    arguments = ["prepare", "imagenet-crops", "--from", folder]
    told = lines(run(*arguments, "--test", 2))
    assert "4 photographs to train on, 2 to test" in told
    found = {
        split: {path.name for path in (own_data / "imagenet-crops" / split).iterdir()}
        for split in ("train", "test")
    }
    assert found["train"] | found["test"] == {f"{index}.png" for index in range(6)}
    assert not found["train"] & found["test"]
    shown = json.loads(lines(nc("eval", "rate", "--model", "predictive", "--json", "--dataset",
                                f"crops:{own_data / 'imagenet-crops' / 'train'}")))  # fmt: skip
    assert {record["name"]: record["value"] for record in shown}["items"] == 4
    assert run(*arguments, "--test", 2).exit_code == ExitCode.DATA
    assert "5,000 cannot be set aside" in run(*arguments, "--force").stderr
    assert run("prepare", "imagenet-crops").exit_code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["split", "old"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_split_that_is_not_replaced_after_all_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException
) -> None:
    folder, target = photographs(tmp_path / "photos"), tmp_path / "made" / name
    split_photographs(folder, target, test=2, seed=0)

    def fail(staging: Path, names: Sequence[str]) -> None:
        raise failure

    with monkeypatch.context() as patch, pytest.raises((NcError, KeyboardInterrupt)):
        patch.setattr("nc_bitswap.photographs.publish", fail)
        split_photographs(folder, target, test=3, seed=0, force=True)
    assert len(list((target / "test").iterdir())) == 2
    split_photographs(folder, target, test=3, seed=0, force=True)
    assert len(list((target / "test").iterdir())) == 3
    assert [path.name for path in target.parent.iterdir()] == [name]


@pytest.fixture
def crop_model(shared: Path, tmp_path: Path) -> Path:
    checkpoint = shared / "golden" / "bitswap" / "model_imagenetcrop_nz4.warm.safetensors"
    model, folder = tmp_path / "crop.safetensors", photographs(tmp_path / "train")
    lines(run("import-checkpoint", checkpoint, "-o", model, "--bits", 4,
              "--dataset", f"crops:{folder}"))  # fmt: skip
    return model


def test_whole_photographs_are_coded_beside_classical_codecs(
    crop_model: Path, tmp_path: Path
) -> None:
    folder = photographs(tmp_path / "photos", 2)
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "grey.png")
    Image.fromarray(np.zeros((20, 64, 3), np.uint8)).save(folder / "low.png")
    document = json.loads(lines(run("benchmark-images", folder, "--model", crop_model, "--json")))
    assert document["images"] == 2
    assert {(one["height"], one["width"]) for one in document["photographs"]} == {(32, 64)}
    means = document["means_bits_per_dim"]
    assert {"gzip", "bzip2", "xz", "png", "webp", "bb-ans file"} < set(means)
    assert means["bit-swap bound"] < means["bit-swap payload"] < means["bit-swap file"]
    assert means["bit-swap payload"] < means["bb-ans payload"]
    for one in document["photographs"]:
        assert one["models"]["bit-swap"]["dims"] == 2 * 3072
        assert one["models"]["bit-swap"]["verified"]
    empty = run("benchmark-images", tmp_path / "nowhere", "--model", crop_model)
    assert empty.exit_code == ExitCode.DATA


def test_files_of_the_demo_are_made_and_read(crop_model: Path, tmp_path: Path) -> None:
    image = photographs(tmp_path / "photos", 1) / "0.png"
    told = lines(run("legacy", "pack", image, "--model", crop_model))
    file, out = image.with_name("0_bitswap.npy"), tmp_path / "out.png"
    assert f"{file}: 64x32 pixels in 2 blocks" in told
    lines(run("legacy", "unpack", file, "-o", out, "--model", crop_model))
    with Image.open(image) as before, Image.open(out) as after:
        np.testing.assert_array_equal(np.asarray(before)[:32, :64], np.asarray(after))
    words = np.load(file)
    words[7] ^= 1
    np.save(file, words)
    damaged = run("legacy", "unpack", file, "-o", out, "--model", crop_model, "--force")
    assert damaged.exit_code == ExitCode.CORRUPT
    assert run("legacy", "pack", image, "--model", crop_model).exit_code == ExitCode.DATA
    other = run("legacy", "unpack", file, "-o", tmp_path / "y.png", "--model", "bitswap-photo")
    assert "is no Bit-Swap model" in other.stderr

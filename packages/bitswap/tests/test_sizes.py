"""Sizes that no model has are refused in one line, in model files, checkpoints and settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from nc_bitswap import release as bitswap
from nc_bitswap.bbans import importers as bbans_importers
from nc_bitswap.bbans import release as bbans
from nc_bitswap.console import print_json
from nc_bitswap.families import load_recipe
from nc_bitswap.importers import architecture_of, model_of
from nc_bitswap.photo import release as photo
from nc_core.errors import DataError, UsageError
from nc_core.model_file import ModelFile
from nc_core.models import find_model_file, installed

FAMILIES = {"bitswap-mnist": bitswap, "bitswap-photo": photo, "bbans-mnist": bbans}
RECIPES = {
    "bitswap-mnist": "mnist-nz2-tiny",
    "bitswap-photo": "photo",
    "bbans-mnist": "bbans-mnist",
}
SIZES = {
    "bitswap-mnist": (
        "channels", "height", "width", "levels", "latent_channels", "hidden", "processing",
        "blocks", "kernel_size",
    ),
    "bitswap-photo": ("blocks", "hidden", "mixtures", "base_width", "latents"),
    "bbans-mnist": ("height", "width", "hidden", "latents"),
}  # fmt: skip
EVERY_SIZE = [(model, size) for model, sizes in SIZES.items() for size in sizes]


def claiming(model: str, **sizes: Any) -> tuple[ModuleType, ModelFile]:
    """A shipped model whose file claims other sizes, and the module that reads it."""
    file = find_model_file(model, installed())[1]
    architecture = {**file.config["architecture"], **sizes}
    return FAMILIES[model], replace(file, config={**file.config, "architecture": architecture})


def refusals(model: str, **sizes: Any) -> list[str]:
    """What both readers of a file say; each must refuse it in one line that names it."""
    module, file = claiming(model, **sizes)
    readers: list[Callable[[ModelFile], Any]] = [module.load, module.float_model]
    messages = []
    for reader in readers:
        with pytest.raises(DataError) as caught:
            reader(file)
        messages.append(caught.value.message)
        assert messages[-1].startswith(f"model '{model}': not a model of family")
        assert "\n" not in messages[-1] and len(messages[-1]) < 200
    return messages


@pytest.mark.parametrize(("model", "size"), EVERY_SIZE)
@pytest.mark.parametrize("value", [-1, 10**9, 10**4000, True, 2.0, "2", None, [2], {}])
def test_files_that_claim_impossible_sizes_are_refused(model: str, size: str, value: Any) -> None:
    for message in refusals(model, **{size: value}):
        assert f"{size} is " in message and "not a whole number from" in message


@pytest.mark.parametrize(
    ("model", "size"), [pair for pair in EVERY_SIZE if pair[1] not in ("blocks", "processing")]
)
def test_nothing_is_no_size(model: str, size: str) -> None:
    assert all(f"{size} is 0, not" in message for message in refusals(model, **{size: 0}))


@pytest.mark.parametrize(
    ("model", "sizes", "reason"),
    [
        ("bitswap-mnist", {"height": 31}, "31 x 32 pixels have an odd side"),
        ("bitswap-mnist", {"kernel_size": 4}, "kernel_size is 4, not odd"),
        ("bitswap-mnist", {"conditional_scale": 1}, "conditional_scale is 1, not true or false"),
        ("bitswap-photo", {"widths": [48, 10**7]}, "widths is 10,000,000, not a whole number"),
        ("bitswap-photo", {"widths": []}, "0 lattices, not 1 to 6"),
        ("bitswap-photo", {"widths": [2] * 10**6}, "1000000 lattices, not 1 to 6"),
        ("bitswap-photo", {"widths": "48"}, "widths is '4', not a whole number"),
        ("bbans-mnist", {"likelihood": "poisson"}, "no likelihood 'poisson'"),
    ],
)
def test_other_mistakes_are_named(model: str, sizes: dict[str, Any], reason: str) -> None:
    assert all(reason in message for message in refusals(model, **sizes))


@pytest.mark.parametrize("model", FAMILIES)
def test_unknown_and_missing_sizes_are_refused(model: str) -> None:
    refusals(model, colour=3)
    module, file = claiming(model)
    architectures: list[Any] = [{}, [], None, 7]
    for architecture in architectures:
        with pytest.raises(DataError, match=f"^model '{model}': "):
            module.load(replace(file, config={**file.config, "architecture": architecture}))


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("bitswap-mnist", {"hidden": 1 << 14, "latent_channels": 1 << 14}),
        ("bitswap-mnist", {"levels": 64, "blocks": 256, "hidden": 1 << 14}),
        ("bitswap-photo", {"widths": [1 << 14] * 3, "base_width": 1 << 14}),
        ("bbans-mnist", {"height": 4096, "width": 4096, "hidden": 1 << 14}),
    ],
)
def test_networks_larger_than_their_file_take_no_memory(model: str, sizes: dict[str, Any]) -> None:
    module, file = claiming(model, **sizes)  # terabytes, some of them
    with pytest.raises(DataError, match=f"^model '{model}': "):
        module.load(file)
    weights = {"float/x": np.zeros(1, np.float32)}
    with pytest.raises(DataError, match="its real-valued weights do not fit it"):
        module.float_model(replace(file, _tensors=weights))


@pytest.mark.parametrize(("model", "size"), EVERY_SIZE)
def test_settings_have_the_same_limits(model: str, size: str) -> None:
    for value in (-1, 10**9):
        with pytest.raises(UsageError, match=rf"model\.{size}"):
            load_recipe(RECIPES[model], [f"model.{size}={value}"])


def test_checkpoints_that_claim_large_networks_take_no_memory() -> None:
    layers = range(200)  # of a gigabyte each, but for their tensors
    weights = {
        "infer_in.1.v": torch.zeros(1 << 14, 4, 5, 5),
        "infer_mu.v": torch.zeros(1, 1, 3, 3),
        "gen_std": torch.zeros(1, 32, 32),
        **{f"infer_res1.0.res16384layer{n}.conv1.v": torch.zeros(1) for n in layers},
    }
    with pytest.raises(DataError, match=r"^x\.pt: taken for .* blocks 200, it lacks"):
        model_of(weights, "x.pt")


def test_checkpoints_without_channels_are_refused() -> None:
    weights = {
        "infer_in.1.v": torch.zeros(0, 4, 5, 5),
        "infer_mu.v": torch.zeros(1, 0, 3, 3),
        "gen_std": torch.zeros(1, 32, 32),
    }
    with pytest.raises(DataError, match=r"x\.pt: not a checkpoint of Bit-Swap: hidden is 0"):
        architecture_of(weights, "x.pt")
    shapes = {"fc1": (0, 36), "fc21": (3, 0), "fc22": (3, 0), "fc3": (0, 3), "fc4": (36, 0)}
    layers = {f"{name}.weight": torch.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(DataError, match="a VAE of BB-ANS, but hidden is 0"):
        bbans_importers.recognise(layers)


def test_json_holds_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"deviation": float("nan"), "rate": np.float64(1.5)}])

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    printed = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert printed == [{"deviation": None, "rate": 1.5}]

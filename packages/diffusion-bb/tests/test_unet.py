"""The network against the original's shapes and numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from golden_fill import fill, fill_weights, normal_like
from nc_diffusion_bb.unet import Architecture, UNet

PUBLISHED = {"cifar10_vlb": (32, (1, 2, 2, 2)), "imagenet64_vlb": (64, (1, 2, 3, 4))}


def golden(shared: Path) -> Path:
    return shared / "golden" / "diffusion-bb"


def architecture(settings: Mapping[str, Any], image_size: int) -> Architecture:
    return Architecture(
        image_size=image_size,
        in_channels=settings["in_channels"],
        width=settings["model_channels"],
        out_channels=settings["out_channels"],
        blocks=settings["num_res_blocks"],
        attention_factors=tuple(settings["attention_resolutions"]),
        multipliers=tuple(settings["channel_mult"]),
        heads=settings["num_heads"],
        heads_upsample=settings.get("num_heads_upsample", -1),
        scale_shift=settings["use_scale_shift_norm"],
        classes=settings.get("num_classes"),
    )


def published(name: str) -> Architecture:
    size, multipliers = PUBLISHED[name]
    return Architecture(
        image_size=size, multipliers=multipliers, attention_factors=(size // 16, size // 8)
    )


def filled(shared: Path, name: str) -> tuple[UNet, dict[str, Tensor], dict[str, Any]]:
    document = json.loads((golden(shared) / "unet_io.json").read_text())[name]
    arrays = np.load(golden(shared) / "unet_io.npz")
    if name in PUBLISHED:
        shape = published(name)
    else:
        shape = architecture(document["config"]["unet"], document["config"]["size"])
    network = UNet(shape).eval()
    fill_weights(network, document["fill_tag"])
    tensors = {
        key.removeprefix(f"{name}."): torch.from_numpy(arrays[key])
        for key in arrays.files
        if key.startswith(f"{name}.")
    }
    return network, tensors, document


def test_the_filling_rule_gives_its_first_values() -> None:
    expected = [-0.06763911, 0.07720727, -0.27449411, 0.07371348]
    np.testing.assert_allclose(fill("x", 4), expected, atol=5e-9)


@pytest.mark.parametrize("name", ["A", "B", *PUBLISHED])
def test_outputs_are_the_original_ones(shared: Path, name: str) -> None:
    network, tensors, document = filled(shared, name)
    state = network.state_dict()
    for key, sums in document["param_checks"].items():
        parameter = state[key].double()
        assert [parameter.sum().item(), parameter.abs().sum().item()] == pytest.approx(sums)
    assert sum(parameter.numel() for parameter in network.parameters()) == document["n_params"]
    assert torch.equal(normal_like(f"{document['fill_tag']}/x", tensors["x"].shape), tensors["x"])
    with torch.inference_mode():
        embedding = network.timestep_embedding(tensors["t"])
        torch.testing.assert_close(embedding, tensors["temb"], rtol=0, atol=1e-4)
        hidden = network.time_embed(embedding)
        torch.testing.assert_close(hidden, tensors["emb"], rtol=0, atol=1e-4)
        outputs = network(tensors["x"], tensors["t"], tensors.get("y"))
    torch.testing.assert_close(outputs, tensors["out"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_checkpoints_have_our_names_in_our_order(shared: Path, name: str) -> None:
    tables = json.loads((golden(shared) / "state_dict_shapes.json").read_text())
    with torch.device("meta"):
        state = UNet(published(name)).state_dict()
    shapes = {key: list(tensor.shape) for key, tensor in state.items()}
    expected = tables[name]["shapes"]
    assert list(shapes.items()) == list(expected.items())


def test_a_torso_in_half_precision_stays_close_to_the_original_one(shared: Path) -> None:
    network, tensors, _ = filled(shared, "A")
    expected = torch.from_numpy(np.load(golden(shared) / "unet_fp16.npz")["out"])
    network.convert_torso(torch.float16)
    kinds = {key: tensor.dtype for key, tensor in network.state_dict().items()}
    assert kinds["middle_block.1.qkv.weight"] == torch.float16
    assert kinds["middle_block.1.norm.weight"] == kinds["out.2.weight"] == torch.float32
    with torch.inference_mode():
        outputs = network(tensors["x"], tensors["t"])
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-2)
    network.convert_torso(torch.bfloat16)
    with torch.inference_mode():
        outputs = network(tensors["x"], tensors["t"])
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0.1)


def test_one_time_for_all_images_is_the_same_as_one_for_each(shared: Path) -> None:
    for name in ("A", "B"):
        network, tensors, _ = filled(shared, name)
        x, y = tensors["x"], tensors.get("y")
        with torch.inference_mode():
            once = network(x, torch.tensor([3.25]), y)
            each = network(x, torch.tensor([3.25, 3.25]), y)
            inputs = x.contiguous(memory_format=torch.channels_last)
            channels_last = network(inputs, torch.tensor([3.25]), y)
        torch.testing.assert_close(once, each, rtol=0, atol=1e-5)
        torch.testing.assert_close(channels_last, each, rtol=0, atol=1e-5)


def test_gradient_checkpointing_changes_no_gradient(shared: Path) -> None:
    network, tensors, _ = filled(shared, "A")
    saving = UNet(network.architecture, gradient_checkpointing=True).eval()
    saving.load_state_dict(network.state_dict())
    for model in (network, saving):
        torch.autograd.backward(model(tensors["x"], tensors["t"]).square().mean())
    for plain, recomputed in zip(network.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(plain.grad, recomputed.grad)


def test_a_new_network_says_nothing_yet() -> None:
    network = UNet(small())
    assert not network(torch.rand(1, 1, 8, 8), torch.tensor([5.0])).any()


def test_resolutions_can_change_without_convolutions() -> None:
    network = UNet(small(resample_convolution=False))
    assert not any(".op." in key or ".conv." in key for key in network.state_dict())
    assert network(torch.rand(2, 1, 8, 8), torch.tensor([5.0])).shape == (2, 2, 8, 8)


def test_classes_are_given_exactly_to_networks_that_have_some() -> None:
    x, t, y = torch.rand(2, 1, 8, 8), torch.tensor([5.0]), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="takes no classes"):
        UNet(small())(x, t, y)
    conditional = UNet(small(classes=2))
    with pytest.raises(ValueError, match="needs classes"):
        conditional(x, t)
    assert conditional(x, t, y).shape == (2, 2, 8, 8)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 48}, "width is 48, not a multiple of 32"),
        ({"image_size": 9}, "image_size is 9, not a multiple of 2"),
        ({"image_size": 0}, "image_size is 0"),
        ({"out_channels": 3}, "out_channels is 3, not 1 or, with learned variances, 2"),
        ({"attention_factors": (4,)}, "attention at factor 4"),
        ({"image_size": 256}, "attention at factor 2 is over 16,384 positions, more than 4,096"),
        ({"image_size": 256, "attention_factors": ()}, "attention at factor 2 is over 16,384"),
        ({"heads": 3}, "heads is 3, no divisor"),
        ({"heads_upsample": 0}, "heads_upsample is 0, no divisor"),
        ({"multipliers": ()}, "0 multipliers"),
        ({"multipliers": (1, 0)}, "multipliers is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"classes": 0}, "classes is 0"),
        ({"scale_shift": 1}, "scale_shift is 1"),
    ],
)
def test_shapes_that_no_network_has_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        small(**changes)


def small(**changes: Any) -> Architecture:
    shape = Architecture(
        image_size=8,
        in_channels=1,
        width=32,
        out_channels=2,
        blocks=1,
        attention_factors=(2,),
        multipliers=(1, 2),
        heads=4,
    )
    return replace(shape, **changes)

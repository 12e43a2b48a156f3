"""Lowered networks: the same numbers in every setting, and nearly the float network's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from golden_fill import fill_weights
from golden_trained import golden_trained
from nc_core.errors import DataError, UsageError
from nc_core.exact import ExactLayer, GridTensor
from nc_core.exact.grid import FLOAT32_LIMIT
from nc_core.model_file import ModelFile, read_model_file, write_model_file
from nc_core.testing.torch_settings import onednn, threads
from nc_diffusion_bb import release
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.lowering import lower_unet
from nc_diffusion_bb.unet import Architecture, UNet

DIFFUSION = DiffusionConfig(steps=1000, use_kl=False)
SMALL = Architecture(
    image_size=8,
    in_channels=1,
    width=32,
    out_channels=2,
    blocks=1,
    attention_factors=(2,),
    multipliers=(1, 2),
    heads=4,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


def images(count: int, architecture: Architecture = SMALL) -> NDArray[np.uint8]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, *architecture.image_shape), dtype=np.uint8)


def small(**changes: Any) -> UNet:
    network = UNet(replace(SMALL, **changes)).eval().requires_grad_(False)
    fill_weights(network, "small")
    return network


def inputs(count: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(-(1 << 14), 1 << 14, (count, 1, 8, 8), generator=generator) / (1 << 13)


def values(network: UNet, x: Tensor, t: float = 250.0) -> Tensor:
    result = network(x, torch.tensor([t]))
    assert isinstance(result, GridTensor)
    return result.operand.values.clone()


@pytest.fixture(scope="module")
def lowered() -> UNet:
    return lower_unet(small(), DIFFUSION, images(8))


def test_batches_threads_layouts_and_libraries_change_nothing(lowered: UNet) -> None:
    x = inputs()
    whole = values(lowered, x)
    for batch in (1, 3):
        assert torch.equal(values(lowered, x[:batch]), whole[:batch])
    last = x.to(memory_format=torch.channels_last)
    for count in (1, 2):
        for enabled in (True, False):
            with threads(count), onednn(enabled):
                assert torch.equal(values(lowered, x), whole)
                assert torch.equal(values(lowered, last), whole)


def test_one_time_for_all_images_is_the_same_as_one_for_each(lowered: UNet) -> None:
    x, times = inputs(3), torch.tensor([0.0, 250.0, 999.0])
    each = lowered(x, times).operand.values
    for index, t in enumerate(times.tolist()):
        assert torch.equal(values(lowered, x[index : index + 1], t)[0], each[index])


def test_inputs_far_outside_change_nothing_but_themselves(lowered: UNet) -> None:
    x = inputs(4)
    whole = values(lowered, x)
    wild = x.clone()
    wild[0] *= 1e6
    result = values(lowered, wild)
    assert bool(result.isfinite().all())
    assert torch.equal(result[1:], whole[1:])
    with threads(2):
        assert torch.equal(values(lowered, wild), result)


def test_all_sums_of_layers_stay_below_what_float32_holds(lowered: UNet) -> None:
    layers = [module for module in lowered.modules() if isinstance(module, ExactLayer)]
    assert len(layers) > 30
    assert all((layer.largest_sums() < FLOAT32_LIMIT).all() for layer in layers)


@pytest.mark.parametrize("scale_shift", [True, False])
def test_lowered_networks_come_close_to_float_ones(scale_shift: bool) -> None:
    network = small(scale_shift=scale_shift)
    exact = lower_unet(network, DIFFUSION, images(8))
    expected = network(inputs(), torch.tensor([250.0]))
    error = (values(exact, inputs()) - expected).square().mean().sqrt()
    # Random weights, unlike trained ones, pass errors on in full.
    assert float(error) < 0.03 * float(expected.std())


def test_the_bound_of_a_trained_network_is_kept(shared: Path) -> None:
    model = golden_trained(shared)
    network, digits = model.network.eval().requires_grad_(False), model.arrays["images"]
    exact = lower_unet(network, DIFFUSION, digits[:32])
    process = GaussianDiffusion.of(DIFFUSION, "vlb50")
    x_start = torch.from_numpy(digits[32:64]).float() / 127.5 - 1
    generator = torch.Generator().manual_seed(0)
    bounds = np.zeros(2)
    # Three quarters of the bound are in the first steps, which are the most sensitive ones.
    for step in (0, 1, 2, 4, 8, 25):
        t = torch.tensor([step])
        x = process.q_sample(x_start, t, torch.randn(x_start.shape, generator=generator))
        told = network(x, process.network_time(t)), exact(x, process.network_time(t))
        for index, outputs in enumerate((told[0], told[1].operand.values)):
            term = process.bound_term(outputs, x_start, x, t, clip_denoised=True)
            bounds[index] += float(term.vb.mean())
    assert abs(bounds[1] / bounds[0] - 1) < 0.001


def written(folder: Path, network: UNet, **options: Any) -> ModelFile:
    path = folder / "model.safetensors"
    release.write_model(path, network, DIFFUSION, images(8), **options)
    return read_model_file(path)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return written(tmp_path_factory.mktemp("model"), small(), info={"steps": 1})


def test_a_model_file_holds_the_same_network_twice(model_file: ModelFile, lowered: UNet) -> None:
    file, network = model_file, small()
    assert (file.name, file.family) == ("model", release.FAMILY)
    schedule = file.tensors()["alphas_cumprod"]
    expected = GaussianDiffusion.of(DIFFUSION, "").tables.alphas_cumprod
    assert schedule.dtype == np.float64
    np.testing.assert_array_equal(schedule, expected)
    codec = release.load(file)
    assert torch.equal(values(codec._network, inputs()), values(lowered, inputs()))
    again, diffusion = release.float_model(file)
    assert diffusion == DIFFUSION
    t = torch.tensor([250.0])
    assert torch.equal(again(inputs(), t), network(inputs(), t))


def test_a_model_file_need_not_hold_real_weights(tmp_path: Path) -> None:
    whole = written(tmp_path, small())
    file = write_model_file(tmp_path / "x.safetensors", whole.family, whole.config, whole.tensors())
    assert release.load(file).id == whole.id
    with pytest.raises(DataError, match="holds the integers for coding only"):
        release.float_model(file)


def test_class_conditional_models_are_files_of_real_weights(tmp_path: Path) -> None:
    network = small(classes=3)
    with pytest.raises(UsageError, match="class-conditional"):
        lower_unet(network, DIFFUSION, images(8))
    file = written(tmp_path, network)
    assert not file.extras()
    again, _ = release.float_model(file)
    x, t, y = inputs(2), torch.tensor([5.0]), torch.tensor([0, 2])
    assert torch.equal(again(x, t, y), network(x, t, y))
    with pytest.raises(DataError, match="model 'model': class-conditional"):
        release.load(file)


def test_class_conditional_models_of_other_weights_have_other_ids(tmp_path: Path) -> None:
    network = small(classes=3)
    ids = [written(tmp_path, network).id]
    network.label_emb.weight[2, 0] += 1
    ids += [written(tmp_path, network).id, written(tmp_path, network).id]
    assert ids[0] != ids[1] == ids[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 1024},
        {"width": -32},
        {"blocks": 16, "width": 1024},
        {"blocks": 10**30},
        {"heads": 3},
        {"multipliers": [1, 64]},
        {"multipliers": "x"},
        {"attention_factors": None},
        {"scale_shift": False},
        {"in_channels": 4, "out_channels": 4},
        {"image_size": 1024},
        {"image_size": 1024, "attention_factors": []},
        {"unknown": 1},
    ],
)
def test_sizes_that_a_file_only_claims_are_refused_in_one_line(
    model_file: ModelFile, changes: dict[str, Any]
) -> None:
    file = model_file
    architecture = {**file.config["architecture"], **changes}
    claiming = replace(file, config={**file.config, "architecture": architecture})
    for read in (release.load, release.float_model):
        with pytest.raises(DataError) as caught:
            read(claiming)
        assert caught.value.message.startswith("model 'model': ")
        assert "\n" not in caught.value.message and len(caught.value.message) < 250


@pytest.mark.parametrize(
    "damage", [{"steps": 999}, {"steps": "many"}, {"noise_schedule": "none"}, {"unknown": 1}]
)
def test_a_chain_that_does_not_fit_is_refused(
    model_file: ModelFile, damage: dict[str, Any]
) -> None:
    file = model_file
    config = {**file.config, "diffusion": {**file.config["diffusion"], **damage}}
    with pytest.raises(DataError, match=r"^model 'model': "):
        release.load(replace(file, config=config))

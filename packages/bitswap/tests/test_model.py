"""The model against the original implementation's numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nc_bitswap.distributions import (
    discretized_logistic_log_mass,
    logistic_log_density,
    uniform_to_logistic,
)
from nc_bitswap.layers import (
    ResNetBlock,
    Squeeze,
    Unsqueeze,
    WeightNormConv,
    data_dependent_init,
)
from nc_bitswap.model import Architecture, HierarchicalVAE, layers_per_level

RUNS = ["mnist_nz2", "cifar_nz2", "imagenetcrop_nz4"]


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array))


def golden(shared: Path, run: str) -> tuple[dict[str, Any], Any]:
    folder = shared / "golden" / "bitswap"
    return json.loads((folder / f"model_{run}.json").read_text()), np.load(
        folder / f"model_{run}.npz"
    )


def architecture(document: dict[str, Any]) -> Architecture:
    config = document["config"]
    channels, height, width = config["xs"]
    return Architecture(
        channels=channels,
        height=height,
        width=width,
        levels=config["nz"],
        latent_channels=config["zchannels"],
        hidden=config["reswidth"],
        processing=config["nprocessing"],
        blocks=config["resdepth"],
        kernel_size=config["kernel_size"],
        conditional_scale=document["module"] == "imagenetcrop_train",
    )


def load(shared: Path, run: str, state: str) -> tuple[HierarchicalVAE, dict[str, Any], Any]:
    document, arrays = golden(shared, run)
    model = HierarchicalVAE(architecture(document))
    path = shared / "golden" / "bitswap" / f"model_{run}.{state}.safetensors"
    model.load_state_dict(load_file(path))
    return model.eval(), document, arrays


def noise(arrays: Any, key: str, levels: int) -> list[torch.Tensor]:
    return [tensor(arrays[f"{key}{level}"]) for level in range(levels)]


@pytest.fixture(scope="module")
def layers(shared: Path) -> Any:
    return np.load(shared / "golden" / "bitswap" / "layers_and_distributions.npz")


def test_discretized_log_masses_are_the_original_ones(layers: Any) -> None:
    result = discretized_logistic_log_mass(
        tensor(layers["disc/x"]), tensor(layers["disc/mu"]), tensor(layers["disc/scale"])
    )
    torch.testing.assert_close(result, tensor(layers["disc/logp_nats"]), rtol=1e-4, atol=1e-5)


def test_log_densities_are_the_original_ones(layers: Any) -> None:
    result = logistic_log_density(
        tensor(layers["logistic/z"]),
        tensor(layers["logistic/mu"]),
        tensor(layers["logistic/scale"]),
    )
    torch.testing.assert_close(result, tensor(layers["logistic/logp_nats"]), rtol=1e-5, atol=1e-5)


def test_noise_is_the_original_one(layers: Any) -> None:
    result = uniform_to_logistic(tensor(layers["eps/u"]))
    torch.testing.assert_close(result, tensor(layers["eps/eps_bound1e-5"]), rtol=1e-4, atol=1e-5)


def test_tiny_noise_limits_stay_finite() -> None:
    ends = uniform_to_logistic(torch.tensor([0.0, 1.0]), smallest=1e-30)
    assert bool(torch.isfinite(ends).all())


def test_squeezing_has_the_original_order(layers: Any) -> None:
    inputs, outputs = tensor(layers["squeeze/in"]), tensor(layers["squeeze/out"])
    torch.testing.assert_close(Squeeze()(inputs), outputs)
    torch.testing.assert_close(Unsqueeze()(outputs), inputs)


def test_initialisation_of_a_pair_of_convolutions_is_the_original_one(layers: Any) -> None:
    first = WeightNormConv(3, 4, 3, init_scale=0.7)
    second = WeightNormConv(4, 4, 3, init_scale=0.0, log_gain=False)
    for name, module in (("c", first), ("d", second)):
        keys = ("v", "gain", "b")
        module.load_state_dict({k: tensor(layers[f"wn/{name}_before/{k}"]) for k in keys})
    inputs = tensor(layers["wn/x"])
    torch.testing.assert_close(first(inputs), tensor(layers["wn/c_out_before"]))
    pair = torch.nn.Sequential(first, second)
    with data_dependent_init(pair):
        middle = first(inputs)
        outputs = second(middle)
    torch.testing.assert_close(middle, tensor(layers["wn/c_out_init"]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs, tensor(layers["wn/d_out_init"]), rtol=1e-4, atol=1e-5)
    for name, module in (("c", first), ("d", second)):
        for key, value in module.state_dict().items():
            expected = tensor(layers[f"wn/{name}_after/{key}"])
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_a_residual_block_is_the_original_one(layers: Any) -> None:
    block = ResNetBlock(2, 4, 3)
    block.load_state_dict({key: tensor(layers[f"resblock/{key}"]) for key in block.state_dict()})
    outputs = block(tensor(layers["wn/c_out_init"]))
    torch.testing.assert_close(outputs, tensor(layers["resblock_out"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("run", RUNS)
def test_keys_and_shapes_are_those_of_original_checkpoints(shared: Path, run: str) -> None:
    model, document, _ = load(shared, run, "init")
    assert sorted(dict(model.named_parameters())) == document["param_keys_sorted"]
    first = next(iter(model.state_dict()))
    assert first == ("infer_in.1.v" if model.architecture.conditional_scale else "gen_std")


@pytest.mark.parametrize("run", RUNS)
def test_initialisation_from_a_batch_is_the_original_one(shared: Path, run: str) -> None:
    model, document, arrays = load(shared, run, "init")
    with data_dependent_init(model):
        terms = model(
            tensor(arrays["warm_x"]), noise(arrays, "warm_eps", model.architecture.levels)
        )
    bpd = float(terms.information().mean()) / model.architecture.dims
    assert bpd == pytest.approx(document["warmup_scalars"]["elbo/train"], rel=1e-4)
    warm, _, _ = load(shared, run, "warm")
    for key, value in warm.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("run", RUNS)
def test_terms_of_the_bound_are_the_original_ones(shared: Path, run: str) -> None:
    model, _, arrays = load(shared, run, "warm")
    shape = model.architecture
    with torch.no_grad():
        terms = model(tensor(arrays["x"]), noise(arrays, "eps", shape.levels))
    for level in range(shape.levels):
        expected = tensor(arrays[f"z{level}"])
        torch.testing.assert_close(terms.latents[level], expected, rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            below = terms.latents[level - 1] if level else tensor(arrays["x"])
            pairs = (
                ("q", model.posterior(level + 1, below)),
                ("p", model.likelihood(level, terms.latents[level])),
            )
        for side, (means, scales) in pairs:
            want = tensor(arrays[f"{side}_mu{level}"])
            torch.testing.assert_close(means, want, rtol=1e-4, atol=1e-4)
            want = tensor(arrays[f"{side}_scale{level}"])
            torch.testing.assert_close(scales, want.expand_as(scales), rtol=1e-4, atol=1e-4)
    for ours, name in (
        (terms.reconstruction.mean(), "logrecon"),
        (terms.decoder.mean(0), "logdec"),
        (terms.encoder.mean(0), "logenc"),
    ):
        torch.testing.assert_close(ours, tensor(arrays[name]), rtol=1e-4, atol=1e-3)
    per_image = terms.information() / shape.dims
    np.testing.assert_allclose(per_image, arrays["elbo_bpd_per_image"], rtol=1e-4)
    objective = float(terms.objective(1.0)) / shape.dims
    assert objective == pytest.approx(float(arrays["train_loss_bpd_freebits"]), rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "parameters", "entries"),
    [
        (Architecture(levels=8, hidden=61), 2_601_949, 286),
        (Architecture(levels=4, hidden=62), 2_672_826, 214),
        (Architecture(levels=2, hidden=63), 2_751_939, 178),
        (Architecture(levels=1, hidden=64), 2_835_916, 160),
        (Architecture(3, levels=8, hidden=252, latent_channels=8), 44_645_880, 286),
        (Architecture(3, levels=4, hidden=254, latent_channels=8), 44_906_456, 214),
        (Architecture(3, levels=2, hidden=255, latent_channels=8), 45_036_192, 178),
        (Architecture(3, levels=1, hidden=256, latent_channels=8), 45_277_240, 160),
        (
            Architecture(3, levels=4, hidden=256, latent_channels=8, conditional_scale=True),
            45_636_880,
            216,
        ),
        (Architecture(levels=2, hidden=16, processing=1, blocks=2), 49_060, 70),
    ],
)
def test_published_configurations_have_their_numbers_of_parameters(
    shape: Architecture, parameters: int, entries: int
) -> None:
    with torch.device("meta"):
        model = HierarchicalVAE(shape)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


def test_blocks_are_dealt_to_the_lowest_levels_first() -> None:
    assert layers_per_level(8, 8) == [1] * 8
    assert layers_per_level(3, 2) == [2, 1]
    assert layers_per_level(2, 3) == [1, 1, 0]


def test_samples_and_reconstructions_are_grey_levels_of_the_right_shape() -> None:
    model = HierarchicalVAE(Architecture(3, 8, 8, levels=2, hidden=4, processing=0, blocks=1))
    generator = torch.Generator().manual_seed(0)
    samples = model.sample(2, generator)
    assert samples.shape == (2, 3, 8, 8)
    assert samples.dtype == torch.uint8
    assert model.reconstruct(samples, generator).shape == (2, 3, 8, 8)

"""Recipes: the published models, and the reference experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nc_core.config import load_config, recipe_names
from nc_core.errors import UsageError
from nc_core.network_files import without_memory
from nc_diffusion_bb.config import ModelConfig, TrainConfig
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.networks import architecture_of
from nc_diffusion_bb.unet import UNet

PARAMETERS = {
    "cifar10-vlb": 52_546_438,
    "imagenet64-vlb": 121_063_942,
    "mnist16-hybrid": 317_826,
}


def recipe(name: str, *settings: str) -> TrainConfig:
    return load_config(TrainConfig, name, package="nc_diffusion_bb", settings=settings)


def network(config: TrainConfig) -> UNet:
    shape = architecture_of(config.model, learn_sigma=config.diffusion.learn_sigma)
    return without_memory(lambda: UNet(shape))


@pytest.mark.parametrize("name", recipe_names("nc_diffusion_bb"))
def test_a_recipe_describes_a_model(name: str) -> None:
    config = recipe(name)
    diffusion = GaussianDiffusion.of(config.diffusion, config.evaluation_respacing)
    assert diffusion.original_steps == config.diffusion.steps
    count = sum(tensor.numel() for tensor in network(config).parameters())
    assert PARAMETERS.get(name, count) == count


@pytest.mark.parametrize("name", ["cifar10", "imagenet64"])
def test_published_models_have_the_published_tensors(shared: Path, name: str) -> None:
    golden = shared / "golden" / "diffusion-bb" / "state_dict_shapes.json"
    published = json.loads(golden.read_text())[f"{name}_vlb"]["shapes"]
    found = {
        key: list(tensor.shape)
        for key, tensor in network(recipe(f"{name}-vlb")).state_dict().items()
    }
    assert list(found.items()) == list(published.items())


@pytest.mark.parametrize(("name", "steps"), [("cifar10", 500_000), ("imagenet64", 1_500_000)])
def test_published_models_are_trained_as_published(name: str, steps: int) -> None:
    config = recipe(f"{name}-vlb")
    assert config.training.duration == f"{steps} steps"
    assert config.training.batch_size == 128
    assert config.model.dropout == (0.3 if name == "cifar10" else 0.0)
    assert (config.model.heads, config.model.scale_shift, config.model.classes) == (4, True, None)
    chain = config.diffusion
    assert (chain.steps, chain.noise_schedule, chain.rescale_timesteps) == (4000, "cosine", True)
    assert chain.use_kl and chain.learn_sigma and not chain.predict_xstart
    optimizer = config.optimizer
    assert optimizer.sampler == "loss-second-moment"
    assert (optimizer.learning_rate, optimizer.weight_decay) == (1e-4, 0.0)
    assert (optimizer.ema_rates, optimizer.anneal_steps) == ((0.9999,), 0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"image_size": 48}, "need model.multipliers"),
        ({"attention": (5,)}, "5 does not divide the image size, 32"),
        ({"attention": (2,)}, "attention at factor 16"),
        ({"heads": 3}, "heads is 3"),
    ],
)
def test_impossible_networks_are_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        architecture_of(ModelConfig.model_validate(settings), learn_sigma=True)

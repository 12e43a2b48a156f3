"""Every recipe of the lower bound: the published settings, and a small one beside each."""

from __future__ import annotations

import pytest

from nc_core.config import load_config, recipe_names
from nc_rd_bounds.lower.config import LowerConfig

NAMES = [name for name in recipe_names("nc_rd_bounds") if name.startswith("lower-")]
# Units, k, steps, climbs, learning rate, samples of xi per seed.
PUBLISHED = {
    "lower-gaussian": ((200,) * 3, 1024, 3000, 10, 5e-4, 30),
    "lower-gaussian-4": ((400,) * 3, 1024, 3000, 10, 5e-4, 30),
    "lower-gaussian-8": ((800,) * 3, 1024, 3000, 10, 5e-4, 30),
    "lower-gaussian-16": ((1600,) * 3, 1024, 3000, 10, 5e-4, 30),
    "lower-physics": ((200,) * 3, 2048, 4000, 3, 5e-4, 20),
    "lower-physics-2d": ((200,) * 3, 2048, 4000, 3, 5e-4, 20),
    "lower-speech": ((200,) * 3, 2048, 4000, 3, 5e-4, 20),
    "lower-speech-2d": ((200,) * 3, 2048, 4000, 3, 5e-4, 20),
    "lower-banana": ((200,) * 3, 1024, 4000, 20, 1e-3, 20),
    "lower-banana-4": ((400,) * 3, 1024, 4000, 20, 1e-3, 20),
    "lower-banana-16": ((1000,) * 3, 1024, 4000, 20, 1e-3, 20),
    "lower-banana-100": ((1000,) * 3, 1024, 4000, 20, 1e-3, 20),
    "lower-banana-500": ((1000,) * 3, 1024, 4000, 20, 1e-3, 20),
    "lower-gan-images": ((4, 8, 16, 1024), 2048, 4000, 3, 1e-4, 5),
    "lower-gan-images-4": ((4, 8, 16, 1024), 2048, 4000, 3, 1e-4, 5),
    "lower-demo": ((20, 10), 1024, 400, 3, 5e-4, 10),
}


def recipe(name: str) -> LowerConfig:
    return load_config(LowerConfig, name, package="nc_rd_bounds")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_has_the_published_settings(name: str) -> None:
    config = recipe(name)
    units, k, steps, topn, rate, _ = PUBLISHED[name]
    assert config.network.units == units
    assert (config.training.batch_size, config.training.duration) == (k, steps)
    assert (config.climb.topn, config.climb.start, config.climb.steps) == (topn, "quick", 1000)
    assert (config.climb.lr, config.climb.tol) == (1e-2, 1e-6)
    assert (config.learning_rate, config.beta, config.minibatches) == (rate, 0.2, 2)
    assert config.evaluation.minibatches == PUBLISHED[name][-1]
    assert not (config.evaluation.temper or config.evaluation.refine or config.standardise)
    assert config.decay == (name not in ("lower-demo", "lower-gan-images", "lower-gan-images-4"))
    assert config.training.clip_norm == 100
    assert config.network.activation == "selu"
    assert config.max_delta == (1e9 if name == "lower-demo" else 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_valid_and_has_a_small_one(name: str) -> None:
    config = recipe(name)
    mine = name.endswith("-small") or name == "lower-vectors"
    assert config.evaluation.temper == mine
    any_scale = mine and name.startswith(("lower-vectors", "lower-physics", "lower-speech"))
    assert config.evaluation.refine == config.standardise == any_scale
    if name.endswith("-small"):
        assert int(config.training.duration) <= 800
        assert config.training.batch_size <= 256
        large = recipe(name.removesuffix("-small"))
        assert large.data == config.data
        assert large.network.kind == config.network.kind
    elif name != "lower-demo":
        assert f"{name}-small" in NAMES


def test_images_anneal_lambda_from_target_to_target() -> None:
    config = recipe("lower-gan-images")
    assert config.anneal is not None
    assert list(config.anneal.targets) == [50, 100, 200, 300, 500, 1000, 2000, 3000, 4000]
    assert (config.anneal.ready, config.network.kernels, config.climb.chunk) == (50, (9, 5, 3), 16)
    assert recipe("lower-image-crops").lamb == 100

"""The contracts that every plugin of nc keeps, and what is this package's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nc_core.config import load_config
from nc_core.datasets.opening import open_dataset
from nc_core.models import load_model
from nc_core.runs import RunDirectory
from nc_core.testing import CommandContract, ModelContract, PluginContract
from nc_my_plugin.config import MyPluginConfig
from nc_my_plugin.train import train

SHAPE = (1, 12, 10)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a model, trained on a few random images."""
    folder = tmp_path_factory.mktemp("my-plugin")
    pixels = np.random.default_rng(0).binomial(20, 0.3, (50, *SHAPE[1:])).astype(np.uint8)
    np.save(folder / "images.npy", pixels)
    config = MyPluginConfig(data=f"npy:{folder / 'images.npy'}")
    with RunDirectory.create(folder / "run", config.to_json()) as directory:
        train(config, directory, open_dataset(config.data))
    return folder / "run"


class TestPlugin(PluginContract):
    name = "nc-my-plugin"


class TestCommand(CommandContract):
    name = "my-plugin"


class TestModel(ModelContract):
    @pytest.fixture(scope="class")
    @classmethod
    def location(cls, run: Path) -> str:
        return str(run)


def test_the_model_has_learnt_what_images_look_like(run: Path) -> None:
    model = load_model(run)
    usual, unusual = np.full((1, *SHAPE), 6, np.uint8), np.full((1, *SHAPE), 200, np.uint8)
    assert model.bits(usual)[0] < 8 * usual.size < model.bits(unusual)[0]


def test_recipes_are_valid() -> None:
    assert load_config(MyPluginConfig, "mnist", package="nc_my_plugin").data == "mnist:train"

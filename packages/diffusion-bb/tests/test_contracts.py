"""This package keeps the contracts."""

from __future__ import annotations

import numpy as np
import pytest

from nc_core.ans import Message, Rans
from nc_core.models import find_model_file, installed
from nc_core.testing import CommandContract, ModelContract, PluginContract
from nc_diffusion_bb.release import load
from tiny_codec import smooth_images, write_tiny_model


class TestPlugin(PluginContract):
    name = "nc-diffusion-bb"


class TestSmallModel(ModelContract):
    """The shipped one, whose images and chains are longer, keeps it too: 'nc plugin check'."""

    @pytest.fixture(scope="class")
    @classmethod
    def location(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        path = tmp_path_factory.mktemp("model") / "small.safetensors"
        return str(write_tiny_model(path, steps=4))


class TestCommands(CommandContract):
    name = "diffusion-bb"


@pytest.mark.parametrize("order", ["bit-swap", "bb-ans"])
def test_the_shipped_model_codes_images(order: str) -> None:
    codec = load(find_model_file("diffusion-mnist", installed())[1])
    codec = codec.with_coding({"respacing": "5", "order": order})
    blocks = np.concatenate([smooth_images(2, side=codec.block.height or 0)] * 2)
    message = Message(codec.lanes, codec.initial_words, seed=0)
    codec.push(Rans(), message, blocks)
    assert np.array_equal(codec.pop(Rans(), message, blocks.shape, blocks.dtype), blocks)
    assert message.is_initial()

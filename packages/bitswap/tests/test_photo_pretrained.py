"""The model of photographs that the package ships."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from nc_bitswap import plugin
from nc_bitswap.photo.codec import PhotoCodec
from nc_bitswap.photo.release import load
from nc_core.ans import Message, Rans
from nc_core.model_file import read_model_file

RESOURCE = "pretrained/bitswap-photo.safetensors"


@pytest.fixture(scope="module")
def codec() -> PhotoCodec:
    return load(read_model_file(Path(str(files("nc_bitswap") / RESOURCE))))


def test_its_id_is_registered(codec: PhotoCodec) -> None:
    members = [member for family in plugin.nc_models() for member in family.pretrained]
    assert codec.id in {member.id for member in members if member.name == "bitswap-photo"}


def test_a_photograph_is_smaller_than_its_png_and_costs_its_bound(
    codec: PhotoCodec, shared: Path
) -> None:
    from PIL import Image

    path = min((shared / "data" / "kodak").glob("*.png"))
    with Image.open(path) as image:
        crop = image.convert("RGB").crop((200, 100, 200 + 191, 100 + 129))
    png = io.BytesIO()
    crop.save(png, "PNG", optimize=True)
    blocks = np.asarray(crop).transpose(2, 0, 1)[None]
    message = Message(1, codec.initial_words)
    bound = codec.push(Rans(), message, blocks)
    words = message.to_words(message.low_water)
    assert message.low_water == codec.initial_words
    assert 32 * len(words) < 1.0005 * bound + 96
    assert 4 * len(words) < 0.9 * len(png.getvalue())
    np.testing.assert_array_equal(codec.pop(Rans(), message, blocks.shape, blocks.dtype), blocks)
    assert message.is_initial()

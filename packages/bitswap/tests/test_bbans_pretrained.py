"""The VAEs of BB-ANS that the package ships."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from nc_bitswap import plugin
from nc_bitswap.bbans.codec import BbansCodec
from nc_bitswap.bbans.release import load
from nc_core.ans import Message, Rans
from nc_core.datasets.mnist import Mnist
from nc_core.model_file import read_model_file

MEMBERS = {
    member.name: member
    for family in plugin.nc_models()
    if family.name == "bbans"
    for member in family.pretrained
}
KINDS = {"bbans-mnist": "no", "bbans-mnist-binary": "random"}
# Bits per pixel of the original program and weights on these digits, first 500 and first 1,000.
ORIGINAL = {"bbans-mnist": (500, 1.3483), "bbans-mnist-binary": (1000, 0.1933)}


def codec_of(name: str) -> BbansCodec:
    return load(read_model_file(Path(str(files("nc_bitswap") / str(MEMBERS[name].resource)))))


@pytest.mark.parametrize("name", MEMBERS)
def test_files_are_small_and_those_that_are_registered(name: str) -> None:
    codec = codec_of(name)
    assert codec.id == MEMBERS[name].id
    path = Path(str(files("nc_bitswap") / str(MEMBERS[name].resource)))
    assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize("name", MEMBERS)
def test_digits_cost_about_what_the_originals_weights_make_of_them(name: str, shared: Path) -> None:
    codec = codec_of(name)
    count, original = ORIGINAL[name]
    mnist = Mnist(shared / "data" / "mnist", "test", "mnist", KINDS[name])
    blocks = np.stack([mnist[index]["image"] for index in range(count)])[:, None]
    message = Message(1, codec.initial_words)
    before = message.bits
    said = codec.push(Rans(), message, blocks)
    grown = message.bits - before
    assert grown == pytest.approx(said, rel=0.002)
    assert grown / blocks.size < 1.05 * original
    np.testing.assert_array_equal(codec.pop(Rans(), message, blocks.shape, blocks.dtype), blocks)
    assert message.is_initial()

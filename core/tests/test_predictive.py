"""The predictive codec: every image comes back, at the rate that was said, with any coder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans import Message, Rans, RansNumpy
from nc_core.errors import CorruptFileError
from nc_core.images import read_image
from nc_core.plugin import nc_models
from nc_core.predictive import colour
from nc_core.predictive.model import PREDICTIVE_ID, PredictiveModel
from nc_core.predictive.side import default_weights
from nc_core.protocols import LosslessModel

MODEL = PredictiveModel()
RANDOM = np.random.default_rng(7)


def round_trip(blocks: NDArray[Any], writer: Any = None, reader: Any = None) -> tuple[float, int]:
    """Code and decode; returns the model's bits and those of the message."""
    message = Message()
    bits = MODEL.push(writer or Rans(), message, blocks)
    size = 32 * len(message.to_words())
    back = MODEL.pop(reader or Rans(), message, blocks.shape, blocks.dtype)
    assert back.dtype == blocks.dtype
    assert np.array_equal(back, blocks)
    assert message.is_initial()
    return bits, size


def photograph(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    """Smooth waves with an edge and noise, like a picture."""
    _, channels, height, width = shape
    y, x = np.mgrid[:height, :width]
    waves = np.sin(x / 9) * np.cos(y / 7) + 0.5 * (x + y > (width + height) / 2)
    levels = np.iinfo(dtype).max
    pixels = (
        0.5
        + 0.2 * waves
        + RANDOM.normal(0, 0.005, shape)
        + 0.05 * np.arange(channels)[:, None, None]
    )
    return (np.clip(pixels, 0, 1) * levels).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1), (1, 3, 1, 1), (1, 3, 300, 1), (1, 3, 1, 300), (1, 3, 13, 17), (2, 4, 9, 20),
     (7, 2, 8, 8), (30, 1, 28, 28), (1, 3, 210, 200)],
)  # fmt: skip
def test_extreme_images_come_back(shape: tuple[int, ...], dtype: str) -> None:
    most = np.iinfo(dtype).max
    noise = RANDOM.integers(0, most + 1, shape).astype(dtype)
    checkers = np.zeros(shape, dtype)
    checkers[..., ::2] = most
    ramp = (np.arange(noise.size) % (most + 1)).reshape(shape).astype(dtype)
    for blocks in (noise, np.zeros(shape, dtype), np.full(shape, most, dtype), checkers, ramp):
        bits, size = round_trip(blocks)
        assert bits <= size <= bits + 96
    round_trip(photograph(*shape, dtype=dtype))


def test_any_coder_writes_and_reads_the_same_words() -> None:
    blocks = photograph(2, 3, 6, 9)
    words = []
    for coder in (Rans(), RansNumpy()):
        message = Message()
        MODEL.push(coder, message, blocks)
        words.append(message.to_words())
    assert np.array_equal(*words)
    round_trip(blocks, Rans(), RansNumpy())
    round_trip(blocks, RansNumpy(), Rans())


def test_a_message_keeps_what_lay_on_it() -> None:
    message = Message(3, initial_words=20, seed=4)
    before = message.to_words()
    MODEL.push(Rans(), message, photograph(1, 3, 20, 30))
    MODEL.pop(Rans(), message, (1, 3, 20, 30), np.dtype("uint8"))
    assert np.array_equal(message.to_words(), before)


def test_bits_of_the_blocks_add_up_to_those_of_the_call() -> None:
    blocks = photograph(5, 3, 40, 50)
    each = MODEL.bits(blocks)
    assert each.shape == (5,)
    assert each.sum() == pytest.approx(MODEL.push(Rans(), Message(), blocks))


def test_a_constant_alpha_channel_is_almost_free() -> None:
    colours = photograph(1, 3, 64, 64)
    opaque = np.concatenate([colours, np.full((1, 1, 64, 64), 255, np.uint8)], axis=1)
    assert round_trip(opaque)[1] <= round_trip(colours)[1] + 64


def test_learning_goes_on_from_image_to_image() -> None:
    tiny = photograph(100, 1, 12, 12)
    alone = sum(MODEL.bits(tiny[i : i + 1])[0] for i in range(100))
    assert MODEL.bits(tiny).sum() < 0.95 * alone


@pytest.mark.parametrize("transform", range(len(colour.TRANSFORMS)))
def test_colour_transforms_are_reversible(transform: int) -> None:
    blocks = RANDOM.integers(0, 256, (2, 4, 5, 6)).astype(np.uint8)
    assert np.array_equal(colour.backward(colour.forward(blocks, transform), transform), blocks)


def test_small_images_carry_no_weights() -> None:
    side, _ = MODEL._analyse(photograph(1, 3, 64, 64))
    assert np.array_equal(side.weights, default_weights(3))
    side, _ = MODEL._analyse(photograph(1, 3, 256, 256))
    assert not np.array_equal(side.weights, default_weights(3))


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 5, 4, 4), (1, 0, 4, 4), (0, 3, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        MODEL.push(Rans(), Message(), np.zeros(shape, np.uint8))


def test_damaged_words_end_in_an_error_or_in_other_pixels_never_worse() -> None:
    blocks = photograph(1, 3, 24, 31)
    message = Message()
    MODEL.push(Rans(), message, blocks)
    words = message.to_words()
    for _ in range(300):
        damaged = words.copy()
        damaged[RANDOM.integers(len(damaged))] ^= np.uint32(1 << RANDOM.integers(32))
        try:
            broken = Message.from_words(damaged, 1)
            back = MODEL.pop(Rans(), broken, blocks.shape, blocks.dtype)
        except CorruptFileError:
            continue
        assert not (np.array_equal(back, blocks) and broken.is_initial())


def test_it_is_registered_under_its_own_id() -> None:
    (family,) = nc_models()
    assert [member.id for member in family.pretrained] == [PREDICTIVE_ID]
    assert isinstance(MODEL, LosslessModel)


def test_the_arithmetic_of_the_format_has_not_changed() -> None:
    assert MODEL.probe()[:16] == "b722bfd20aecae6a"


@pytest.mark.parametrize(
    ("name", "bound"), [("kodim03", 2.55), ("kodim13", 4.20), ("kodim23", 2.65)]
)
def test_photographs_take_few_bits(shared: Path, name: str, bound: float) -> None:
    pixels = read_image(shared / "data" / "kodak" / f"{name}.png").pixels
    _, size = round_trip(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
    assert size / pixels.size <= bound

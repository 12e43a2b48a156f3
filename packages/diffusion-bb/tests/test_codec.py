"""Coding with the steps of a diffusion as latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nc_core
from golden_trained import golden_trained
from nc_core.ans import Message, Rans, RansNumpy
from nc_core.errors import WorkError
from nc_core.model_file import read_model_file
from nc_core.testing.torch_settings import onednn, threads
from nc_diffusion_bb.codec import DiffusionCodec
from nc_diffusion_bb.release import load, write_model
from nc_diffusion_bb.tracking import Track
from tiny_codec import SHAPE, STEPS, smooth_images, tiny_codec, write_tiny_model

ORDERS = ("bit-swap", "bb-ans")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def codec(folder: Path) -> DiffusionCodec:
    return tiny_codec(folder)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, shared: Path
) -> tuple[DiffusionCodec, NDArray[np.uint8]]:
    model = golden_trained(shared)
    digits = model.arrays["images"].reshape(-1, 1, 16, 16)
    path = tmp_path_factory.mktemp("trained") / "m16.safetensors"
    write_model(path, model.network, model.config, digits)
    return load(read_model_file(path)), digits


def message_of(codec: DiffusionCodec, seed: int = 3) -> Message:
    return Message(codec.lanes, codec.initial_words, seed)


def grown(message: Message, codec: DiffusionCodec, seed: int = 3) -> float:
    return message.bits - message_of(codec, seed).bits


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [1, 5])
def test_images_come_back_and_the_message_too(
    codec: DiffusionCodec, order: str, count: int
) -> None:
    codec = codec.with_coding({"order": order, "batch-size": "2"})
    blocks = smooth_images(count)
    message = message_of(codec)
    codec.push(Rans(), message, blocks)
    popped = codec.pop(Rans(), message, blocks.shape, blocks.dtype)
    assert np.array_equal(popped, blocks)
    assert message.is_initial()


@pytest.mark.parametrize("order", ORDERS)
def test_the_message_grows_by_the_net_information(codec: DiffusionCodec, order: str) -> None:
    codec = codec.with_coding({"order": order})
    message = message_of(codec)
    bits = codec.push(Rans(), message, smooth_images(6))
    assert grown(message, codec) == pytest.approx(bits, rel=2e-3, abs=40)


@pytest.mark.parametrize("order", ORDERS)
def test_a_track_sums_up_to_the_net_information(codec: DiffusionCodec, order: str) -> None:
    codec = codec.with_coding({"order": order})
    blocks, track = smooth_images(3), Track(codec.steps)
    bits = codec.push(Rans(), message_of(codec), blocks, track=track)
    assert track.dims == blocks.size
    assert track.push.sum() - track.pop.sum() == pytest.approx(bits)
    assert track.pop[0] == 0 and (track.pop[1:] > 0).all() and (track.push > 0).all()


def test_both_coders_give_the_same_words(codec: DiffusionCodec) -> None:
    words = []
    for coder in (Rans(), RansNumpy()):
        message = message_of(codec)
        codec.push(coder, message, smooth_images(2))
        words.append(message.to_words())
    assert np.array_equal(*words)


def test_neither_threads_nor_one_dnn_change_a_word(codec: DiffusionCodec) -> None:
    codec = codec.with_coding({"respacing": "2"})

    def words() -> NDArray[np.uint32]:
        message = message_of(codec)
        codec.push(Rans(), message, smooth_images(2))
        return message.to_words()

    expected = words()
    with threads(2):
        assert np.array_equal(words(), expected)
    with onednn(False):
        assert np.array_equal(words(), expected)


def test_groups_of_another_size_hold_the_same_images(codec: DiffusionCodec) -> None:
    blocks = smooth_images(9)
    for size in ("1", "4", "16"):
        told = codec.with_coding({"batch-size": size})
        message = message_of(told)
        told.push(Rans(), message, blocks)
        assert np.array_equal(told.pop(Rans(), message, blocks.shape, blocks.dtype), blocks)


def test_smaller_blocks_are_padded_and_not_coded_there(codec: DiffusionCodec) -> None:
    blocks = smooth_images(3)[:, :, :5, :3]
    for order in ORDERS:
        told = codec.with_coding({"order": order})
        message, track = message_of(told), Track(told.steps)
        told.push(Rans(), message, blocks, track=track)
        assert track.dims == blocks.size
        assert np.array_equal(told.pop(Rans(), message, blocks.shape, blocks.dtype), blocks)


def test_bits_are_those_of_each_image_alone(codec: DiffusionCodec) -> None:
    blocks = smooth_images(4)
    together = codec.bits(blocks)
    alone = np.concatenate([codec.bits(blocks[k : k + 1]) for k in range(4)])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("spacing", ["all", "4", "2,3", "ddim6", "vlb5"])
def test_a_chain_may_be_shorter(codec: DiffusionCodec, spacing: str) -> None:
    told = codec.with_coding({"respacing": spacing})
    assert told.coding == {"order": "bit-swap", "respacing": spacing}
    assert told.steps == {"all": STEPS, "4": 4, "2,3": 5, "ddim6": 6, "vlb5": 5}[spacing]
    message = message_of(told)
    told.push(Rans(), message, smooth_images(2))
    assert np.array_equal(
        told.pop(Rans(), message, (2, *SHAPE), np.dtype(np.uint8)), smooth_images(2)
    )


@pytest.mark.parametrize(
    "diffusion",
    [
        {"learn_sigma": False},
        {"learn_sigma": False, "sigma_small": True},
        {"predict_xstart": True},
        {"noise_schedule": "linear", "steps": 24},
        {"rescale_timesteps": False},
    ],
)
def test_every_kind_of_model_codes(tmp_path: Path, diffusion: dict[str, Any]) -> None:
    codec = tiny_codec(tmp_path, **diffusion)
    for order in ORDERS:
        told = codec.with_coding({"order": order, "clip": "off" if order == "bb-ans" else "on"})
        message = message_of(told)
        told.push(Rans(), message, smooth_images(2))
        assert np.array_equal(
            told.pop(Rans(), message, (2, *SHAPE), np.dtype(np.uint8)), smooth_images(2)
        )


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"respacing": "vlb2"}, "too few"),
        ({"respacing": "fast"}, "no spacing"),
        ({"order": "up"}, "no order"),
        ({"batch-size": "0"}, "batch-size is a whole number from 1"),
        ({"batch-size": "2.5"}, "whole number"),
        ({"bins-per-deviation": "nan"}, "bins-per-deviation is a number from 1"),
        ({"clip": "yes"}, "on or off"),
        ({"speed": "9"}, "unknown coding option 'speed'"),
    ],
)
def test_what_it_cannot_be_told_is_refused(
    codec: DiffusionCodec, told: dict[str, str], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        codec.with_coding(told)


def test_what_it_was_told_can_be_told_again(codec: DiffusionCodec) -> None:
    told = codec.with_coding({"batch-size": "3", "order": "bb-ans", "bins-per-deviation": "4"})
    assert told.with_coding(told.coding).coding == told.coding
    assert told.initial_words != codec.initial_words


def test_a_width_is_told_to_the_last_digit(codec: DiffusionCodec) -> None:
    told = codec.with_coding({"bins-per-deviation": "2.1234567890123"})
    again = codec.with_coding(told.coding)
    message = message_of(told)
    told.push(Rans(), message, smooth_images(2))
    popped = again.pop(Rans(), message, (2, *SHAPE), np.dtype(np.uint8))
    assert np.array_equal(popped, smooth_images(2))


def test_each_coding_has_a_probe_of_its_own(codec: DiffusionCodec) -> None:
    before = codec.probe()
    assert codec.with_coding({"respacing": "4"}).probe() != before
    assert codec.with_coding({}).probe() == before


def test_more_bins_than_a_distribution_has_are_refused(tmp_path: Path) -> None:
    codec = tiny_codec(tmp_path, steps=10_000)
    assert codec.coding["respacing"] == "100"
    for told, why in (
        ({"respacing": "all", "bins-per-deviation": "64"}, "fewer bins-per-deviation"),
        ({"batch-size": "4097"}, "batch-size is a whole number from 1 to 4096"),
    ):
        with pytest.raises(ValueError, match=why):
            codec.with_coding(told)


def test_too_few_words_to_borrow_are_told_of(codec: DiffusionCodec) -> None:
    with pytest.raises(WorkError, match="ran out of initial words"):
        codec.push(Rans(), Message(1), smooth_images(1))


@pytest.mark.parametrize("blocks", [np.zeros((1, 3, 8, 8)), np.zeros((1, 1, 9, 8), np.uint8)])
def test_blocks_of_another_shape_are_refused(codec: DiffusionCodec, blocks: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="blocks are uint8"):
        codec.push(Rans(), message_of(codec), blocks)


class _Killed(Exception):
    """Stands for the end of a process."""


class _Notebook:
    """A journal in memory, which ends the process at its n-th entry."""

    def __init__(self, entries: int) -> None:
        self._left = entries
        self.told: list[float] = []
        self.shares: list[float] = []
        self._kept: tuple[Message, dict[str, Any]] | None = None

    def state(self) -> dict[str, NDArray[Any]] | None:
        return None if self._kept is None else self._kept[1]

    def message(self) -> Message:
        assert self._kept is not None
        return self._kept[0].copy()

    def due(self, done: float = 0.0) -> bool:
        self.told.append(done)
        return True

    def save(
        self, message: Message, arrays: Mapping[str, Any], *, done: float | None = None
    ) -> None:
        self.shares.append(self.told[-1] if done is None else done)
        self._kept = message.copy(), {key: np.array(array) for key, array in arrays.items()}
        self._left -= 1
        if self._left == 0:
            raise _Killed


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("entries", [1, 7, STEPS, STEPS + 5, 3 * STEPS])
def test_a_push_goes_on_where_it_was_killed(
    codec: DiffusionCodec, order: str, entries: int
) -> None:
    codec = codec.with_coding({"order": order, "batch-size": "2"})
    blocks, undisturbed = smooth_images(4), message_of(codec)
    bits = codec.push(Rans(), undisturbed, blocks)
    journal = _Notebook(entries)
    with pytest.raises(_Killed):
        codec.push(Rans(), message_of(codec), blocks, journal=journal)
    message = journal.message()
    assert codec.push(Rans(), message, blocks, journal=journal) == pytest.approx(bits)
    assert np.array_equal(message.to_words(), undisturbed.to_words())
    assert message.low_water == undisturbed.low_water


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("entries", [1, STEPS, STEPS + 5, 3 * STEPS - 1])
def test_a_pop_goes_on_where_it_was_killed(codec: DiffusionCodec, order: str, entries: int) -> None:
    codec = codec.with_coding({"order": order, "batch-size": "2"})
    blocks, message = smooth_images(5), message_of(codec)
    codec.push(Rans(), message, blocks)
    journal = _Notebook(entries)
    with pytest.raises(_Killed):
        codec.pop(Rans(), message, blocks.shape, blocks.dtype, journal=journal)
    message = journal.message()
    popped = codec.pop(Rans(), message, blocks.shape, blocks.dtype, journal=journal)
    assert np.array_equal(popped, blocks)
    assert message.is_initial()


@pytest.mark.parametrize("order", ORDERS)
def test_a_journal_is_told_how_much_is_done(codec: DiffusionCodec, order: str) -> None:
    codec = codec.with_coding({"order": order, "batch-size": "2"})
    blocks, message = smooth_images(5), message_of(codec)
    pushing, popping = _Notebook(-1), _Notebook(-1)
    codec.push(Rans(), message, blocks, journal=pushing)
    codec.pop(Rans(), message, blocks.shape, blocks.dtype, journal=popping)
    for told in (pushing.told, popping.told):
        assert told == sorted(set(told))
        assert len(told) % STEPS == 0
        assert 0 < told[0] <= 2 / 5 / STEPS
        assert told[-1] == 1
    assert pushing.shares == pushing.told
    if order == "bit-swap":
        assert popping.shares == popping.told
    else:  # what is kept is where a group begins
        begun = np.repeat([0.0, *popping.told[STEPS - 1 :: STEPS][:-1]], STEPS)
        assert popping.shares == pytest.approx(begun)


def test_a_file_decodes_with_what_it_says(folder: Path, codec: DiffusionCodec) -> None:
    model = str(folder / "tiny.safetensors")
    blocks = smooth_images(6)[:, 0]
    made = nc_core.compress(
        blocks, model=model, layout="nhw",
        coding={"respacing": "5", "order": "bb-ans", "batch-size": "3"},
    )  # fmt: skip
    assert made.rate.verified
    assert np.array_equal(nc_core.decompress(made.data, model=model), blocks)


def test_a_model_of_other_weights_is_refused(tmp_path: Path, codec: DiffusionCodec) -> None:
    other = load(read_model_file(write_tiny_model(tmp_path / "other.safetensors", "others")))
    assert other.id != codec.id and other.probe() != codec.probe()


@pytest.mark.parametrize(
    ("spacing", "order"), [("vlb50", "bit-swap"), ("vlb50", "bb-ans"), ("vlb100", "bit-swap")]
)
def test_a_trained_model_reaches_its_bound(
    trained: tuple[DiffusionCodec, NDArray[np.uint8]], spacing: str, order: str
) -> None:
    codec, digits = trained
    codec = codec.with_coding({"respacing": spacing, "order": order})
    message = message_of(codec)
    bits = codec.push(Rans(), message, digits[:16])
    # Of the same 16 images the original's effective rates are 2.055 and 2.016.
    effective = {"vlb50": 2.055, "vlb100": 2.016}[spacing]
    assert bits / digits[:16].size == pytest.approx(effective, abs=0.05)
    assert abs(grown(message, codec) - bits) < 0.003 * bits


def test_a_trained_model_from_the_top_down_borrows_ten_bits_a_step(
    trained: tuple[DiffusionCodec, NDArray[np.uint8]],
) -> None:
    codec, digits = trained
    codec = codec.with_coding({"respacing": "10", "order": "bb-ans"})
    message = message_of(codec)
    bits = codec.push(Rans(), message, digits[:16])
    borrowed = 32 * (codec.initial_words - message.low_water) / digits[0].size
    # Of 12 draws: 3.57 +- 0.05, a deviation of 0.18; latents far off take at most 27 bits each.
    assert bits / digits[:16].size == pytest.approx(3.57, abs=0.5)
    assert borrowed == pytest.approx(97.24, abs=2)


@pytest.mark.parametrize("spacing", ["10", "vlb50", "vlb100"])
def test_one_image_borrows_at_most_eight_bits(
    trained: tuple[DiffusionCodec, NDArray[np.uint8]], spacing: str
) -> None:
    codec, digits = trained
    codec = codec.with_coding({"respacing": spacing})
    message = message_of(codec)
    codec.push(Rans(), message, digits[:1])
    assert 32 * (codec.initial_words - message.low_water) < 8 * digits[0].size


def test_bb_ans_keeps_all_levels_of_no_more_images_than_memory_holds(
    codec: DiffusionCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks, sizes = smooth_images(12), []
    told = codec.with_coding({"order": "bb-ans", "batch-size": "4"})
    real = DiffusionCodec._push

    def noted(self: DiffusionCodec, *arguments: Any) -> float:
        sizes.append(arguments[3].size // blocks[0].size)
        return real(self, *arguments)

    monkeypatch.setattr(DiffusionCodec, "_push", noted)
    for limit, largest in ((1 << 26, 4), (2 * STEPS * blocks[0].size, 2), (1, 1)):
        monkeypatch.setattr("nc_diffusion_bb.codec._MOST_LATENTS", limit)
        message, sizes[:] = Message(1, 200 * told.initial_words, seed=3), []
        message.cursor[1] = 0
        told.push(Rans(), message, blocks)
        assert max(sizes) == largest
        assert np.array_equal(told.pop(Rans(), message, blocks.shape, blocks.dtype), blocks)

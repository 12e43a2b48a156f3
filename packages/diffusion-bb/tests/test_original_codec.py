"""The original project's codec, word for word."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans import Message, Rans
from nc_core.ans.folding import fold, pop_benford, push_benford
from nc_core.errors import CorruptFileError, UsageError, WorkError
from nc_diffusion_bb.original.bins import EqualMassBins, Normal
from nc_diffusion_bb.original.codec import OriginalCodec
from nc_diffusion_bb.original.pixels import PixelCounts
from nc_diffusion_bb.original.rates import Tally
from nc_diffusion_bb.original.settings import CodecSettings
from nc_diffusion_bb.original.words import flat_bytes, initial_message, message_of_random_words
from toy_chain import Toy, ToyChain, golden_toy

SHAPE = (2, 1, 4, 4)


@pytest.fixture
def golden(shared: Path) -> dict[str, NDArray[Any]]:
    return dict(np.load(shared / "golden" / "diffusion-bb" / "codec.npz"))


@pytest.fixture
def toy(shared: Path) -> Toy:
    return golden_toy(shared)


def toy_message(toy: Toy) -> Message:
    return message_of_random_words(toy.arrays["initial_words"], 32)


def small_chain(levels: int = 4, **changes: float) -> ToyChain:
    steps = np.linspace(0.2, 0.9, levels, dtype=np.float32)
    arrays = {
        "top_coef": np.float32(0.1), "top_std": np.float32(0.99), "prior_coef": steps,
        "prior_std": 1 - 0.9 * steps, "post_xcoef": steps / 2, "post_zcoef": steps / 3,
        "post_std": 0.9 - 0.8 * steps,
    }  # fmt: skip
    arrays |= {name: np.full_like(arrays[name], value) for name, value in changes.items()}
    return ToyChain(arrays)


def test_pushes_give_the_original_words(golden: dict[str, NDArray[Any]]) -> None:
    message, coder = Message(12), Rans()
    steps = zip(golden["rans.prec"], golden["rans.start"], golden["rans.freq"], strict=True)
    for precision, start, freq in steps:
        coder.push_intervals(message, start.reshape(1, 12), freq.reshape(1, 12), int(precision))
    assert np.array_equal(message.heads, golden["rans.final_head"].ravel())
    assert np.array_equal(message.to_words(), golden["rans.flat_plain"])
    assert np.array_equal(fold(message), golden["rans.flat_folded"])


@pytest.mark.parametrize("case", [0, 1, 2])
def test_arbitrary_words_unfold_as_the_original_does(
    golden: dict[str, NDArray[Any]], case: int
) -> None:
    heads = golden[f"unfold{case}.head"]
    message = message_of_random_words(golden[f"unfold{case}.arr"], len(heads))
    assert np.array_equal(message.heads, heads)
    assert np.array_equal(message.to_words(), golden[f"unfold{case}.plain"])
    assert np.array_equal(fold(message), golden[f"unfold{case}.refold"])


def test_heads_fold_as_the_original_does_but_for_one_that_it_loses(
    golden: dict[str, NDArray[Any]],
) -> None:
    values = golden["benford.x"]
    message = Message(len(values))
    push_benford(message, values)
    # The last is 2**63 - 4097, whose logarithm the original rounds up to 63: a sixth bit of length.
    assert np.array_equal(message.heads[:5], golden["benford.head_after_push"][:5])
    assert np.array_equal(message.to_words()[12:], golden["benford.flat"][12:])
    assert np.array_equal(pop_benford(message, len(values)), values)


@pytest.mark.parametrize("lanes", [1, 2, 3, 5, 64, 100, 4096])
def test_the_size_of_a_folded_message_is_known_without_folding(lanes: int) -> None:
    for seed in range(5):
        message = Message(lanes, 20, seed)
        generator = np.random.default_rng(seed)
        message.heads = np.exp2(generator.uniform(31, 63, lanes)).astype(np.uint64)
        before = message.heads.copy()
        assert flat_bytes(message) == 4 * len(fold(message))
        assert np.array_equal(message.heads, before)


def test_bins_of_equal_mass_are_the_original_ones(golden: dict[str, NDArray[Any]]) -> None:
    prior = Normal(golden["gb.prior_mean"], golden["gb.prior_stdd"])
    posterior = Normal(golden["gb.post_mean"], golden["gb.post_stdd"])
    bins = EqualMassBins(10, 18)
    for index in range(1024):
        start, freq = bins.intervals(np.full(8, index), prior, posterior)
        assert np.array_equal(start, golden["gb.start"][index])
        assert np.array_equal(freq, golden["gb.freq"][index])
    for counts, expected in zip(golden["gb.cf"], golden["gb.idx_of_cf"], strict=True):
        assert np.array_equal(bins.locate(counts.astype(np.uint64), prior, posterior), expected)


def test_tables_of_pixels_are_the_original_ones(golden: dict[str, NDArray[Any]]) -> None:
    normal = Normal(golden["obs.mean"], np.maximum(golden["obs.stdd"], 1e-6))
    pixels = PixelCounts(8, -1.0, 1.0, 24)
    for value in range(256):
        start, freq = pixels.intervals(np.full(8, value), normal)
        assert np.array_equal(start, golden["obs.start"][value])
        assert np.array_equal(freq, golden["obs.freq"][value])
        found, same_start, same_freq = pixels.locate(start + freq - np.uint64(1), normal)
        assert np.array_equal(found, np.full(8, value))
        assert np.array_equal(start, same_start)
        assert np.array_equal(freq, same_freq)


def test_pixels_are_coded_in_slices_without_a_difference() -> None:
    generator = np.random.default_rng(3)
    count = 10_000  # more than are tabled at once
    normal = Normal(
        generator.uniform(-1, 1, count).astype(np.float32),
        np.exp(generator.uniform(-9, 1, count)).astype(np.float32),
    )
    pixels = PixelCounts(8, -1.0, 1.0, 24)
    values = generator.integers(256, size=count)
    starts, freqs = pixels.intervals(values, normal)
    alone = pixels.intervals(values[-7:], Normal(normal.mean[-7:], normal.deviation[-7:]))
    assert np.array_equal(starts[-7:], alone[0])
    assert np.array_equal(freqs[-7:], alone[1])
    assert np.array_equal(pixels.locate(starts, normal)[0], values)


def test_too_few_bits_for_the_table_of_a_pixel_are_refused() -> None:
    pixels = PixelCounts(8, -1.0, 1.0, 8)
    normal = Normal(np.zeros(1, np.float32), np.full(1, 0.3, np.float32))
    with pytest.raises(WorkError, match="leave nothing"):
        pixels.intervals(np.array([7]), normal)


def test_the_toy_gives_the_original_messages_and_rates(toy: Toy) -> None:
    codec = OriginalCodec(toy.chain, CodecSettings())
    message = toy_message(toy)
    assert np.array_equal(message.heads, toy.arrays["initial_head"])
    initial = message.copy()
    tally = Tally.empty(16, 5, message)
    assert tally.initial_bytes == toy.record["initial_bytes"]
    for batch, expected in enumerate(toy.record["stats"]):
        images = toy.images[2 * batch : 2 * batch + 2]
        tally.add(2, codec.push(message, images, track=True))
        assert np.array_equal(fold(message), toy.arrays[f"flat.{batch + 1}"])
        assert tally.images == expected["samples"]
        assert tally.extra_bytes == expected["extra_bytes"]
        for name, rate in tally.rates(flat_bytes(message))._asdict().items():
            assert rate == pytest.approx(expected[name], rel=1e-14)
        levels = tally.level_bits()
        assert levels is not None
        assert levels[0].mean == pytest.approx(expected["push_bits_per_dim"])
        assert levels[1].mean == pytest.approx(expected["pop_bits_per_dim"])
    for batch in (2, 1, 0):
        assert np.array_equal(codec.pop(message, SHAPE), toy.images[2 * batch : 2 * batch + 2])
        assert np.array_equal(fold(message), toy.arrays[f"flat.{batch}"])
    assert np.array_equal(message.heads, initial.heads)


def test_words_do_not_depend_on_whether_levels_are_tracked(toy: Toy) -> None:
    codec = OriginalCodec(toy.chain, CodecSettings())
    one, other = toy_message(toy), toy_message(toy)
    tracked, not_tracked = (
        codec.push(one, toy.images[:2], track=True), codec.push(other, toy.images[:2])
    )  # fmt: skip
    assert np.array_equal(fold(one), fold(other))
    assert tracked.borrowed == not_tracked.borrowed
    assert not_tracked.pushed is None


def test_a_smaller_batch_takes_the_first_lanes(toy: Toy) -> None:
    codec = OriginalCodec(toy.chain, CodecSettings())
    message = toy_message(toy)
    initial = fold(message)
    codec.push(message, toy.images[:2])
    codec.push(message, toy.images[2:3])
    assert np.array_equal(codec.pop(message, (1, 1, 4, 4)), toy.images[2:3])
    assert np.array_equal(codec.pop(message, SHAPE), toy.images[:2])
    assert np.array_equal(fold(message), initial)


@pytest.mark.parametrize(
    "settings",
    [
        CodecSettings(latent_bits=22, prior_bits=12, pixel_bits=28),
        CodecSettings(latent_bits=12, prior_bits=6, pixel_bits=16),
        CodecSettings(data_bits=4, data_min=0.0, data_max=3.0, deviation_floor=0.01),
    ],
)
def test_images_come_back_with_other_settings(settings: CodecSettings) -> None:
    codec = OriginalCodec(small_chain(), settings)
    message = initial_message(32, 400, seed=5)
    initial = fold(message)
    images = np.random.default_rng(0).integers(1 << settings.data_bits, size=(4, 1, 4, 4))
    batches = [part.astype(np.uint8) for part in (images[:2], images[2:])]
    for batch in batches:
        codec.push(message, batch)
    for batch in reversed(batches):
        assert np.array_equal(codec.pop(message, SHAPE), batch)
    assert np.array_equal(fold(message), initial)


def test_other_last_digits_ruin_what_lies_below_the_last_batch(toy: Toy) -> None:
    codec = OriginalCodec(toy.chain, CodecSettings())
    message = toy_message(toy)
    for first in (0, 2, 4):
        codec.push(message, toy.images[first : first + 2])
    other = OriginalCodec(ToyChain(toy.chain.arrays, noise=1e-5), CodecSettings())
    assert np.array_equal(other.pop(message, SHAPE), toy.images[4:])
    with suppress(CorruptFileError):
        assert not np.array_equal(other.pop(message, SHAPE), toy.images[2:4])


def test_a_message_that_runs_empty_is_an_error() -> None:
    codec = OriginalCodec(small_chain(levels=5), CodecSettings())
    settings = CodecSettings()
    message = initial_message(32, settings.initial_words(32, 5), seed=0)  # the original's number
    with pytest.raises(WorkError, match="initial words") as caught:
        codec.push(message, np.zeros(SHAPE, np.uint8))
    assert caught.value.hint is not None
    assert "--initial-words" in caught.value.hint


def test_an_empty_message_does_not_decode() -> None:
    codec = OriginalCodec(small_chain(), CodecSettings())
    with pytest.raises(CorruptFileError):
        codec.pop(Message(32), SHAPE)


@pytest.mark.parametrize(
    ("name", "value"),
    [("prior_coef", np.nan), ("post_std", np.nan), ("prior_std", 0.0), ("post_xcoef", np.inf)],
)
def test_a_silent_nan_of_the_network_is_an_error(name: str, value: float) -> None:
    codec = OriginalCodec(small_chain(**{name: value}), CodecSettings())
    message = initial_message(32, 400, seed=0)
    with np.errstate(invalid="ignore"), pytest.raises(WorkError, match=r"level \d: .* means or"):
        codec.push(message, np.zeros(SHAPE, np.uint8))


def test_pixels_of_more_bits_than_the_codec_has_are_refused() -> None:
    codec = OriginalCodec(small_chain(), CodecSettings(data_bits=4))
    with pytest.raises(WorkError, match="more than 4 bits"):
        codec.push(initial_message(32, 400, 0), np.full(SHAPE, 16, np.uint8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"latent_bits": 29}, {"prior_bits": 0}, {"data_bits": 9}, {"pixel_bits": 4},
        {"data_min": 1.0}, {"deviation_floor": 0.0},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        CodecSettings(**wrong)

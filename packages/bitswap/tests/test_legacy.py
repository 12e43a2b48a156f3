"""The original's coder, tables and compressed file: exact where it was exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nc_bitswap.codec import ORDERS, Order
from nc_bitswap.discretization import LatentBins
from nc_bitswap.importers import import_checkpoint
from nc_bitswap.legacy.chain import LegacyCodec, RealBins
from nc_bitswap.legacy.coder import LegacyCoder, LegacyState, LogisticTable, UniformTable
from nc_bitswap.legacy.demo_file import DemoFile, blocks_of, image_of, pack, unpack
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_core.errors import CorruptFileError, DataError
from nc_core.testing.torch_settings import threads

ROWS = ["pixel_q8", "latent_uniform_q6", "latent_top_q10"]


class Demo(NamedTuple):
    """The golden file, and the model that it was made with."""

    codec: LegacyCodec
    arrays: Any
    document: dict[str, Any]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    with threads(1):
        yield


@pytest.fixture(scope="module")
def tables(shared: Path) -> Any:
    return np.load(shared / "golden" / "bitswap" / "intpmf_ans.npz")


@pytest.fixture(scope="module")
def demo(shared: Path) -> Demo:
    folder = shared / "golden" / "bitswap"
    document = json.loads((folder / "demo_file_crop_nz4.json").read_text())
    model = import_checkpoint(folder / document["model_file"])
    dims = int(np.prod(model.architecture.latent_shape))
    ranges = [tuple(np.full(dims, end) for end in pair) for pair in document["bins"].values()]
    bins = LatentBins.from_extremes(document["quantbits"], ranges, dims)  # type: ignore[arg-type]
    codec = LegacyCodec(model, RealBins.of_model(bins))
    return Demo(codec, np.load(folder / "demo_file_crop_nz4.npz"), document)


def table_of(tables: Any, row: str) -> LogisticTable:
    return LogisticTable(tables[f"{row}/mu"], tables[f"{row}/scale"], tables[f"{row}/endpoints"])


def state_of(words: Any) -> LegacyState:
    *rest, head = words.tolist()
    return LegacyState(rest, head)


def words_of(state: LegacyState) -> list[int]:
    return [*state.words, state.head]


@pytest.mark.parametrize("row", ROWS)
def test_tables_are_the_original_ones(tables: Any, row: str) -> None:
    found = np.diff(table_of(tables, row).cumulative, axis=1)
    np.testing.assert_array_equal(found, tables[f"{row}/pmf_int"])


@pytest.mark.parametrize("row", ROWS)
def test_states_are_the_original_ones(tables: Any, row: str) -> None:
    coder, table = LegacyCoder(), table_of(tables, row)
    state = state_of(tables[f"{row}/state0"])
    coder.push(state, tables[f"{row}/symbols"][:, None], table)
    assert words_of(state) == tables[f"{row}/state_after_encode"].tolist()
    state = state_of(tables[f"{row}/state0"])
    np.testing.assert_array_equal(
        coder.pop(state, table)[:, 0], tables[f"{row}/decoded_from_state0"]
    )
    assert words_of(state) == tables[f"{row}/state_after_decode"].tolist()


@pytest.mark.parametrize("scheme", ["bs1", "bs0"])
def test_the_original_s_run_replays_word_for_word(shared: Path, scheme: str) -> None:
    run = np.load(shared / "golden" / "bitswap" / "encode_run_mnist_nz2.npz")
    coder, state = LegacyCoder(), state_of(run[f"{scheme}/state0"])
    starts, freqs = run[f"{scheme}/starts"], run[f"{scheme}/freqs"]
    ends = np.cumsum(run[f"{scheme}/op_len"])
    for kind, start, end in zip(run[f"{scheme}/op_kind"], [0, *ends[:-1]], ends, strict=True):
        pairs = starts[start:end, None].astype(np.uint64), freqs[start:end, None].astype(np.uint64)
        if kind:
            coder.push_intervals(state, *pairs)
        else:
            for index in range(end - start - 1, -1, -1):
                coder.pop_interval(state, int(pairs[0][index, 0]), int(pairs[1][index, 0]))
    assert words_of(state) == run[f"{scheme}/state_final"].tolist()


@pytest.mark.parametrize("order", ORDERS)
def test_a_run_of_ours_has_the_original_s_length(shared: Path, order: Order) -> None:
    folder = shared / "golden" / "bitswap"
    run = np.load(folder / "encode_run_mnist_nz2.npz")
    scheme = {"bit-swap": "1", "bb-ans": "0"}[order]
    expected = json.loads((folder / "encode_run_mnist_nz2.json").read_text())[f"bitswap{scheme}"]
    model = import_checkpoint(folder / "encode_run_mnist_nz2.model.safetensors")
    ends = [(run["bins_lo0"], run["bins_hi0"])]
    bins = RealBins.of_model(LatentBins.from_extremes(10, ends, 256))
    codec = LegacyCodec(model, bins, order)
    state = state_of(run[f"bs{scheme}/state0"])
    start = state_of(run[f"bs{scheme}/state0"])
    bits = sum(codec.push(state, image[None]) for image in run["images"])
    assert abs(len(words_of(state)) - len(run[f"bs{scheme}/state_final"])) <= 2
    # Where a last digit of a network differs, all latents after it are other draws.
    assert bits == pytest.approx(expected["info_bits"], rel=0.02)
    for image in run["images"][::-1]:
        np.testing.assert_array_equal(codec.pop(state)[0], image)
    assert words_of(state) == words_of(start)


def test_the_golden_file_is_read(demo: Demo) -> None:
    file = DemoFile.from_words(demo.arrays["file_words"], "golden")
    expected = demo.document
    assert (file.blocks, file.height, file.width) == (expected["n_blocks"], 32, 64)
    np.testing.assert_array_equal(file.words(), demo.arrays["file_words"])
    initial = LegacyState.initial()
    assert initial.words[:5] == demo.arrays["init_first5"].tolist()


def test_the_golden_file_decodes_or_is_refused(demo: Demo) -> None:
    file = DemoFile.from_words(demo.arrays["file_words"], "golden")
    try:
        image = unpack(demo.codec, file, "golden")
    except CorruptFileError as error:  # networks of this machine have other last digits
        assert "made on another kind of machine" in error.message
    else:
        np.testing.assert_array_equal(image, demo.arrays["cropped"])


def test_a_file_of_ours_comes_back(demo: Demo, tmp_path: Path) -> None:
    file = pack(demo.codec, demo.arrays["image"])
    assert abs(len(file.words()) - demo.document["n_words"]) <= 4
    file.write(tmp_path / "x_bitswap.npy")
    read = DemoFile.read(tmp_path / "x_bitswap.npy")
    np.testing.assert_array_equal(unpack(demo.codec, read, "x"), demo.arrays["cropped"])


def test_damage_is_noticed(demo: Demo) -> None:
    words = pack(demo.codec, demo.arrays["image"]).words()
    for place in (5, len(words) // 2, -5):
        damaged = words.copy()
        damaged[place] ^= 1
        with pytest.raises(CorruptFileError, match="does not decode"):
            unpack(demo.codec, DemoFile.from_words(damaged, "x"), "x")
    with pytest.raises(CorruptFileError, match="does not decode"):
        unpack(demo.codec, DemoFile.from_words(words[200:], "x"), "x")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(9, np.uint32), "not a file of the Bit-Swap demo"),
        (np.ones(4, np.uint32), "not a file of the Bit-Swap demo"),
        (np.ones(9, np.int64), "not a file of the Bit-Swap demo"),
        (np.array([1, 1, 1, 2, 32, 32], np.uint32), "2 blocks do not make an image of 32x32"),
        (np.array([1, 1, 1, 1 << 20, 1 << 15, 1 << 15], np.uint32), "too short for"),
    ],
)
def test_other_arrays_are_refused(demo: Demo, array: Any, reason: str) -> None:
    with pytest.raises(CorruptFileError, match=reason):
        unpack(demo.codec, DemoFile.from_words(array, "x"), "x")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"text")
    with pytest.raises(CorruptFileError, match="not a file of the Bit-Swap demo"):
        DemoFile.read(tmp_path / "x.npy")
    with pytest.raises(DataError):
        DemoFile.read(tmp_path / "nowhere.npy")


def test_blocks_go_row_by_row_from_the_top_left() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 100, 3), np.uint8)
    blocks = blocks_of(image, 3, 32, 32)
    assert blocks.shape == (6, 3, 32, 32)
    np.testing.assert_array_equal(blocks[4], image[32:64, 32:64].transpose(2, 0, 1))
    np.testing.assert_array_equal(image_of(blocks, 2, 3), image[:64, :96])
    with pytest.raises(DataError, match="smaller than 32x32"):
        blocks_of(image[:31], 3, 32, 32)
    with pytest.raises(DataError, match="3 channels, the model takes 1"):
        blocks_of(image, 1, 32, 32)


def test_bins_of_another_model_are_refused(demo: Demo) -> None:
    other = HierarchicalVAE(Architecture(levels=2, hidden=2, processing=0, blocks=0))
    bins = RealBins.of_model(LatentBins.from_extremes(8, [(np.zeros(4), np.ones(4))] * 3, 4))
    with pytest.raises(DataError, match="bins of 4 levels of 4 latents; the model has 2 of 256"):
        LegacyCodec(other, bins)


def test_uniform_tables_and_logistic_ones_of_equal_masses_agree() -> None:
    uniform = UniformTable(6, 2)
    symbols = np.array([[0], [63]])
    starts, freqs = uniform.intervals(symbols)
    assert starts.ravel().tolist() == [0, 63 << 25]
    assert set(freqs.ravel().tolist()) == {1 << 25}
    found, start, _ = uniform.locate(0, np.array([(5 << 25) + 7], np.uint64))
    assert (int(found[0]), int(start[0])) == (5, 5 << 25)

"""Datasets open by name, yield documented arrays, and refuse what is damaged."""

from __future__ import annotations

import gzip
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nc_core import open_dataset
from nc_core.datasets.arrays import guess_layout
from nc_core.datasets.idx import read_idx, read_idx_shape
from nc_core.datasets.locations import data_folder
from nc_core.errors import DataError, NcError, PluginError, UsageError
from nc_core.protocols import Dataset

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of this test."""
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def shared_data(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real data, which lie as they do under ``$NC_DATA``."""
    monkeypatch.setenv("NC_DATA", str(shared / "data"))
    return shared / "data"


def idx(shape: tuple[int, ...], body: bytes, magic: int | None = None) -> bytes:
    magic = 0x0800 + len(shape) if magic is None else magic
    return struct.pack(f">I{len(shape)}I", magic, *shape) + body


def tiny_mnist(folder: Path, images: int = 3, labels: int = 3) -> None:
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (images, 28, 28), np.uint8)
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(idx((images, 28, 28), pixels.tobytes()))
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz", "wb") as file:
        file.write(idx((labels,), bytes(range(labels))))


# --- names


def test_default_data_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NC_DATA", raising=False)
    assert data_folder().is_absolute()
    assert "nc" in data_folder().parts


def test_the_first_split_is_the_default(data: Path) -> None:
    tiny_mnist(data / "mnist")
    assert open_dataset("mnist:test").name == "mnist:test"
    with pytest.raises(DataError, match="train-images"):
        open_dataset("mnist")


def test_a_provider_may_be_named(data: Path) -> None:
    tiny_mnist(data / "mnist")
    assert len(open_dataset("mnist@nc-core:test")) == 3
    with pytest.raises(PluginError):
        open_dataset("mnist@somebody:test")


def test_unknown_names_splits_and_options_are_usage_errors_with_near_matches(data: Path) -> None:
    tiny_mnist(data / "mnist")
    with pytest.raises(PluginError, match="mnist"):
        open_dataset("mnits:test")
    for text, near, all_of_them in [
        ("mnist:tset", "test", "train, test"),
        ("mnist:test?binarise=random", "binarize", "binarize, seed"),
        ("mnist:test?binarize=treshold", "threshold", "threshold, random"),
        ("folder:.?x=1", "", "none"),
    ]:
        with pytest.raises(UsageError) as error:
            open_dataset(text)
        assert near in error.value.message
        assert all_of_them in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "mnist:test?seed", "mnist:test?seed=", "mnist:test?seed=-1", "mnist:test?seed=x",
        "mnist:test?binarize=random&seed=4294967296", f"mnist:test?seed={'9' * 5000}",
        "mnist:test?seed=1&seed=2", "folder:", "folder", "/some/photos", "",
    ],
)  # fmt: skip
def test_malformed_names_are_usage_errors(text: str, data: Path) -> None:
    tiny_mnist(data / "mnist")
    with pytest.raises(UsageError):
        open_dataset(text)


def test_data_that_are_not_there_name_the_command_that_brings_them(data: Path) -> None:
    for text in ("mnist:test", "kodak"):
        with pytest.raises(DataError, match="not prepared") as error:
            open_dataset(text)
        assert f"nc data prepare {text.partition(':')[0]}" in str(error.value)
        assert "--from" in str(error.value)


def test_paths_with_spaces_colons_and_question_marks_are_found(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for name in ("a b.npy", "a:b.npy", "why?.npy", "a?b=c.npy", "50%26.npy", "ünïcode.npy"):
        np.save(tmp_path / name, array)
        assert len(open_dataset(f"npy:{tmp_path / name}")) == 2
        with_option = open_dataset(f"npy:{tmp_path / name}?layout=none")
        assert with_option.layout == "none"
    np.savez(tmp_path / "x.npz", **{"a&b": array, "c": array})
    assert len(open_dataset(f"npz:{tmp_path / 'x.npz'}?key=a%26b")) == 2


def test_a_dataset_is_named_without_the_folders_of_its_path(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 4), np.uint8))
    assert open_dataset(f"npy:{tmp_path / 'x.npy'}?layout=hw").name == "npy:x.npy?layout=hw"


# --- MNIST


def test_mnist_is_what_it_should_be(shared_data: Path) -> None:
    for split, count, first, counts, mean in [
        ("train", 60000, [5, 0, 4, 1, 9], TRAIN_COUNTS, 33.3184),
        ("test", 10000, [7, 2, 1, 0, 4], TEST_COUNTS, 33.7912),
    ]:
        dataset = open_dataset(f"mnist:{split}")
        assert isinstance(dataset, Dataset)
        assert (len(dataset), dataset.shape, dataset.dtype) == (count, (28, 28), np.uint8)
        assert (dataset.range, dataset.layout) == ((0, 255), "hw")
        assert dataset.fields == ("image", "label")
        assert [int(dataset[i]["label"]) for i in range(5)] == first
        labels = [int(dataset[i]["label"]) for i in range(count)]
        assert np.bincount(labels).tolist() == counts
        total = sum(int(dataset[i]["image"].sum(dtype=np.int64)) for i in range(count))
        assert round(total / (count * 784), 4) == mean


def test_items_outside_the_split_raise_index_error(data: Path) -> None:
    tiny_mnist(data / "mnist")
    dataset = open_dataset("mnist:test")
    for index in (-1, 3):
        with pytest.raises(IndexError):
            dataset[index]


def test_binary_digits_follow_the_published_draws(shared: Path, shared_data: Path) -> None:
    golden = np.load(shared / "golden" / "bitswap" / "bbans_vectors.npz")
    for option, key in [("threshold", "binary_20/x"), ("random&seed=0", "binary_random_40/x")]:
        dataset = open_dataset(f"mnist:test?binarize={option}")
        assert dataset.name == f"mnist:test?binarize={option}"
        assert dataset.range == (0, 1)
        for index, row in enumerate(golden[key]):
            np.testing.assert_array_equal(dataset[index]["image"].ravel(), row)


def test_another_seed_draws_other_digits_and_the_same_seed_the_same(data: Path) -> None:
    tiny_mnist(data / "mnist")

    def draw(seed: int) -> bytes:
        return open_dataset(f"mnist:test?binarize=random&seed={seed}")[0]["image"].tobytes()

    assert draw(1) == draw(1) != draw(2)


def test_unpacked_files_are_read_too(data: Path) -> None:
    tiny_mnist(data / "mnist")
    before = open_dataset("mnist:test")[1]["image"].copy()
    for path in (data / "mnist").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(open_dataset("mnist:test")[1]["image"], before)


def test_labels_of_another_number_are_refused(data: Path) -> None:
    tiny_mnist(data / "mnist", images=3, labels=4)
    with pytest.raises(DataError, match="4 labels for 3 images"):
        open_dataset("mnist:test")


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("idx_truncated", "damaged gzip file"),
        ("idx_short", "declares 78,400 samples, but holds 15,680"),
        ("idx_badmagic", "IDX type 0x0d"),
        ("idx_huge", "more than a file of its size can hold"),
    ],
)
def test_damaged_idx_files_are_refused_by_name(
    folder: str, reason: str, shared: Path, data: Path
) -> None:
    shutil.copytree(shared / "data" / "broken" / folder, data / "mnist")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=reason) as error:
            open_dataset("mnist:test")[0]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert "t10k-images-idx3-ubyte.gz" in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends inside its header"),
        (b"\0\0\x08\x02\0\0", "ends inside its header"),
        (b"not an IDX file, is it?", "not an IDX file"),
        (idx((2, 2), b"abcd"), "2 dimensions, expected 3"),
        (idx((1, 2, 2), b"abcde"), "holds more than the 4 samples"),
        (idx((1, 2, 2), b"abc"), "declares 4 samples, but holds 3"),
        (gzip.compress(idx((1, 2, 2), b"abcd"))[:-6] + b"\1\2\3\4\5\6", "damaged gzip file"),
        (b"\x1f\x8b" + bytes(40), "damaged gzip file"),
    ],
)
def test_idx_reader_is_strict(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file-idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as error:
        read_idx(path, rank=3)
    assert str(path) in error.value.message


def test_idx_arrays_come_back_plain_and_compressed(tmp_path: Path) -> None:
    content = idx((2, 3), bytes(range(6)))
    for data in (content, gzip.compress(content)):
        (tmp_path / "x").write_bytes(data)
        assert read_idx_shape(tmp_path / "x", rank=2) == (2, 3)
        assert read_idx(tmp_path / "x", rank=2).tolist() == [[0, 1, 2], [3, 4, 5]]


# --- image folders


def test_kodak_is_24_photographs(shared_data: Path) -> None:
    dataset = open_dataset("kodak")
    assert isinstance(dataset, Dataset)
    assert (len(dataset), dataset.shape, dataset.dtype) == (24, (None, None, 3), np.uint8)
    assert (dataset.layout, dataset.name) == ("hwc", "kodak:test")
    assert dataset[0]["image"].shape == (512, 768, 3)
    assert dataset[3]["image"].shape == (768, 512, 3)
    with pytest.raises(IndexError):
        dataset[24]


def test_a_folder_gives_its_images_by_name_as_stored(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    Image.fromarray(colour).save(tmp_path / "b.png")
    Image.fromarray(grey).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    dataset = open_dataset(f"folder:{tmp_path}")
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 2
    np.testing.assert_array_equal(dataset[0]["image"], grey)
    np.testing.assert_array_equal(dataset[1]["image"], colour)


def test_a_folder_of_broken_images_names_the_file(shared: Path, tmp_path: Path) -> None:
    for name in ("gray8.png", "truncated.png"):
        shutil.copy(shared / "data" / "broken" / name, tmp_path / name)
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset[0]["image"].shape == (64, 96)
    with pytest.raises(DataError, match=r"truncated\.png"):
        dataset[1]


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, reason in [("nowhere", "no such"), ("file.png", "not a folder"), ("empty", "no im")]:
        with pytest.raises(DataError, match=reason) as error:
            open_dataset(f"folder:{tmp_path / name}")
        assert name in error.value.message


# --- NumPy files


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", ">u2", "int32", "float32"])
def test_rows_keep_their_values_and_their_type(dtype: str, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 2, (5, 4, 6)).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    np.save(tmp_path / "f.npy", np.asfortranarray(array))
    np.savez(tmp_path / "x.npz", array)
    np.savez_compressed(tmp_path / "c.npz", array)
    for name in ("npy:x.npy", "npy:f.npy", "npz:x.npz", "npz:c.npz"):
        kind, _, file = name.partition(":")
        dataset = open_dataset(f"{kind}:{tmp_path / file}")
        assert isinstance(dataset, Dataset)
        assert (len(dataset), dataset.shape, dataset.layout) == (5, (4, 6), "hw")
        assert dataset.dtype == np.dtype(dtype).newbyteorder("=")
        row = dataset[3]["image"]
        assert row.dtype == dataset.dtype
        np.testing.assert_array_equal(row, array[3])
        for index in (-1, 5):
            with pytest.raises(IndexError):
                dataset[index]


def test_large_arrays_are_mapped_and_not_read(tmp_path: Path) -> None:
    array = np.zeros((64, 512, 512), np.uint8)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", data=array)
    del array
    tracemalloc.start()
    try:
        for kind in ("npy", "npz"):
            assert open_dataset(f"{kind}:{tmp_path / 'x'}.{kind}")[63]["image"].sum() == 0
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((8, 8), "hw"), ((8, 8, 3), "hwc"), ((3, 8, 8), "chw"), ((3, 8, 4), "hwc"),
     ((8, 8, 1), "hwc"), ((8, 8, 2), "hwc"), ((2, 8, 8), "chw"),
     ((784,), "none"), ((5, 8, 8), "none"), ((2, 2, 2, 2), "none")],
)  # fmt: skip
def test_layouts_are_guessed_from_shapes(shape: tuple[int, ...], layout: str) -> None:
    assert guess_layout(shape) == layout


def test_rows_that_are_no_images_are_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 10), np.float64))
    dataset = open_dataset(f"npy:{tmp_path / 'x.npy'}")
    assert (dataset.layout, dataset.fields, dataset.shape) == ("none", ("data",), (10,))
    assert dataset[0]["data"].shape == (10,)


def test_a_layout_may_be_given_and_must_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 8, 4), np.uint8))
    assert open_dataset(f"npy:{tmp_path / 'x.npy'}?layout=chw").layout == "chw"
    with pytest.raises(DataError, match="do not have the layout hw"):
        open_dataset(f"npy:{tmp_path / 'x.npy'}?layout=hw")
    with pytest.raises(UsageError, match="unknown value of layout: 'hcw'; did you"):
        open_dataset(f"npy:{tmp_path / 'x.npy'}?layout=hcw")


def test_an_archive_of_several_arrays_asks_which(tmp_path: Path) -> None:
    array = np.zeros((2, 3, 3), np.uint8)
    np.savez(tmp_path / "x.npz", one=array, two=array + 1)
    with pytest.raises(UsageError, match="one, two"):
        open_dataset(f"npz:{tmp_path / 'x.npz'}")
    with pytest.raises(UsageError, match="no array 'three'"):
        open_dataset(f"npz:{tmp_path / 'x.npz'}?key=three")
    assert open_dataset(f"npz:{tmp_path / 'x.npz'}?key=two")[0]["image"].max() == 1
    np.savez(tmp_path / "y.npz", labels=np.zeros(2), data=array + 2)
    assert open_dataset(f"npz:{tmp_path / 'y.npz'}")[0]["image"].max() == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("object_array.npy", "Python objects|not an .npz archive"),
        ("object_array.npz?key=labels", "Python objects"),
        ("truncated.npz", "damaged, or not an .npz archive"),
        ("nan_inf.npz", "not finite"),
        ("text.png", "not a NumPy array|not an .npz archive"),
        ("empty.png", "not a NumPy array|not an .npz archive"),
        ("malicious_pickle.pt", "not a NumPy array|not an .npz archive"),
        ("malicious_zip.pt", "not a NumPy array|no array"),
        ("nowhere.npy", "no such file"),
    ],
)
def test_damaged_and_hostile_arrays_are_refused(
    name: str, reason: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = shared / "data" / "broken" / name
    kinds = ["npz"] if ".npz" in name else ["npy", "npz"]
    for kind in kinds:
        with pytest.raises(DataError, match=reason) as error:
            open_dataset(f"{kind}:{path}")
        assert str(path).partition("?")[0] in error.value.message
        assert "\n" not in error.value.message
    assert not list(tmp_path.rglob("PWNED"))
    assert not (tmp_path.parent / "PWNED").exists()


def test_the_first_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    array = np.zeros((4, 8), np.float32)
    array[1, 3], array[2, 5], array[3, 0], array[3, 1] = np.nan, np.inf, -np.inf, np.nan
    np.savez(tmp_path / "x.npz", data=array)
    with pytest.raises(DataError) as error:
        open_dataset(f"npz:{tmp_path / 'x.npz'}")
    assert "x.npz[data]" in error.value.message
    assert "[1, 3] is nan, [2, 5] is inf, [3, 0] is -inf and 1 more" in error.value.message


def test_good_arrays_beside_a_hostile_one_can_be_used(shared: Path) -> None:
    path = shared / "data" / "broken" / "object_array.npz"
    assert len(open_dataset(f"npz:{path}?key=data")) == 2


def test_wrong_shapes_and_types_are_told_apart_by_their_records(shared: Path) -> None:
    broken = shared / "data" / "broken"
    assert open_dataset(f"npz:{broken / 'wrong_shape.npz'}").shape == (3000,)
    assert open_dataset(f"npz:{broken / 'wrong_dtype.npz'}").dtype == np.float64


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(5), "no rows"),
        (np.float64(1), "no rows"),
        (np.zeros((0, 3)), "no samples"),
        (np.zeros((2, 2), np.complex64), "not numeric"),
        (np.array([["a", "b"]]), "not numeric"),
        (np.zeros((2, 2), [("x", "u1"), ("y", "f4")]), "not numeric"),
        (np.zeros((2, 2), "M8[s]"), "not numeric"),
    ],
)
def test_arrays_that_are_no_rows_of_numbers_are_refused(
    array: np.ndarray, reason: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", array)
    for kind in ("npy", "npz"):
        with pytest.raises(DataError, match=reason):
            open_dataset(f"{kind}:{tmp_path / 'x'}.{kind}")


@pytest.mark.parametrize("shape", ["(-2, -8)", "(True, 16)", "(1,) * 70", str((1,) * 70)])
def test_a_header_with_a_shape_that_is_none_is_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    data = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(16)
    (tmp_path / "x.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", data)
    for name in ("npy:x.npy", "npz:x.npz"):
        kind, _, file = name.partition(":")
        with pytest.raises(DataError, match=rf"{file}.*not a NumPy array"):
            open_dataset(f"{kind}:{tmp_path / file}")


def test_a_stored_member_that_reaches_beyond_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, data=np.zeros((4, 1000), np.uint8))
    data = bytearray(path.read_bytes())
    sizes = (4128).to_bytes(4, "little")
    with zipfile.ZipFile(path) as archive:
        (info,) = archive.infolist()
    assert info.file_size == 4128
    directory = data.rindex(b"PK\x01\x02")
    larger = (1 << 20) + 128
    for place in (20, 24):
        assert data[directory + place : directory + place + 4] == sizes
        data[directory + place : directory + place + 4] = larger.to_bytes(4, "little")
    shape = data.index(b"(4, 1000)")
    data[shape : shape + 15] = b"(1024, 1024), }"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npz\[data\]: damaged archive: it ends early"):
        open_dataset(f"npz:{path}")


def test_an_array_shorter_or_longer_than_its_header_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((10, 10), np.uint8))
    whole = (tmp_path / "x.npy").read_bytes()
    for data in (whole[:-1], whole + b"x"):
        (tmp_path / "x.npy").write_bytes(data)
        with pytest.raises(DataError, match="declares 100 bytes of data, holds"):
            open_dataset(f"npy:{tmp_path / 'x.npy'}")
    huge = whole[:-100].replace(b"(10, 10), }", b"(10, 9999999999), }")
    (tmp_path / "x.npy").write_bytes(huge)
    with pytest.raises(DataError):
        open_dataset(f"npy:{tmp_path / 'x.npy'}")


def test_every_flipped_byte_of_an_archive_is_noticed_or_harmless(tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.uint8).reshape(2, 4, 8)
    np.savez_compressed(tmp_path / "x.npz", data=array)
    whole = (tmp_path / "x.npz").read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "x.npz").write_bytes(damaged)
        try:
            dataset = open_dataset(f"npz:{tmp_path / 'x.npz'}")
        except NcError as error:
            assert "\n" not in error.message
        else:
            np.testing.assert_array_equal(dataset[1][dataset.fields[0]], array[1])


def test_a_compressed_bomb_is_refused_without_reading_it(tmp_path: Path) -> None:
    header = b"\x93NUMPY\x01\x00v\x00" + (
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", header + bytes(1000))
    with pytest.raises(DataError, match="declares 1,000,000,000,000 bytes"):
        open_dataset(f"npz:{tmp_path / 'x.npz'}")

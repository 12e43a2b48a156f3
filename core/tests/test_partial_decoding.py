"""Single items without the others, and what is left of a damaged container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans.rans import Rans
from nc_core.container import ContainerReader
from nc_core.errors import CorruptFileError, PartlyRestoredError, UsageError
from nc_core.header import Header
from nc_core.images import Image, read_image, write_image
from nc_core.lossless import compress_source
from nc_core.restore import OpenContainer, restore_arrays, restore_files
from nc_core.sources import ArraySource, FileSource
from raw_model import BorrowingModel

CODER = Rans()
RANDOM = np.random.default_rng(0)
DIGITS = RANDOM.integers(0, 256, (20, 64, 64), np.uint8)  # one item fills a chunk
PROFILE = b"profile" * 9


@pytest.fixture
def array_file(tmp_path: Path) -> Path:
    path = tmp_path / "digits.ncz"
    compress_source(ArraySource(DIGITS, name="digits.npy"), path, BorrowingModel(), CODER)
    return path


@pytest.fixture
def image_file(tmp_path: Path) -> tuple[Path, list[NDArray[Any]]]:
    """Small images that share a chunk, a large one of many chunks, and a last one."""
    shapes = (9, 8), (9, 8), (200, 70, 3), (5, 6)
    pixels = [RANDOM.integers(0, 256, shape, np.uint8) for shape in shapes]
    paths = [tmp_path / f"{index}.png" for index in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        write_image(path, Image(image, PROFILE if image.ndim == 3 else None))
    compress_source(FileSource(paths), tmp_path / "images.ncz", BorrowingModel(), CODER)
    return tmp_path / "images.ncz", pixels


@contextmanager
def opened(path: Path, *, partial: bool = False) -> Iterator[OpenContainer]:
    with path.open("rb") as file:
        reader = ContainerReader(file, path.name, partial=partial)
        header = Header.from_json(reader.header, path.name)
        yield OpenContainer(reader, header, BorrowingModel(), CODER)


def flip(path: Path, kind: bytes, ordinal: int) -> None:
    """Flip a bit in the middle of a chunk, the ordinal-th of its kind."""
    data = bytearray(path.read_bytes())
    with opened(path) as container:
        reader = container.reader
        chunks = [i for i in range(len(reader.chunk_lengths)) if reader.chunk_type(i) == kind]
        lengths, chunk = reader.chunk_lengths, chunks[ordinal]
    footer = int.from_bytes(data[-12:-4], "little")
    data[footer - sum(lengths[chunk:]) + lengths[chunk] // 2] ^= 1
    path.write_bytes(data)


def test_an_item_of_an_array_is_read_alone(array_file: Path, tmp_path: Path) -> None:
    for damaged in (0, 18):  # so that decoding any other chunk fails
        flip(array_file, b"CODE", damaged)
    with opened(array_file) as container:
        (item,) = restore_arrays(container, [17])
        assert np.array_equal(item, DIGITS[17])
        paths = restore_files(container, tmp_path / "out", wanted=[17, 3])
    assert [path.name for path in paths] == ["digits-03.npy", "digits-17.npy"]
    assert np.array_equal(np.load(paths[1]), DIGITS[17])


def test_an_image_of_many_is_read_alone_with_its_profile(
    image_file: tuple[Path, list[NDArray[Any]]], tmp_path: Path
) -> None:
    path, pixels = image_file
    flip(path, b"CODE", 0)
    with opened(path) as container:
        (restored,) = restore_files(container, tmp_path / "out", wanted=[2])
        last, large = restore_arrays(container, [3, 2])
    image = read_image(restored)
    assert restored.name == "2.png"
    assert image.icc == PROFILE
    for found in (image.pixels, large):
        assert np.array_equal(found, pixels[2])
    assert np.array_equal(last, pixels[3])


@pytest.mark.parametrize("index", [-1, 20])
def test_an_item_that_is_not_there_is_refused(array_file: Path, tmp_path: Path, index: int) -> None:
    with opened(array_file) as container:
        with pytest.raises(UsageError, match=f"no item {index}\nit holds 20 items"):
            restore_files(container, tmp_path / "out", wanted=[index])
        with pytest.raises(UsageError):
            restore_arrays(container, [index])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_rest_of_a_damaged_array_is_kept_with_zeros(
    array_file: Path, tmp_path: Path, threads: int
) -> None:
    for ordinal in (4, 5, 19):
        flip(array_file, b"CODE", ordinal)
    with opened(array_file) as container:
        with pytest.raises(CorruptFileError, match="damaged at byte"):
            restore_files(container, tmp_path / "out", threads=threads)
        assert not (tmp_path / "out").exists()
        with pytest.raises(PartlyRestoredError, match="3 of 20 items lost: 4 to 5, 19; zeros") as e:
            restore_files(container, tmp_path / "out", keep_going=True, threads=threads)
    assert e.value.lost == [4, 5, 19]
    expected = DIGITS.copy()
    expected[e.value.lost] = 0
    assert np.array_equal(np.load(tmp_path / "out" / "digits.npy"), expected)
    assert e.value.paths == [tmp_path / "out" / "digits.npy"]


@pytest.mark.parametrize("chunk", [0, 1, 3, -1])
def test_the_other_images_of_a_damaged_file_are_kept(
    image_file: tuple[Path, list[NDArray[Any]]], tmp_path: Path, chunk: int
) -> None:
    path, pixels = image_file
    flip(path, b"CODE", chunk)
    with opened(path) as container, pytest.raises(PartlyRestoredError) as error:
        restore_files(container, tmp_path / "out", keep_going=True)
    lost = {0: [0, 1], 1: [2], 3: [2], -1: [3]}[chunk]
    assert error.value.lost == lost
    kept = [index for index in range(4) if index not in lost]
    assert error.value.paths == [tmp_path / "out" / f"{index}.png" for index in kept]
    for index, restored in zip(kept, error.value.paths, strict=True):
        assert np.array_equal(read_image(restored).pixels, pixels[index])


def test_an_image_without_its_damaged_profile_is_kept(
    image_file: tuple[Path, list[NDArray[Any]]], tmp_path: Path
) -> None:
    path, pixels = image_file
    flip(path, b"ICCP", 0)
    with opened(path) as container, pytest.raises(PartlyRestoredError, match="metadata") as error:
        restore_files(container, tmp_path / "out", keep_going=True)
    image = read_image(error.value.paths[2])
    assert np.array_equal(image.pixels, pixels[2])
    assert image.icc is None


def test_chosen_items_of_a_damaged_array_are_not_replaced_by_zeros(
    array_file: Path, tmp_path: Path
) -> None:
    flip(array_file, b"CODE", 4)
    with opened(array_file) as container, pytest.raises(PartlyRestoredError) as error:
        restore_files(container, tmp_path / "out", wanted=[4, 5], keep_going=True)
    assert error.value.hint == "1 of 20 items lost: 4"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["digits-05.npy"]


def test_an_array_that_fails_its_checksum_only_is_written_whole(
    array_file: Path, tmp_path: Path
) -> None:
    with opened(array_file) as container:
        container.reader.footer["sha256"] = ["0" * 64]
        with pytest.raises(CorruptFileError, match="does not match its checksum"):
            restore_files(container, tmp_path / "out")
        with pytest.raises(PartlyRestoredError, match="no telling which") as error:
            restore_files(container, tmp_path / "out", keep_going=True)
    assert error.value.lost == []
    assert np.array_equal(np.load(tmp_path / "out" / "digits.npy"), DIGITS)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_whole_items_of_a_truncated_array_are_kept(
    array_file: Path, tmp_path: Path, threads: int
) -> None:
    with opened(array_file) as container:
        lengths = container.reader.chunk_lengths
    cut = array_file.read_bytes()[: -sum(lengths[17:])]  # into the 17th, as the footer goes too
    array_file.write_bytes(cut)
    with pytest.raises(CorruptFileError, match="truncated") as refused, opened(array_file):
        pass
    assert refused.value.hint is None  # options are for those who have a command line
    with opened(array_file, partial=True) as container:
        with pytest.raises(CorruptFileError, match="truncated"):
            restore_files(container, tmp_path / "out", threads=threads)
        with pytest.raises(PartlyRestoredError, match="not be compared with checksums") as error:
            restore_files(container, tmp_path / "out", keep_going=True, threads=threads)
        kept = 20 - len(error.value.lost)
        assert kept in (16, 17)
        assert error.value.lost == list(range(kept, 20))
        with pytest.raises(CorruptFileError, match="truncated"):
            restore_files(container, tmp_path / "one", wanted=[19], keep_going=True)
    expected = DIGITS.copy()
    expected[kept:] = 0
    assert np.array_equal(np.load(tmp_path / "out" / "digits.npy"), expected)


def test_a_container_without_its_footer_gives_everything_back(
    image_file: tuple[Path, list[NDArray[Any]]], tmp_path: Path
) -> None:
    path, pixels = image_file
    path.write_bytes(path.read_bytes()[:-1])
    with (
        opened(path, partial=True) as container,
        pytest.raises(PartlyRestoredError, match="no item is lost") as error,
    ):
        restore_files(container, tmp_path / "out", keep_going=True)
    for restored, image in zip(error.value.paths, pixels, strict=True):
        assert np.array_equal(read_image(restored).pixels, image)
    assert read_image(error.value.paths[2]).icc == PROFILE


def test_images_truncated_anywhere_are_right_or_lost(
    image_file: tuple[Path, list[NDArray[Any]]], tmp_path: Path
) -> None:
    path, pixels = image_file
    whole = path.read_bytes()
    kept: list[int] = []
    end_of_last = len(whole) - 1000
    for end in (*range(0, end_of_last, 997), *range(end_of_last, len(whole), 20)):
        path.write_bytes(whole[:end])
        try:
            with opened(path, partial=True) as container:
                restore_files(container, tmp_path / "out", keep_going=True, force=True)
        except PartlyRestoredError as error:
            kept.append(len(error.paths))
            assert error.lost == list(range(kept[-1], 4))
            for restored, image in zip(error.paths, pixels, strict=False):
                assert np.array_equal(read_image(restored).pixels, image)
        except CorruptFileError:
            assert not kept
    assert sorted(set(kept)) == [2, 3, 4]
    assert kept == sorted(kept)


def test_no_item_chosen_is_no_item_decoded(array_file: Path, tmp_path: Path) -> None:
    with opened(array_file) as container:
        assert restore_arrays(container, []) == []
        assert restore_files(container, tmp_path / "out", wanted=[]) == []


def test_nothing_is_written_where_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.ncz"
    compress_source(ArraySource(DIGITS[0]), path, BorrowingModel(), CODER)
    flip(path, b"CODE", 0)
    with opened(path) as container, pytest.raises(CorruptFileError) as error:
        restore_files(container, tmp_path / "out", keep_going=True)
    assert not isinstance(error.value, PartlyRestoredError)
    assert not (tmp_path / "out").exists()


def test_progress_of_chosen_items_ends_at_their_samples(array_file: Path) -> None:
    seen: list[tuple[int, int]] = []
    with opened(array_file) as container:
        restore_arrays(container, [1, 9], progress=lambda *amounts: seen.append(amounts))
    assert seen == [(4096, 8192), (8192, 8192)]

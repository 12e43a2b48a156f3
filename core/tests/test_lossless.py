"""The engine: any items, any model, any number of threads, the same bytes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans.rans import Rans
from nc_core.blocks import Tiling, plan_chunks
from nc_core.container import ContainerReader
from nc_core.content import Content, check_name
from nc_core.datasets.folder import ImageFiles
from nc_core.errors import CorruptFileError, DataError, NcError, WorkError
from nc_core.header import Header, stored_rate
from nc_core.images import Image, read_image, write_image
from nc_core.lossless import compress_source, decode_container
from nc_core.rates import Rate
from nc_core.sources import ArraySource, DatasetSource, FileSource
from raw_model import BorrowingModel, RawModel

CODER = Rans()
RANDOM = np.random.default_rng(0)


def noise(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    return RANDOM.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def decoded(path: Path, model: RawModel, threads: int = 1) -> list[NDArray[Any]]:
    with path.open("rb") as file:
        reader = ContainerReader(file, path.name)
        header = Header.from_json(reader.header, path.name)
        return [i.samples for i in decode_container(reader, header, model, CODER, threads=threads)]


@pytest.mark.parametrize("model", [RawModel(), BorrowingModel()], ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("array", "layout"),
    [
        (noise(5, 7), None),
        (noise(5, 7, 3), None),
        (noise(3, 5, 7), "chw"),
        (noise(1, 1), None),
        (noise(70, 80, 4), None),  # more than one tile
        (noise(50, 28, 28), None),
        (noise(7, 9, 11, 2, dtype="uint16"), None),
        (noise(4, 3, 9, 8), "nchw"),
        (noise(1000), "none"),
        (noise(6, 10), "nnone"),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_arrays_come_back(
    tmp_path: Path, model: RawModel, array: NDArray[Any], layout: str | None
) -> None:
    path = tmp_path / "x.ncz"
    rate = compress_source(ArraySource(array, layout), path, model, CODER)
    back = decoded(path, model)
    source = ArraySource(array, layout).content
    joined = np.stack(back) if source.repeat is not None else back[0]
    assert joined.dtype == array.dtype
    assert np.array_equal(joined, array)
    assert rate.verified
    assert rate.total_bits == 8 * path.stat().st_size
    assert rate.dims == array.size
    assert rate.bound_bits >= 8 * array.nbytes


def test_threads_and_batches_do_not_change_a_byte(tmp_path: Path) -> None:
    array = noise(20, 64, 64)
    for threads in (1, 3):
        compress_source(
            ArraySource(array), tmp_path / f"{threads}", BorrowingModel(), CODER, threads=threads
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "3").read_bytes()
    assert np.array_equal(np.stack(decoded(tmp_path / "1", BorrowingModel(), 2)), array)


def test_the_rate_in_the_file_is_the_rate_that_was_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.ncz"
    model = BorrowingModel()
    rate = compress_source(ArraySource(noise(20, 64, 64)), path, model, CODER)
    with path.open("rb") as file:
        reader = ContainerReader(file, "x.ncz")
        stored = stored_rate(reader, Header.from_json(reader.header, "x.ncz"))
    for name in ("total_bits", "payload_bits", "header_bits", "initial_bits", "bits_per_dim"):
        assert getattr(stored, name) == getattr(rate, name)
    assert stored.bound_bits == pytest.approx(rate.bound_bits, abs=1e-3)
    chunks = 20
    assert rate.initial_bits > 0
    assert rate.payload_bits == pytest.approx(rate.bound_bits + rate.initial_bits, abs=200 * chunks)


def test_every_flipped_byte_of_a_file_is_an_integrity_error(tmp_path: Path) -> None:
    path = tmp_path / "x.ncz"
    compress_source(ArraySource(noise(6, 9, 3)), path, BorrowingModel(), CODER)
    data = path.read_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(CorruptFileError):
            decoded(path, BorrowingModel())


def test_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ncz"
    compress_source(ArraySource(noise(6, 9, 3)), path, RawModel(), CODER)
    with pytest.raises(CorruptFileError, match="made with model 'raw'"):
        decoded(path, BorrowingModel())


def test_a_machine_that_computes_differently_is_refused(tmp_path: Path) -> None:
    class Elsewhere(RawModel):
        def probe(self) -> str:
            return "e" * 64

    path = tmp_path / "x.ncz"
    compress_source(ArraySource(noise(6, 9, 3)), path, RawModel(), CODER)
    with pytest.raises(CorruptFileError, match="computes other numbers"):
        decoded(path, Elsewhere())


def test_a_file_that_does_not_decode_is_not_kept(tmp_path: Path) -> None:
    class Lossy(RawModel):
        def push(self, coder: Any, message: Any, blocks: NDArray[Any]) -> float:
            return super().push(coder, message, blocks & 0xFE)

    array = np.full((4, 4), 255, np.uint8)
    with pytest.raises(WorkError, match="does not decode"):
        compress_source(ArraySource(array), tmp_path / "x.ncz", Lossy(), CODER)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "x.ncz"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match="exists"):
        compress_source(ArraySource(noise(4, 4)), path, RawModel(), CODER)
    assert path.read_bytes() == b"mine"
    compress_source(ArraySource(noise(4, 4)), path, RawModel(), CODER, force=True)
    assert path.read_bytes() != b"mine"


def test_image_files_keep_pixels_and_metadata(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    write_image(tmp_path / "a.png", Image(noise(9, 8, 3), b"profile" * 9, exif))
    write_image(tmp_path / "b.png", Image(noise(80, 90)))
    source = FileSource([tmp_path / "a.png", tmp_path / "b.png"])
    path = tmp_path / "x.ncz"
    compress_source(source, path, RawModel(), CODER)
    with path.open("rb") as file:
        reader = ContainerReader(file, "x")
        header = Header.from_json(reader.header, "x")
        items = list(decode_container(reader, header, RawModel(), CODER))
    assert items[0].metadata == {b"ICCP": b"profile" * 9, b"EXIF": exif}
    assert items[1].metadata == {}
    assert np.array_equal(items[1].samples, read_image(tmp_path / "b.png").pixels)


@pytest.mark.parametrize(
    "array", [np.zeros((0, 4), np.uint8), np.zeros((4, 4)), np.zeros((4, 4), np.int16)]
)
def test_what_cannot_be_coded_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(DataError):
        ArraySource(array)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "/a",
        "C:a",
        "con",
        "NUL.png",
        "a\nb",
        "a.",
        "x" * 300,
        "a\udc80",
    ],
)
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(NcError):
        check_name(name)
    data = {"kind": "images", "items": [{"name": name, "shape": [1, 1], "dtype": "uint8"}]}
    if not name.endswith((".", "con", "NUL.png")):
        with pytest.raises(CorruptFileError):
            Content.from_json(data, "x.ncz")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"shape": [0, 4]},
        {"shape": [-1, 4]},
        {"shape": "44"},
        {"shape": [4.0, 4]},
        {"shape": []},
        {"dtype": "object"},
        {"layout": "hwc"},
        {"layout": 3},
        {"name": "../x"},
    ],
    ids=str,
)
def test_a_header_of_impossible_content_is_refused(change: dict[str, Any]) -> None:
    good = {"kind": "array", "shape": [4, 4], "dtype": "uint8", "layout": "hw", "name": "x.npy"}
    assert len(Content.from_json(good, "x.ncz")) == 1
    with pytest.raises(CorruptFileError):
        Content.from_json(good | change, "x.ncz")


def test_a_header_that_claims_a_huge_image_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.ncz"
    compress_source(ArraySource(noise(6, 9)), path, RawModel(), CODER)
    with path.open("rb") as file:
        reader = ContainerReader(file, "x")
        reader.header["content"]["shape"] = [1 << 30, 1 << 30]
        header = Header.from_json(reader.header, "x")
        with pytest.raises(CorruptFileError, match="do not fit"):
            next(decode_container(reader, header, RawModel(), CODER))


def test_tiles_cover_an_item_once() -> None:
    content = ArraySource(np.zeros((301, 97, 3), np.uint8)).content
    for tiling in (Tiling(0, 0, 1000), Tiling(32, 32, 4096), Tiling(0, 0, 1 << 20)):
        seen = np.zeros((301, 97), int)
        for tiles in plan_chunks(content, tiling):
            assert len({tile.shape for tile in tiles}) == 1
            for tile in tiles:
                seen[
                    tile.top : tile.top + tile.shape[1], tile.left : tile.left + tile.shape[2]
                ] += 1
        assert (seen == 1).all()


def test_images_of_a_dataset_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = [noise(9, 8), noise(7, 6, 3)]
    for index, array in enumerate(pixels):
        write_image(tmp_path / f"{index}.png", Image(array))
    dataset = ImageFiles("folder:x", sorted(tmp_path.iterdir()))
    read: list[int] = []

    def counted(path: Path) -> Image:
        read.append(int(path.stem))
        return read_image(path)

    monkeypatch.setattr("nc_core.datasets.folder.read_image", counted)
    source = DatasetSource(dataset)
    assert read == []
    assert [source.content[i].shape for i in (0, 1)] == [(9, 8), (7, 6, 3)]
    assert [np.array_equal(source.load(i)[0], pixels[i]) for i in (0, 1)] == [True, True]
    assert read == [0, 1]


def test_samples_that_cannot_be_coded_are_named() -> None:
    with pytest.raises(DataError, match=r"float\.npy: samples of type float64"):
        ArraySource(np.zeros((4, 4)), name="float.npy")


def test_a_model_is_not_recommended_to_itself(tmp_path: Path) -> None:
    source = ArraySource(noise(5, 4, 4), "chw")
    other, predictive = RawModel(), RawModel()
    predictive.name = "predictive"
    for model, hint in ((other, "model 'predictive' codes 1 to 4 channels"), (predictive, None)):
        with pytest.raises(DataError) as caught:
            compress_source(source, tmp_path / "x.ncz", model, CODER)
        assert caught.value.hint == hint


def test_a_rate_without_a_bound_is_valid_json() -> None:
    rate = Rate(
        items=1, dims=1, pixels=1, total_bits=8, payload_bits=0, initial_bits=0, bound_bits=0.0
    )
    assert rate.to_json()["overhead_percent"] is None

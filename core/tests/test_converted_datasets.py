"""CIFAR-10 and downsampled ImageNet: official files become arrays, or are refused."""

from __future__ import annotations

import errno
import gzip
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cifar_batches
from nc_core import open_dataset
from nc_core.datasets.converted import Part, SplitSource, convert
from nc_core.datasets.exclusive import alone
from nc_core.datasets.manifest import read_manifest
from nc_core.datasets.prepare import (
    FileState,
    is_prepared,
    prepare_dataset,
    prepared_manifest,
    verify_dataset,
)
from nc_core.errors import DataError, NcError, UsageError, WorkError
from nc_core.models import installed
from nc_core.protocols import Dataset
from nc_core.specs import DatasetSpec


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of this test."""
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def spec(name: str) -> DatasetSpec:
    return installed().find(DatasetSpec, name)


def cifar(folder: Path, images: int = 2) -> np.ndarray:
    return cifar_batches.write_batches(folder / "cifar-10-batches-py", images)


def npz_batches(folder: Path, side: int = 32, **changes: Any) -> np.ndarray:
    """Two training batches and the validation batch; one array of all rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(1).integers(0, 256, (3, 4, 3 * side * side), np.uint8)
    names = ("train_data_batch_1", "train_data_batch_2", "val_data")
    for number, (name, some) in enumerate(zip(names, rows, strict=True)):
        labels = np.arange(1, 5) + 10 * number
        save = np.savez_compressed if number else np.savez
        save(folder / f"{name}.npz", **({"data": some, "labels": labels} | changes))
    return rows


def planes(image: np.ndarray) -> np.ndarray:
    """A row of an official array from an image."""
    return image.transpose(2, 0, 1).ravel()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# --- CIFAR-10


@pytest.mark.parametrize("form", ["folder", "folder above", "archive", "folder of the archive"])
def test_cifar10_is_prepared_from_every_form_of_it(form: str, tmp_path: Path, data: Path) -> None:
    rows = cifar(tmp_path / "have")
    folder, source = tmp_path / "have" / "cifar-10-batches-py", tmp_path / "have"
    if form == "folder":
        source = folder
    elif "archive" in form:
        source = tmp_path / "cifar-10-python.tar.gz"
        cifar_batches.pack(folder, source)
        shutil.rmtree(tmp_path / "have")
        source = tmp_path if form == "folder of the archive" else source
    assert len(prepare_dataset(spec("cifar10"), source)) == 4
    for split, first, count in (("train", 0, 10), ("test", 10, 2)):
        dataset = open_dataset(f"cifar10:{split}")
        assert isinstance(dataset, Dataset)
        assert (len(dataset), dataset.shape, dataset.dtype) == (count, (32, 32, 3), np.uint8)
        assert (dataset.layout, dataset.range, dataset.fields) == (
            "hwc",
            (0, 255),
            ("image", "label"),
        )
        for index in range(count):
            np.testing.assert_array_equal(planes(dataset[index]["image"]), rows[first + index])
            assert dataset[index]["label"] == index % 2
        for outside in (-1, count):
            with pytest.raises(IndexError):
                dataset[outside]


def test_an_archive_that_the_user_put_into_the_folder_stays(tmp_path: Path, data: Path) -> None:
    cifar(tmp_path / "have")
    archive = data / "cifar10" / "cifar-10-python.tar.gz"
    archive.parent.mkdir(parents=True)
    cifar_batches.pack(tmp_path / "have" / "cifar-10-batches-py", archive)
    for source in (archive, archive.parent):
        assert len(prepare_dataset(spec("cifar10"), source, force=True)) == 4
        assert archive.exists()


def test_the_files_of_users_are_read(shared: Path, data: Path) -> None:
    progress: list[tuple[int, int]] = []
    prepare_dataset(
        spec("cifar10"),
        shared / "data" / "cifar10-format-standin",
        converting=lambda done, total: progress.append((done, total)),
    )
    assert progress[-1] == (1200, 1200)
    assert len(open_dataset("cifar10:train")) == 1000
    manifest = prepared_manifest(spec("cifar10"))
    assert manifest is not None
    assert manifest.source == "cifar10-format-standin"
    assert (manifest.items["test"].found, manifest.items["test"].official) == (200, 10_000)


def test_a_hostile_batch_is_refused_and_nothing_is_left(
    shared: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = shared / "data" / "broken" / "malicious_cifar"
    with pytest.raises(DataError, match=r"data_batch_1: refused.*builtins\.open") as error:
        prepare_dataset(spec("cifar10"), hostile)
    assert "\n" not in error.value.message
    assert not list(tmp_path.iterdir())
    assert not (tmp_path.parent / "PWNED").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x02}.", "no array 'data'"),
        (cifar_batches.batch(np.zeros((4, 3000), np.uint8), range(4)), r"\(4, 3000\), expected"),
        (cifar_batches.batch(np.zeros((2, 3072)), [0, 1], dtype="f8"), "f8 where uint8"),
        (cifar_batches.batch(np.zeros((2, 3072), np.uint8), [0]), "one label for each of 2"),
        (cifar_batches.batch(np.zeros((2, 3072), np.uint8), [0, 10]), "not 0 to 9"),
        (b"no pickle", "damaged|refused"),
    ],
)
def test_a_batch_that_is_none_is_refused_by_name(
    content: bytes, reason: str, tmp_path: Path, data: Path
) -> None:
    cifar(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match=reason) as error:
        prepare_dataset(spec("cifar10"), tmp_path)
    assert "data_batch_3" in error.value.message
    assert not data.exists()


def test_batches_that_are_not_there_are_named(tmp_path: Path, data: Path) -> None:
    cifar(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(DataError, match="not there: data_batch_4"):
        prepare_dataset(spec("cifar10"), tmp_path)
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        prepare_dataset(spec("cifar10"), tmp_path / "nowhere")


def test_a_damaged_archive_is_refused(tmp_path: Path, data: Path) -> None:
    cifar(tmp_path)
    whole = tmp_path / "x.tar.gz"
    cifar_batches.pack(tmp_path / "cifar-10-batches-py", whole)
    content = whole.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[: len(content) // 2], bytes(flipped), b"text", b""):
        (tmp_path / "damaged.tar.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged\.tar\.gz") as error:
            prepare_dataset(spec("cifar10"), tmp_path / "damaged.tar.gz")
        assert "\n" not in error.value.message
    assert not data.exists()


def test_an_archive_cannot_write_elsewhere_or_grow_without_end(tmp_path: Path, data: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        member = tarfile.TarInfo("../../PWNED")
        file.addfile(member)
    with pytest.raises(DataError, match="not there: data_batch_1"):
        prepare_dataset(spec("cifar10"), archive)
    huge = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    huge.size = 1 << 40
    archive.write_bytes(gzip.compress(huge.tobuf() + bytes(1024)))
    with pytest.raises(DataError, match="more than 67,108,864 bytes"):
        prepare_dataset(spec("cifar10"), archive)
    assert not list(tmp_path.rglob("PWNED"))


# --- downsampled ImageNet


@pytest.mark.parametrize(("name", "side"), [("imagenet32", 32), ("imagenet64", 64)])
def test_npz_batches_become_arrays(name: str, side: int, tmp_path: Path, data: Path) -> None:
    rows = npz_batches(tmp_path / "have", side)
    prepare_dataset(spec(name), tmp_path / "have")
    train, test = open_dataset(f"{name}:train"), open_dataset(f"{name}:test")
    assert (len(train), len(test), train.shape) == (8, 4, (side, side, 3))
    np.testing.assert_array_equal(planes(train[5]["image"]), rows[1, 1])
    np.testing.assert_array_equal(planes(test[3]["image"]), rows[2, 3])
    assert (int(train[5]["label"]), int(test[0]["label"])) == (12, 21)


def test_png_folders_become_arrays_without_labels(tmp_path: Path, data: Path) -> None:
    rows = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), np.uint8)
    for folder, numbers in (("train_64x64", (0, 1)), ("valid_64x64", (2,))):
        (tmp_path / "have" / folder).mkdir(parents=True)
        for number in numbers:
            Image.fromarray(rows[number]).save(tmp_path / "have" / folder / f"{number:05}.png")
    prepare_dataset(spec("imagenet64"), tmp_path)
    train = open_dataset("imagenet64:train")
    assert train.fields == ("image",)
    np.testing.assert_array_equal(train[1]["image"], rows[1])
    np.testing.assert_array_equal(open_dataset("imagenet64:test")[0]["image"], rows[2])
    Image.fromarray(rows[0, :32]).save(tmp_path / "have" / "train_64x64" / "00001.png")
    with pytest.raises(DataError, match=r"00001\.png: uint8 \(32, 64, 3\), expected"):
        prepare_dataset(spec("imagenet64"), tmp_path, force=True)


def test_the_samples_of_users_are_read(shared: Path, data: Path) -> None:
    for name, folder, counts in (
        ("imagenet32", "imagenet32-sample", (757, 100)),
        ("imagenet64", "imagenet64-sample", (200, 50)),
    ):
        prepare_dataset(spec(name), shared / "data" / folder)
        found = tuple(len(open_dataset(f"{name}:{split}")) for split in ("train", "test"))
        assert found == counts


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("wrong_shape.npz", r"\[data\]: an array of shape \(4, 3000\), expected \(n, 3072\)"),
        ("wrong_dtype.npz", r"\[data\]: samples of type float64, expected uint8"),
        ("truncated.npz", "damaged, or not an .npz archive"),
        ("object_array.npz", r"\[labels\]: holds Python objects"),
        ("object_array.npy", "damaged, or not an .npz archive"),
        ("nan_inf.npz", r"\(4, 8\), expected"),
    ],
)
def test_broken_batches_are_refused_by_name(
    file: str, reason: str, shared: Path, tmp_path: Path, data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    npz_batches(tmp_path / "have")
    shutil.copy(shared / "data" / "broken" / file, tmp_path / "have" / "train_data_batch_2.npz")
    with pytest.raises(DataError, match=reason) as error:
        prepare_dataset(spec("imagenet32"), tmp_path / "have")
    assert "train_data_batch_2.npz" in error.value.message
    assert "\n" not in error.value.message
    assert not data.exists()
    assert not list(tmp_path.rglob("PWNED"))


def test_a_flipped_byte_in_an_archive_is_found_and_nothing_is_left(
    tmp_path: Path, data: Path
) -> None:
    npz_batches(tmp_path / "have")
    for name in ("train_data_batch_1.npz", "val_data.npz"):  # stored, and compressed
        path = tmp_path / "have" / name
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[2000] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{name}: damaged"):
            prepare_dataset(spec("imagenet32"), tmp_path / "have")
        assert not data.exists()
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": np.arange(3)}, r"int64 \(3,\), expected integers \(4,\)"),
        ({"labels": np.zeros(4)}, "float64"),
        ({"labels": np.arange(4)}, "not 1 to 1000"),
        ({"labels": np.arange(1, 5) + 1000}, "not 1 to 1000"),
    ],
)
def test_labels_that_are_none_are_refused(
    changes: Any, reason: str, tmp_path: Path, data: Path
) -> None:
    npz_batches(tmp_path / "have", **changes)
    with pytest.raises(DataError, match=reason):
        prepare_dataset(spec("imagenet32"), tmp_path / "have")
    assert not data.exists()


def test_missing_batches_are_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(DataError, match=r"neither train_data_batch_1.npz and val_data.npz, nor"):
        prepare_dataset(spec("imagenet32"), tmp_path)
    npz_batches(tmp_path)
    (tmp_path / "train_data_batch_1.npz").unlink()
    (tmp_path / "val_data.npz").unlink()
    with pytest.raises(DataError, match=r"not there: train_data_batch_1.npz, val_data.npz"):
        prepare_dataset(spec("imagenet32"), tmp_path)
    np.savez(tmp_path / "val_data.npz", x=np.zeros(3))
    np.savez(tmp_path / "train_data_batch_1.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="no array 'data'"):
        prepare_dataset(spec("imagenet32"), tmp_path)


# --- what is prepared


def test_damage_is_found_and_mended(tmp_path: Path, data: Path) -> None:
    cifar(tmp_path)
    assert not is_prepared(spec("cifar10"))
    with pytest.raises(DataError, match="not prepared"):
        verify_dataset(spec("cifar10"))
    with pytest.raises(DataError, match="not prepared"):
        open_dataset("cifar10")
    prepare_dataset(spec("cifar10"), tmp_path)
    assert is_prepared(spec("cifar10"))
    assert {check.state for check in verify_dataset(spec("cifar10"))} == {FileState.RIGHT}
    assert prepare_dataset(spec("cifar10"), tmp_path / "nowhere") == []
    path = data / "cifar10" / "train.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    states = {check.file.name: check.state for check in verify_dataset(spec("cifar10"))}
    assert states["train.npy"] is FileState.WRONG_CONTENT
    assert states["test.npy"] is FileState.RIGHT
    assert len(prepare_dataset(spec("cifar10"), tmp_path)) == 4
    assert {check.state for check in verify_dataset(spec("cifar10"))} == {FileState.RIGHT}
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"train\.npy"):
        open_dataset("cifar10:train")


def test_force_prepares_again_from_another_source(tmp_path: Path, data: Path) -> None:
    cifar(tmp_path / "two")
    cifar(tmp_path / "three", images=3)
    prepare_dataset(spec("cifar10"), tmp_path / "two")
    assert prepare_dataset(spec("cifar10"), tmp_path / "three") == []
    prepare_dataset(spec("cifar10"), tmp_path / "three", force=True)
    assert len(open_dataset("cifar10:test")) == 3


def test_a_damaged_manifest_is_reported(tmp_path: Path, data: Path) -> None:
    cifar(tmp_path)
    prepare_dataset(spec("cifar10"), tmp_path)
    path = data / "cifar10" / "prepared.json"
    whole = path.read_text()
    for text in ("", "[]", "{}", whole.replace("test.npy", "../x"), whole.replace("/1", "/9")):
        path.write_text(text)
        with pytest.raises(DataError, match=r"prepared\.json: damaged") as error:
            read_manifest(data / "cifar10")
        assert "--force" in str(error.value)
    prepare_dataset(spec("cifar10"), tmp_path)
    assert len(open_dataset("cifar10")) == 10


def test_what_cannot_be_downloaded_says_where_it_is_offered(data: Path) -> None:
    with pytest.raises(UsageError, match="cannot be downloaded") as error:
        prepare_dataset(spec("imagenet32"))
    assert "https://image-net.org" in str(error.value.hint)
    assert "nc data prepare imagenet32 --from PATH" in str(error.value.hint)


def test_every_error_leaves_what_was_prepared(tmp_path: Path, data: Path) -> None:
    cifar(tmp_path)
    prepare_dataset(spec("cifar10"), tmp_path)
    with pytest.raises(NcError):
        prepare_dataset(spec("cifar10"), tmp_path / "nowhere", force=True)
    assert len(open_dataset("cifar10")) == 10
    assert names_in(data) == ["cifar10"]


def test_a_forced_conversion_that_fails_leaves_the_old_arrays(tmp_path: Path, data: Path) -> None:
    cifar(tmp_path)
    prepare_dataset(spec("cifar10"), tmp_path)
    before = names_in(data / "cifar10")

    def fail(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_dataset(spec("cifar10"), tmp_path, converting=fail, force=True)
    assert names_in(data / "cifar10") == before
    assert {check.state for check in verify_dataset(spec("cifar10"))} == {FileState.RIGHT}
    (data / "cifar10" / "test.npy").unlink()
    (data / "cifar10" / "test.npy").mkdir()
    with pytest.raises(DataError, match=r"test\.npy: is a folder"):
        prepare_dataset(spec("cifar10"), tmp_path, force=True)
    assert (data / "cifar10" / "prepared.json").exists()


def converted(folder: Path, failing: OSError | None = None) -> None:
    """Convert one image from ``photos.zip``, which cannot be read to its end if that is said."""

    def read() -> Iterator[Part]:
        yield np.zeros((1, 2, 2, 3), np.uint8), None
        if failing is not None:
            raise failing

    convert(folder, "photos.zip", {"train": SplitSource(1, 1, 2, read)})


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, named in ((None, "photos.zip"), ("/mine/1.png", "/mine/1.png")):
        with pytest.raises(DataError) as error:
            converted(tmp_path / "toy", OSError(errno.EIO, "Input/output error", path))
        assert error.value.message == f"{named}: input/output error"
    assert names_in(tmp_path) == []


def test_a_file_that_cannot_be_written_is_called_by_its_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WorkError) as error:
        converted(tmp_path / "toy")
    assert error.value.message == f"{tmp_path / 'toy' / 'train.npy'}: no space left on device"
    assert names_in(tmp_path) == []


def test_only_errors_of_the_lock_name_the_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), alone(tmp_path / "toy"):
        raise FileNotFoundError("elsewhere")
    assert names_in(tmp_path) == []
    (tmp_path / ".toy.lock").mkdir()
    with pytest.raises(DataError, match=r"\.toy\.lock: is a directory"), alone(tmp_path / "toy"):
        pass


def test_what_cannot_be_downloaded_is_proposed_with_the_users_files(data: Path) -> None:
    for act in (lambda: verify_dataset(spec("imagenet32")), lambda: open_dataset("imagenet32")):
        with pytest.raises(DataError, match="not prepared") as error:
            act()
        assert str(error.value.hint).startswith("nc data prepare imagenet32 --from PATH")

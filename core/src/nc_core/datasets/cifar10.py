"""CIFAR-10: 32x32 colour images of ten kinds, from the official "python version".

Its batches are pickles; they are read by a machine that calls nothing
(:mod:`nc_core.datasets.plain_pickle`), out of the archive or a folder.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.converted import ConvertedImages, Labels, Part, SplitSource, rows_to_images
from nc_core.datasets.opening import DatasetRequest
from nc_core.datasets.plain_pickle import read_plain_pickle
from nc_core.errors import DataError
from nc_core.files import describe_os_error

__all__ = ["open_cifar10", "read_cifar10"]

_SIDE = 32
_CLASSES = 10
_BATCHES = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
_OFFICIAL = {"train": 50_000, "test": 10_000}
_ARCHIVE = "cifar-10-python.tar.gz"
_FOLDER = "cifar-10-batches-py"
_MOST_BYTES = 64 << 20  # an official batch has 31,035,704
_MOST_MEMBERS = 100
_GZIP_MAGIC = b"\x1f\x8b"
_WANTED = tuple(name for names in _BATCHES.values() for name in names)


def open_cifar10(request: DatasetRequest) -> ConvertedImages:
    """Open one split; the target of the record ``cifar10``.

    Raises:
        DataError: not prepared, or damaged.
    """
    return ConvertedImages(request, _SIDE)


def read_cifar10(source: Path) -> dict[str, SplitSource]:
    """The official batches; the converter of the record ``cifar10``.

    Args:
        source: ``cifar-10-python.tar.gz``; the folder ``cifar-10-batches-py`` that is in it; or a
            folder that holds one of them.

    Raises:
        DataError: a batch is missing, damaged, hostile, or of another shape.
    """
    batches = {name: _batch(data, label) for name, label, data in _contents(source)}
    missing = [name for name in _WANTED if name not in batches]
    if missing:
        raise DataError(
            f"{source}: batches of CIFAR-10 are not there: {', '.join(missing)}",
            f"give {_ARCHIVE}, or the folder {_FOLDER} that is in it",
        )
    return {split: _split(split, [batches[n] for n in names]) for split, names in _BATCHES.items()}


def _split(split: str, batches: list[Part]) -> SplitSource:
    count = sum(len(images) for images, _ in batches)
    return SplitSource(count, _OFFICIAL[split], _SIDE, lambda: iter(batches))


def _contents(source: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, label and content of each batch that is there."""
    if source.is_file():
        return _from_archive(source)
    for folder in (source, source / _FOLDER):
        if (folder / _WANTED[0]).exists():
            return _from_folder(folder)
    if (source / _ARCHIVE).is_file():
        return _from_archive(source / _ARCHIVE)
    return _from_folder(source)


def _from_folder(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such file or folder")
    for name in _WANTED:
        path = folder / name
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise describe_os_error(error, path) from error
        _check_size(str(path), len(data))
        yield name, str(path), data


def _from_archive(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Batches by the last part of their names; nothing is unpacked on disk."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            opened = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
            with tarfile.open(fileobj=opened, mode="r|") as archive:
                yield from _members(path, archive)
            # Only at its end does gzip compare its checksum.
            if len(opened.read(_MOST_BYTES)) == _MOST_BYTES:
                raise DataError(f"{path}: more than an archive: not CIFAR-10")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{path}: damaged, or not an archive: {' '.join(str(error).split())}",
            "get the file again",
        ) from error
    except OSError as error:
        raise describe_os_error(error, path) from error


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    for number, member in enumerate(archive):
        _check_size(f"{path}: {ascii(member.name)[1:-1]}", member.size)
        if number > _MOST_MEMBERS:
            raise DataError(f"{path}: more than {_MOST_MEMBERS} files: not CIFAR-10")
        name = member.name.rpartition("/")[2]
        file = archive.extractfile(member) if member.isreg() else None
        if name in _WANTED and file is not None:
            yield name, f"{path}: {name}", file.read()


def _check_size(label: str, size: int) -> None:
    if size > _MOST_BYTES:
        raise DataError(f"{label}: more than {_MOST_BYTES:,} bytes: no batch of CIFAR-10")


def _batch(data: bytes, label: str) -> Part:
    content = read_plain_pickle(data, label)
    rows = content.get("data")
    if not isinstance(rows, np.ndarray):
        raise DataError(f"{label}: no batch of CIFAR-10: it has no array 'data'")
    images = rows_to_images(rows, _SIDE, f"{label}: data")
    return images, _labels(content.get("labels"), images, label)


def _labels(labels: Any, images: NDArray[np.uint8], label: str) -> Labels:
    if not isinstance(labels, list) or len(labels) != len(images):
        raise DataError(f"{label}: not one label for each of {len(images):,} images")
    if not all(type(number) is int and 0 <= number < _CLASSES for number in labels):
        raise DataError(f"{label}: labels that are not 0 to {_CLASSES - 1}")
    return np.array(labels, np.uint16)

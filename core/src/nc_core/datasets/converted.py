"""Datasets that are converted once: into NumPy arrays, one per split.

In ``$NC_DATA/NAME`` lie ``SPLIT.npy``, of small colour images uint8 (n, H, W, 3), and, where
there are labels, ``SPLIT-labels.npy``, uint16 (n,). Their sizes and SHA-256 are in
``prepared.json``, which is written last: a dataset is there when its manifest is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nc_core.datasets.hashed_file import HashedFile
from nc_core.datasets.locations import not_prepared
from nc_core.datasets.manifest import (
    MANIFEST,
    ItemCount,
    Manifest,
    PreparedFile,
    read_manifest,
    write_manifest,
)
from nc_core.datasets.npy_files import load_npy
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError, NcError
from nc_core.files import atomic_write, check_target, describe_os_error, made_folder
from nc_core.protocols import Layout
from nc_core.staging import publish, staging_folder

__all__ = [
    "ConvertedImages",
    "Labels",
    "Part",
    "RowSource",
    "SplitSource",
    "convert",
    "rows_to_images",
]

Labels = NDArray[np.uint16]
Part = tuple[NDArray[Any], Labels | None]
"""Items, of images uint8 (n, H, W, 3), and their labels, uint16 (n,), or None: there are none."""


@dataclass(frozen=True)
class SplitSource:
    """One split of images in its official form, checked as far as its headers say.

    Args:
        count: number of images.
        official: number of images that the official split has.
        side: height and width of every image.
        read: yields the images in order, in parts of any size.
    """

    count: int
    official: int
    side: int
    read: Callable[[], Iterator[Part]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return (self.side, self.side, 3)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of samples."""
        return np.dtype(np.uint8)


@dataclass(frozen=True)
class RowSource:
    """One split of items that are no images, checked as far as its headers say.

    Args:
        count: number of items.
        shape: of one item.
        dtype: of its samples.
        read: yields the items in order, in parts of any size, of that shape and type.
    """

    count: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], Iterator[Part]]

    @property
    def official(self) -> int:
        """As many as there are: nobody says how many there should be."""
        return self.count


def convert(
    folder: Path,
    source: str,
    splits: Mapping[str, SplitSource | RowSource],
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write the arrays of all splits, and the manifest.

    They get their names when all are there: if anything fails, what was prepared before stays.

    Args:
        folder: of the dataset.
        source: name of what is converted, for the manifest and for errors.
        splits: official files by split.
        progress: called with (items done, items in all).

    Raises:
        DataError: official files are damaged or cannot be read, or nothing can be written.
        WorkError: there is no room for the arrays.
    """
    total = sum(split.count for split in splits.values())
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    try:
        with (
            made_folder(folder),
            staging_folder(folder) as staging,
            _final_names(staging, folder),
        ):
            files: list[PreparedFile] = []
            for name, split in splits.items():
                files += _write_split(staging, name, split, source, advance)
            items = {n: ItemCount(split.count, split.official) for n, split in splits.items()}
            manifest = Manifest(source, items, tuple(files))
            write_manifest(staging, manifest)
            names = [*(file.name for file in files), MANIFEST]
            for name in names:
                check_target(folder / name, force=True)
            # No manifest may speak of files that change.
            (folder / MANIFEST).unlink(missing_ok=True)
            publish(staging, names)
    except OSError as error:
        raise describe_os_error(error, folder) from error
    return manifest


@contextmanager
def _final_names(staging: Path, folder: Path) -> Iterator[None]:
    """Errors name the files of a staging folder as they are to be called."""
    try:
        yield
    except NcError as error:
        error.message = error.message.replace(str(staging), str(folder))
        raise


def _write_split(
    folder: Path,
    name: str,
    split: SplitSource | RowSource,
    source: str,
    advance: Callable[[int], None],
) -> list[PreparedFile]:
    labels: list[Labels] = []
    with atomic_write(folder / f"{name}.npy") as opened:
        samples = HashedFile(opened)
        _write_header(samples, (split.count, *split.shape), split.dtype)
        for part, their_labels in _parts(split, source):
            samples.write(np.ascontiguousarray(part).data.cast("B"))
            if their_labels is not None:
                labels.append(their_labels)
            advance(len(part))
        files = [PreparedFile(f"{name}.npy", samples.sha256, samples.size)]
    if labels:
        with atomic_write(folder / f"{name}-labels.npy") as opened:
            numbers = HashedFile(opened)
            _write_header(numbers, (split.count,), np.dtype("<u2"))
            numbers.write(np.concatenate(labels).astype("<u2").tobytes())
        files.append(PreparedFile(f"{name}-labels.npy", numbers.sha256, numbers.size))
    return files


def _parts(split: SplitSource | RowSource, source: str) -> Iterator[Part]:
    """The parts of a split; what cannot be read is the user's file, not the one being written."""
    try:
        yield from split.read()
    except OSError as error:
        raise describe_os_error(error, error.filename or source) from error


def _write_header(file: HashedFile, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, fields)


def rows_to_images(rows: NDArray[Any], side: int, label: str) -> NDArray[np.uint8]:
    """Images of rows that hold all red, then all green, then all blue samples.

    Args:
        rows: uint8, (n, 3 * side * side).
        side: height and width.
        label: what errors call the rows.

    Returns:
        uint8, (n, side, side, 3), a view.

    Raises:
        DataError: another type or shape.
    """
    check_rows(rows.shape, rows.dtype, side, label)
    return rows.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)


def check_rows(shape: tuple[int, ...], dtype: np.dtype[Any], side: int, label: str) -> None:
    """Refuse what are no rows of images.

    Raises:
        DataError: another type or shape than uint8 (n, 3 * side * side).
    """
    columns = 3 * side * side
    if len(shape) != 2 or shape[1] != columns:
        raise DataError(f"{label}: an array of shape {shape}, expected (n, {columns})")
    if dtype != np.uint8:
        raise DataError(f"{label}: samples of type {dtype}, expected uint8")


class ConvertedImages:
    """One split of a converted dataset, memory-mapped.

    Items are ``{"image": uint8 (side, side, 3), "label": uint16 ()}``, without the label where
    there are none.

    Args:
        request: what was asked for.
        side: height and width of the images.
        is_offered: ``nc data prepare`` can download the official files.

    Raises:
        DataError: not prepared, or not as it was prepared.
    """

    layout: Layout = "hwc"
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    range: tuple[float, float] = (0, 255)

    def __init__(self, request: DatasetRequest, side: int, *, is_offered: bool = True) -> None:
        self.name = request.name
        self.shape: tuple[int | None, ...] = (side, side, 3)
        dataset = request.folder.name
        manifest = read_manifest(request.folder)
        if manifest is None:
            raise not_prepared(dataset, request.folder / MANIFEST, is_offered=is_offered)
        known = {file.name for file in manifest.files}
        path = request.folder / f"{request.split}.npy"
        self._images = load_npy(path)
        if self._images.dtype != np.uint8 or self._images.shape[1:] != self.shape:
            raise DataError(f"{path}: damaged", f"nc data verify {dataset}")
        self._labels: NDArray[Any] | None = None
        if f"{request.split}-labels.npy" in known:
            self._labels = load_npy(request.folder / f"{request.split}-labels.npy")
            if self._labels.shape != self._images.shape[:1]:
                raise DataError(f"{path}: not as many labels", f"nc data verify {dataset}")
        self.fields: tuple[str, ...] = ("image",) if self._labels is None else ("image", "label")

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        if not 0 <= index < len(self._images):
            raise IndexError(index)
        item: dict[str, NDArray[Any]] = {"image": np.asarray(self._images[index])}
        if self._labels is not None:
            item["label"] = np.asarray(self._labels[index], np.uint16)
        return item

"""Prepares datasets: official files are brought, checked and, where need be, converted.

Every file is written under a temporary name, compared with its size and SHA-256, and renamed.
So a file that is there is right, and a job that was interrupted goes on with the files that are
missing. Of several processes that prepare one dataset, one works and the others wait for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from nc_core.datasets.exclusive import alone
from nc_core.datasets.fetching import fetch, locate
from nc_core.datasets.locations import dataset_folder, not_prepared
from nc_core.datasets.manifest import MANIFEST, Manifest, PreparedFile, read_manifest
from nc_core.errors import DataError, UsageError
from nc_core.files import describe_os_error
from nc_core.specs import DatasetSpec, RemoteFile

if TYPE_CHECKING:
    from nc_core.datasets.converted import RowSource, SplitSource

__all__ = [
    "FileCheck",
    "FileState",
    "Progress",
    "is_prepared",
    "prepare_dataset",
    "prepared_manifest",
    "verify_dataset",
]

_READ_BYTES = 1 << 20
_ExpectedFile = RemoteFile | PreparedFile
Progress = Callable[[_ExpectedFile, int], None]
"""Called with a file and how many of its bytes are there."""


class FileState(StrEnum):
    """What a check found."""

    RIGHT = "ok"
    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    WRONG_CONTENT = "wrong sha256"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class FileCheck:
    """One file of a dataset, and what is in its place.

    Args:
        file: what should be there: an official file, or what was made of official files.
        path: where.
        state: what was found.
        size: bytes found; None if there is no file.
    """

    file: _ExpectedFile
    path: Path
    state: FileState
    size: int | None


def prepared_manifest(spec: DatasetSpec) -> Manifest | None:
    """What a converted dataset consists of; None where it is not prepared, or not converted."""
    return read_manifest(dataset_folder(spec.name)) if spec.converter else None


def is_prepared(spec: DatasetSpec) -> bool:
    """Whether all files of a dataset are there; their content is not looked at."""
    folder = dataset_folder(spec.name)
    if spec.converter is None:
        return all((folder / file.name).exists() for file in spec.files)
    manifest = read_manifest(folder)
    return manifest is not None and all((folder / f.name).exists() for f in manifest.files)


def verify_dataset(spec: DatasetSpec, progress: Progress | None = None) -> list[FileCheck]:
    """Compare every file with its size and SHA-256: official ones, or those of its conversion.

    Raises:
        UsageError: a dataset without official files.
        DataError: a converted dataset that is not prepared.
    """
    folder = dataset_folder(spec.name)
    files: Sequence[_ExpectedFile] = _official_files(spec)
    if spec.converter is not None:
        manifest = read_manifest(folder)
        if manifest is None:
            raise not_prepared(spec.name, folder / MANIFEST, is_offered=bool(spec.files))
        files = manifest.files
    return [_check(file, folder / file.name, progress) for file in files]


def prepare_dataset(
    spec: DatasetSpec,
    source: Path | None = None,
    progress: Progress | None = None,
    *,
    converting: Callable[[int, int], None] | None = None,
    force: bool = False,
) -> list[FileCheck]:
    """Bring what is missing or wrong.

    Args:
        spec: the dataset.
        source: a folder that holds the official files, directly or one level below, or an
            archive where they come in one; None to download.
        progress: called while official files are checked and written.
        converting: called with (items converted, items in all).
        force: bring everything again.

    Returns:
        the files that were brought or made, as they are now.

    Raises:
        UsageError: a dataset without official files, or one that cannot be downloaded.
        DataError: no network, a file that is not in ``source``, one that is damaged, a size or
            checksum that differs; files that were right before, or became so, stay.
    """
    _official_files(spec)
    if spec.converter is not None:
        return _convert(spec, source, progress, converting, force)
    return _bring(spec, dataset_folder(spec.name), source, progress, force)


def _official_files(spec: DatasetSpec) -> tuple[RemoteFile, ...]:
    if not spec.files and spec.converter is None:
        raise UsageError(
            f"dataset '{spec.name}' has no official files: there is nothing to prepare",
            f"use your own files as they are: {spec.name}:PATH" if spec.takes_path else None,
        )
    return spec.files


def _bring(
    spec: DatasetSpec, folder: Path, source: Path | None, progress: Progress | None, force: bool
) -> list[FileCheck]:
    """Official files, as they are."""

    def is_wanted(file: RemoteFile) -> bool:
        return _check(file, folder / file.name, progress).state is not FileState.RIGHT

    wanted = [file for file in spec.files if force or is_wanted(file)]
    origins: Mapping[str, Path] = locate(spec, wanted, source) if source is not None else {}
    if not wanted:
        return []
    with alone(folder) as waited:
        if waited and not force:
            wanted = [file for file in wanted if is_wanted(file)]
        for file in wanted:
            fetch(spec, file, folder / file.name, origins.get(file.name), progress)
    return [_right(folder, file) for file in wanted]


def _convert(
    spec: DatasetSpec,
    source: Path | None,
    progress: Progress | None,
    converting: Callable[[int, int], None] | None,
    force: bool,
) -> list[FileCheck]:
    """Arrays made of official files; a downloaded archive goes when they are there."""
    from nc_core.datasets.converted import convert

    folder = dataset_folder(spec.name)
    if not force and _is_right(spec):
        return []
    if source is None and not spec.files:
        raise UsageError(
            f"'{spec.name}' cannot be downloaded by nc, so its official files must be given",
            f"get them from {spec.homepage}, then: nc data prepare {spec.name} --from PATH",
        )
    splits = _read(spec, source) if source is not None else {}
    with alone(folder) as waited:
        if waited and not force and _is_right(spec):
            return []
        given = source
        if source is None:
            source = _downloaded(spec, folder, progress)
            splits = _read(spec, source)
        manifest = convert(folder, source.name, splits, converting)
        if given is None or not _lies_in(given, folder):
            for file in spec.files:
                _remove(folder / file.name)
    return [_right(folder, file) for file in manifest.files]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise describe_os_error(error, path) from error


def _lies_in(given: Path, folder: Path) -> bool:
    """Whether what the user gave is in the dataset's folder, and so not ours to remove."""
    return given.resolve().is_relative_to(folder.resolve())


def _downloaded(spec: DatasetSpec, folder: Path, progress: Progress | None) -> Path:
    """The official archive, which an earlier run may have brought already."""
    (file,) = spec.files
    path = folder / file.name
    if _check(file, path, progress).state is not FileState.RIGHT:
        fetch(spec, file, path, None, progress)
    return path


def _read(spec: DatasetSpec, source: Path) -> dict[str, SplitSource | RowSource]:
    assert spec.converter is not None
    read = replace(spec, target=spec.converter).load()
    splits: dict[str, SplitSource | RowSource] = read(source)
    return splits


def _is_right(spec: DatasetSpec) -> bool:
    """Whether a converted dataset is prepared, and every file as its manifest says."""
    try:
        checks = verify_dataset(spec)
    except DataError:
        return False
    return all(check.state is FileState.RIGHT for check in checks)


def _right(folder: Path, file: _ExpectedFile) -> FileCheck:
    return FileCheck(file, folder / file.name, FileState.RIGHT, file.size)


def _check(file: _ExpectedFile, path: Path, progress: Progress | None) -> FileCheck:
    try:
        size = path.stat().st_size
        if size != file.size:
            return FileCheck(file, path, FileState.WRONG_SIZE, size)
        digest = hashlib.sha256()
        done = 0
        with path.open("rb") as opened:
            while part := opened.read(_READ_BYTES):
                digest.update(part)
                done += len(part)
                if progress is not None:
                    progress(file, done)
    except (FileNotFoundError, NotADirectoryError):
        return FileCheck(file, path, FileState.MISSING, None)
    except OSError:
        return FileCheck(file, path, FileState.UNREADABLE, None)
    right = digest.hexdigest() == file.sha256
    return FileCheck(file, path, FileState.RIGHT if right else FileState.WRONG_CONTENT, size)

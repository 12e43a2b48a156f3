"""Official files of a dataset: brought from their source or from a folder, and checked.

Every file is written under a temporary name, compared with its size and SHA-256, and renamed.
So a file that is there is right, a job that was interrupted goes on with the files that are
missing, and two processes may prepare one dataset at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from nc_core.datasets.locations import dataset_folder
from nc_core.errors import DataError, UsageError
from nc_core.files import atomic_write, describe_os_error
from nc_core.specs import DatasetSpec, RemoteFile

__all__ = ["FileCheck", "FileState", "Progress", "prepare_dataset", "verify_dataset"]

Progress = Callable[[RemoteFile, int], None]
"""Called with a file and how many of its bytes are there."""

_TIMEOUT_SECONDS = 30
_READ_BYTES = 1 << 20


class FileState(StrEnum):
    """What a check found."""

    RIGHT = "ok"
    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    WRONG_CONTENT = "wrong sha256"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class FileCheck:
    """One official file, and what is in its place.

    Args:
        file: what should be there.
        path: where.
        state: what was found.
        size: bytes found; None if there is no file.
    """

    file: RemoteFile
    path: Path
    state: FileState
    size: int | None


def verify_dataset(spec: DatasetSpec, progress: Progress | None = None) -> list[FileCheck]:
    """Compare every official file with its size and SHA-256.

    Raises:
        UsageError: a dataset without official files.
    """
    folder = dataset_folder(spec.name)
    return [_check(file, folder / file.name, progress) for file in _official_files(spec)]


def prepare_dataset(
    spec: DatasetSpec, source: Path | None = None, progress: Progress | None = None
) -> list[FileCheck]:
    """Bring the official files that are missing or wrong.

    Args:
        spec: the dataset.
        source: a folder that holds the files, directly or one level below; None to download.
        progress: called while files are checked and written.

    Returns:
        the files that were brought, as they are now.

    Raises:
        UsageError: a dataset without official files.
        DataError: no network, a file that is not in ``source``, a size or checksum that
            differs; files that were right before, or became so, stay.
    """
    wanted = [
        check.file for check in verify_dataset(spec, progress) if check.state is not FileState.RIGHT
    ]
    folder = dataset_folder(spec.name)
    origins = _locate(spec, wanted, source) if source is not None else {}
    for file in wanted:
        with atomic_write(folder / file.name) as target:
            writer = _CheckedWriter(target, file, progress)
            if source is None:
                _download(spec, file, writer)
            else:
                _copy(origins[file.name], writer)
            writer.finish()
    return [FileCheck(file, folder / file.name, FileState.RIGHT, file.size) for file in wanted]


def _official_files(spec: DatasetSpec) -> tuple[RemoteFile, ...]:
    if not spec.files:
        raise UsageError(
            f"dataset '{spec.name}' has no official files: there is nothing to prepare",
            f"use your own files as they are: {spec.name}:PATH" if spec.takes_path else None,
        )
    return spec.files


def _check(file: RemoteFile, path: Path, progress: Progress | None) -> FileCheck:
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


def _locate(spec: DatasetSpec, files: list[RemoteFile], source: Path) -> dict[str, Path]:
    """Where each file lies in a folder or in one of its folders."""
    try:
        folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    except OSError as error:
        raise describe_os_error(error, source) from error
    found: dict[str, Path] = {}
    for file in files:
        for folder in folders:
            if (folder / file.name).is_file():
                found[file.name] = folder / file.name
                break
    missing = [file.name for file in files if file.name not in found]
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if missing[4:] else "")
        raise DataError(
            f"{source}: official files of '{spec.name}' are not there: {shown}",
            "give the folder that holds them, or the one above it",
        )
    return found


def _copy(origin: Path, writer: _CheckedWriter) -> None:
    writer.origin = str(origin)
    for part in _parts(origin):
        writer.write(part)


def _parts(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while part := file.read(_READ_BYTES):
                yield part
    except OSError as error:
        raise describe_os_error(error, path) from error


def _download(spec: DatasetSpec, file: RemoteFile, writer: _CheckedWriter) -> None:
    import pooch
    import requests

    writer.origin = file.url
    # Without "identity" a server may send a .gz file as an encoding, which is undone on arrival.
    headers = {"Accept-Encoding": "identity"}
    downloader = pooch.HTTPDownloader(headers=headers, timeout=_TIMEOUT_SECONDS)
    try:
        downloader(file.url, writer, None)
    except requests.exceptions.RequestException as error:
        raise DataError(
            f"{file.url} cannot be downloaded: {_network_reason(error, file.url)}",
            f"with files that you have: nc data prepare {spec.name} --from FOLDER",
        ) from error


def _network_reason(error: Any, url: str) -> str:
    """One short clause; what the network library says is long and names its own classes."""
    import requests

    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}".strip()
    if isinstance(error, requests.exceptions.Timeout):
        return f"no answer within {_TIMEOUT_SECONDS} s"
    if isinstance(error, requests.exceptions.SSLError):
        return f"no secure connection to {urlsplit(url).hostname}"
    if isinstance(error, requests.exceptions.ConnectionError):
        return f"no connection to {urlsplit(url).hostname}"
    return "the download broke off"


class _CheckedWriter:
    """Passes bytes on to a file, counts and hashes them.

    Args:
        target: the file.
        file: what the bytes must be.
        progress: called after every part.
    """

    def __init__(self, target: BinaryIO, file: RemoteFile, progress: Progress | None) -> None:
        self.origin = file.name
        self._target = target
        self._file = file
        self._progress = progress
        self._digest = hashlib.sha256()
        self._done = 0

    def write(self, part: bytes) -> int:
        """Take the next bytes.

        Raises:
            DataError: there are more than there should be.
        """
        self._done += len(part)
        if self._done > self._file.size:
            raise DataError(f"{self.origin}: longer than its official {self._file.size:,} bytes")
        self._digest.update(part)
        self._target.write(part)
        if self._progress is not None:
            self._progress(self._file, self._done)
        return len(part)

    def flush(self) -> None:
        """Nothing to do: the file is flushed before it gets its name."""

    def finish(self) -> None:
        """Check that everything came, and nothing else.

        Raises:
            DataError: the size or the checksum differs.
        """
        if self._done != self._file.size:
            raise DataError(
                f"{self.origin}: {self._done:,} bytes, its official size is {self._file.size:,}",
                "the file is damaged or of another origin",
            )
        if self._digest.hexdigest() != self._file.sha256:
            raise DataError(
                f"{self.origin}: sha256 {self._digest.hexdigest()[:16]}..., "
                f"officially {self._file.sha256[:16]}...",
                "the file is damaged or of another origin",
            )

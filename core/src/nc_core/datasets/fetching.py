"""Official files, brought from their address or from the user's folder, and checked on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from nc_core.datasets.hashed_file import HashedFile
from nc_core.errors import DataError
from nc_core.files import atomic_write, describe_os_error
from nc_core.specs import DatasetSpec, RemoteFile

__all__ = ["fetch", "locate"]

_Progress = Callable[[RemoteFile, int], None]

_TIMEOUT_SECONDS = 30
_READ_BYTES = 1 << 20


def locate(spec: DatasetSpec, files: list[RemoteFile], source: Path) -> dict[str, Path]:
    """Where each file lies in a folder or in one of its folders.

    Raises:
        DataError: the folder cannot be read, or lacks some.
    """
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


def fetch(
    spec: DatasetSpec,
    file: RemoteFile,
    target: Path,
    origin: Path | None,
    progress: _Progress | None = None,
) -> None:
    """Bring one file; it gets its name only when size and SHA-256 are right.

    Args:
        spec: the dataset, for messages.
        file: what it must be.
        target: where it goes.
        origin: a file of the user; None to download.
        progress: called after every part.

    Raises:
        DataError: no network, or another size or checksum.
    """
    with atomic_write(target) as opened:
        writer = _CheckedWriter(opened, file, progress)
        if origin is None:
            _download(spec, file, writer)
        else:
            _copy(origin, writer)
        writer.finish()


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
            f"with files that you have: nc data prepare {spec.name} --from PATH",
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
    """Passes bytes on to a file, and refuses what is not the official one.

    Args:
        target: the file.
        file: what the bytes must be.
        progress: called after every part.
    """

    def __init__(self, target: BinaryIO, file: RemoteFile, progress: _Progress | None) -> None:
        self.origin = file.name
        self._target = HashedFile(target)
        self._file = file
        self._progress = progress

    def write(self, part: bytes) -> int:
        """Take the next bytes.

        Raises:
            DataError: there are more than there should be.
        """
        if self._target.size + len(part) > self._file.size:
            raise DataError(f"{self.origin}: longer than its official {self._file.size:,} bytes")
        self._target.write(part)
        if self._progress is not None:
            self._progress(self._file, self._target.size)
        return len(part)

    def flush(self) -> None:
        """Nothing to do: the file is flushed before it gets its name."""

    def finish(self) -> None:
        """Check that everything came, and nothing else.

        Raises:
            DataError: the size or the checksum differs.
        """
        found, official = self._target, self._file
        if found.size != official.size:
            raise DataError(
                f"{self.origin}: {found.size:,} bytes, its official size is {official.size:,}",
                "the file is damaged or of another origin",
            )
        if found.sha256 != official.sha256:
            raise DataError(
                f"{self.origin}: sha256 {found.sha256[:16]}..., "
                f"officially {official.sha256[:16]}...",
                "the file is damaged or of another origin",
            )

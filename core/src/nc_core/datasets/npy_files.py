"""Arrays in ``.npy`` and ``.npz`` files: memory-mapped where possible, never unpickled.

The header is read and checked here before anything is allocated or mapped: an array of
Python objects, a size that the file does not have, or an unknown type is refused.
"""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nc_core.errors import DataError, UsageError
from nc_core.files import describe_os_error

__all__ = ["load_npy", "load_npz", "npz_header"]

_USUAL_KEYS = ("data", "images", "x")
_NUMERIC_KINDS = "biuf"
# A compressed array cannot be mapped and must fit in memory.
_MOST_LOADED_BYTES = 4 << 30
_READ_BYTES = 1 << 20
_MOST_HEADER_BYTES = 1 << 16
_MOST_AXES = 64  # NumPy has no arrays of more
_LOCAL_HEADER = struct.Struct("<26xHH")
# What zipfile raises for damaged archives, besides its own error.
_DAMAGE = (zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError,
           struct.error)  # fmt: skip


@dataclass(frozen=True)
class _Header:
    """What a ``.npy`` header declares, and the bytes that it takes itself."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    length: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def load_npy(path: Path) -> NDArray[Any]:
    """Map the array of a ``.npy`` file.

    Returns:
        read-only, numeric or bool, of any shape with at least one sample.

    Raises:
        DataError: missing, damaged, empty, or holding Python objects or another type that is
            not numeric.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(file, str(path))
        found = path.stat().st_size - header.length
        if found != header.nbytes:
            raise DataError(f"{path}: declares {header.nbytes:,} bytes of data, holds {found:,}")
        return _map(path, header, offset=header.length)
    except OSError as error:
        raise describe_os_error(error, path) from error


def load_npz(
    path: Path, key: str | None = None, *, checked: bool = False
) -> tuple[str, NDArray[Any]]:
    """Load one array of a ``.npz`` archive: mapped if it is stored, read if it is compressed.

    Mapping reads nothing in advance, so the archive's checksum is compared for compressed
    arrays only, unless one asks for it.

    Args:
        path: the archive.
        key: name of the array; None for the only one, or the one of a usual name (``data``,
            ``images``, ``x``).
        checked: compare the checksum of a stored array too, which reads all of it.

    Returns:
        name of the array, and the array: read-only, numeric or bool.

    Raises:
        DataError: as :func:`load_npy`, or a failing checksum.
        UsageError: no such array, or several to choose from.
    """
    with _archive(path) as archive:
        key = _choose_key(path, archive, key)
        if checked:
            _read_through(archive, key)
        return key, _load_member(path, archive, key)


def npz_header(path: Path, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of one array of a ``.npz`` archive; its samples are not read.

    Raises:
        DataError: as :func:`load_npz`.
        UsageError: no such array.
    """
    with _archive(path) as archive, archive.open(f"{_choose_key(path, archive, key)}.npy") as file:
        header = _read_header(file, f"{path}[{key}]")
    return header.shape, header.dtype


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive; every failure names the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: damaged, or not an .npz archive: {_one_line(error)}") from error
    except _DAMAGE as error:
        raise DataError(f"{path}: damaged archive: {_one_line(error)}") from error
    except OSError as error:
        raise describe_os_error(error, path) from error


def _choose_key(path: Path, archive: zipfile.ZipFile, key: str | None) -> str:
    keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if not keys:
        raise DataError(f"{path}: no array in this archive")
    if key is None:
        usual = keys if len(keys) == 1 else [name for name in _USUAL_KEYS if name in keys]
        if not usual:
            raise UsageError(f"{path}: several arrays: {', '.join(keys)}", "choose with ?key=NAME")
        return usual[0]
    if key not in keys:
        raise UsageError(f"{path}: no array '{key}'", f"there are: {', '.join(keys)}")
    return key


def _read_through(archive: zipfile.ZipFile, key: str) -> None:
    """Let the archive compare the checksum of a stored member; loading does it for others."""
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type == zipfile.ZIP_STORED:
        with archive.open(info) as member:
            while member.read(_READ_BYTES):
                pass


def _load_member(path: Path, archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    info = archive.getinfo(f"{key}.npy")
    label = f"{path}[{key}]"
    with archive.open(info) as member:
        header = _read_header(member, label)
        found = info.file_size - header.length
        if found != header.nbytes:
            raise DataError(f"{label}: declares {header.nbytes:,} bytes of data, holds {found:,}")
        if info.compress_type == zipfile.ZIP_STORED:
            offset = _data_offset(path, info) + header.length
            if offset + header.nbytes > path.stat().st_size:
                raise DataError(f"{label}: damaged archive: it ends early")
            return _map(path, header, offset)
        if header.nbytes > _MOST_LOADED_BYTES:
            raise DataError(
                f"{label}: a compressed array of {header.nbytes:,} bytes",
                "save it with numpy.savez, uncompressed: then it need not fit in memory",
            )
        data = member.read()
    if len(data) != header.nbytes:
        raise DataError(f"{label}: declares {header.nbytes:,} bytes of data, holds {len(data):,}")
    flat = np.frombuffer(data, header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _read_header(file: IO[bytes], label: str) -> _Header:
    try:
        version = npy.read_magic(file)
        if version[0] not in (1, 2, 3):
            raise DataError(f"{label}: a NumPy array of unknown format version {version[0]}")
        _check_header_length(file, label, 2 if version[0] == 1 else 4)
        with warnings.catch_warnings():  # NumPy's advice on files of Python 2
            warnings.simplefilter("ignore", UserWarning)
            if version[0] == 1:
                shape, fortran, dtype = npy.read_array_header_1_0(file)
            else:
                shape, fortran, dtype = npy.read_array_header_2_0(file)
    except (ValueError, tokenize.TokenError) as error:
        raise DataError(f"{label}: not a NumPy array: {_one_line(error)}") from error
    if dtype.hasobject:
        raise DataError(
            f"{label}: holds Python objects, which only unpickling could read",
            "save it as an array of numbers",
        )
    if dtype.kind not in _NUMERIC_KINDS:
        raise DataError(f"{label}: samples of type {dtype}, which is not numeric")
    if len(shape) > _MOST_AXES or not all(type(side) is int and side >= 0 for side in shape):
        raise DataError(f"{label}: not a NumPy array: a shape of {_one_line(shape)[:80]}")
    if 0 in shape:
        raise DataError(f"{label}: an array of shape {shape} has no samples")
    return _Header(shape, fortran, dtype, file.tell())


def _check_header_length(file: IO[bytes], label: str, size: int) -> None:
    """Refuse a header for which NumPy would take memory before it finds it too long."""
    start = file.tell()
    if int.from_bytes(file.read(size), "little") > _MOST_HEADER_BYTES:
        raise DataError(f"{label}: not a NumPy array: its header is too long")
    file.seek(start)


def _map(path: Path, header: _Header, offset: int) -> NDArray[Any]:
    order: Any = "F" if header.fortran else "C"
    return np.memmap(path, header.dtype, "r", offset, header.shape, order)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin: behind its local header of varying length."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return int(info.header_offset + _LOCAL_HEADER.size + name + extra)


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or "it ends early"

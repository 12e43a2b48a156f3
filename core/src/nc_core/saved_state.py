"""A file of arrays that an unfinished job goes on with: checksummed, bound to its piece of work.

checksum    sha256 of everything behind it
key         sha256 of the piece of work that the state belongs to
header      u32 length, JSON: name, dtype and shape of each array
arrays      their little-endian bytes, one after the other
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError

__all__ = ["DamagedStateError", "ForeignStateError", "read_state", "write_state"]

_LENGTH = struct.Struct("<I")
_HASH_BYTES = hashlib.sha256().digest_size
_MOST_BYTES = 1 << 32
_MOST_AXES = 32
_BINARY = getattr(os, "O_BINARY", 0)


class DamagedStateError(DataError):
    """The file is not what was written."""


class ForeignStateError(DataError):
    """The file is whole, and belongs to another piece of work."""


def write_state(path: Path, key: bytes, arrays: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write a file, whole or not at all; what was there before stays until then.

    Args:
        path: of the file; its folder exists.
        key: 32 bytes.
        arrays: arrays or NumPy scalars of booleans, integers or floats.
        durable: wait until it would survive a power cut, too.

    Raises:
        OSError: it cannot be written.
        TypeError: an array of another dtype.
    """
    plain = {name: _little_endian(name, value) for name, value in arrays.items()}
    described = [[name, array.dtype.str, array.shape] for name, array in plain.items()]
    header = json.dumps(described).encode()
    parts = [key, _LENGTH.pack(len(header)), header, *(array.tobytes() for array in plain.values())]
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    temporary = path.with_name(f"{path.name}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.writelines([checksum.digest(), *parts])
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def read_state(path: Path, key: bytes) -> dict[str, NDArray[Any]] | None:
    """The arrays of a file, which may be changed in place; None where there is no such file.

    Args:
        path: of the file.
        key: 32 bytes.

    Raises:
        DamagedStateError: it is not what was written.
        ForeignStateError: it belongs to another piece of work.
        OSError: it cannot be read.
    """
    try:
        # No link is followed: what it points to is not ours.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | _BINARY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size) if size <= _MOST_BYTES else b""
    checksum, body = data[:_HASH_BYTES], memoryview(data)[_HASH_BYTES:]
    if hashlib.sha256(body).digest() != checksum:
        raise DamagedStateError(f"{path}: damaged (checksum)")
    if bytes(body[:_HASH_BYTES]) != key:
        raise ForeignStateError(f"{path}: belongs to another input, model or version")
    try:
        return dict(_arrays(body[_HASH_BYTES:]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, struct.error) as error:
        raise DamagedStateError(f"{path}: damaged") from error


def _arrays(body: memoryview) -> Iterator[tuple[str, NDArray[Any]]]:
    (length,) = _LENGTH.unpack_from(body)
    position = _LENGTH.size + length
    for name, dtype, shape in json.loads(bytes(body[_LENGTH.size : position])):
        kind = np.dtype(dtype)
        if kind.kind not in "biuf" or len(shape) > _MOST_AXES or min(shape, default=0) < 0:
            raise ValueError(name)
        count = math.prod(shape)
        # Lengths are compared with the file before memory is taken: frombuffer refuses more.
        flat = np.frombuffer(body, kind, count, position) if count else np.empty(0, kind)
        yield name, flat.reshape(shape).astype(kind.newbyteorder("="))
        position += flat.nbytes
    if position != len(body):
        raise ValueError("bytes left over")


def _little_endian(name: str, value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: cannot save an array of {array.dtype}")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)

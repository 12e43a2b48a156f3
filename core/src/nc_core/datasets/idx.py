"""IDX files, the format of MNIST: a magic number, big-endian sizes, then the samples.

Reading trusts nothing: the declared sizes are compared with the bytes that are there before
anything is allocated for them.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nc_core.deflate import MOST_RATIO
from nc_core.errors import DataError
from nc_core.files import describe_os_error

__all__ = ["read_idx", "read_idx_shape"]

_UINT8 = 0x08
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx_shape(path: Path, rank: int) -> tuple[int, ...]:
    """The shape that an IDX file declares; only its first bytes are read.

    Args:
        path: the file, plain or gzip-compressed (told by content).
        rank: number of dimensions that it must have.

    Raises:
        DataError: missing, damaged, of another type or rank, or declaring more samples than a
            file of its size can hold.
    """
    with _named_errors(path), _open(path) as file:
        return _read_header(file, path, rank, _capacity(path))


def read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """All samples of an IDX file.

    Args:
        path: the file, plain or gzip-compressed (told by content).
        rank: number of dimensions that it must have.

    Returns:
        uint8, read-only, of the declared shape.

    Raises:
        DataError: as :func:`read_idx_shape`, or fewer or more samples than declared, or a
            failing checksum.

    Reference:
        Y. LeCun, C. Cortes, C. Burges: The MNIST database of handwritten digits (the format).
    """
    with _named_errors(path), _open(path) as file:
        shape = _read_header(file, path, rank, _capacity(path))
        size = math.prod(shape)
        data = file.read(size)
        if len(data) < size:
            raise DataError(f"{path}: declares {size:,} samples, but holds {len(data):,}")
        # Reading past the end also makes gzip compare its checksum.
        if file.read(1):
            raise DataError(f"{path}: holds more than the {size:,} samples that it declares")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def _open(path: Path) -> BinaryIO:
    opened = gzip.GzipFile(path) if _is_gzip(path) else path.open("rb")
    return cast(BinaryIO, opened)


def _capacity(path: Path) -> int:
    """Most bytes that a file of this size can hold."""
    return path.stat().st_size * (MOST_RATIO if _is_gzip(path) else 1)


def _read_header(file: BinaryIO, path: Path, rank: int, capacity: int) -> tuple[int, ...]:
    header = file.read(4 + 4 * rank)
    if len(header) < 4 + 4 * rank:
        raise DataError(f"{path}: file ends inside its header")
    zeros, kind, dimensions = struct.unpack(">HBB", header[:4])
    if zeros != 0:
        raise DataError(f"{path}: not an IDX file")
    if kind != _UINT8:
        raise DataError(f"{path}: samples of IDX type 0x{kind:02x}, expected 0x08 (uint8)")
    if dimensions != rank:
        raise DataError(f"{path}: {dimensions} dimensions, expected {rank}")
    shape = struct.unpack(f">{rank}I", header[4:])
    if math.prod(shape) > capacity:
        sides = " x ".join(map(str, shape))
        raise DataError(f"{path}: declares {sides} samples, more than a file of its size can hold")
    return shape


class _named_errors:
    """Turn what a damaged file raises into a DataError that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (gzip.BadGzipFile, EOFError, zlib.error)):
            raise DataError(
                f"{self.path}: damaged gzip file: {_reason(error)}", "get the file again"
            ) from error
        if isinstance(error, OSError):
            raise describe_os_error(error, self.path) from error


def _reason(error: BaseException) -> str:
    return str(error) or "it ends early"

"""Batches of CIFAR-10 as Python 2 pickled them, for tests."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["array", "batch", "pack", "text", "write_batches"]

NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def text(value: str) -> bytes:
    """A short text."""
    return b"U" + bytes([len(value)]) + value.encode("latin-1")


def number(value: int) -> bytes:
    """An integer below 65536."""
    return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)


def array(values: NDArray[Any], *, fortran: bool = False, dtype: str = "u1") -> bytes:
    """A NumPy array of two axes."""
    content = values.tobytes("F" if fortran else "C")
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + number(values.shape[0]) + number(values.shape[1]) + b"\x86cnumpy\ndtype\n"
        + text(dtype) + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + (b"\x88" if fortran else b"\x89") + b"T" + struct.pack("<I", len(content)) + content
        + b"tb"
    )  # fmt: skip


def batch(rows: NDArray[Any], labels: Sequence[int], *, dtype: str = "u1") -> bytes:
    """A whole batch."""
    numbers = b"](" + b"".join(map(number, labels)) + b"e"
    return (
        b"\x80\x02}(" + text("labels") + numbers + text("data") + array(rows, dtype=dtype) + b"u."
    )


def write_batches(folder: Path, images: int = 2) -> NDArray[np.uint8]:
    """Six small batches; returns the rows of all of them, training first."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(0).integers(0, 256, (6, images, 3072), np.uint8)
    for name, some in zip(NAMES, rows, strict=True):
        (folder / name).write_bytes(batch(some, range(images)))
    return rows.reshape(-1, 3072)


def pack(folder: Path, archive: Path) -> None:
    """The archive of a folder, as the official one is made."""
    with tarfile.open(archive, "w:gz") as file:
        for path in sorted(folder.iterdir()):
            member = tarfile.TarInfo(f"cifar-10-batches-py/{path.name}")
            member.size = path.stat().st_size
            file.addfile(member, io.BytesIO(path.read_bytes()))

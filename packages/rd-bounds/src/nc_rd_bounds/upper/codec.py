"""Nonlinear transform coding for real: vectors to bytes and back, with core's entropy coder.

A byte string holds the number of vectors (4 bytes), a CRC-32 of the rest (4 bytes), and the words
of a message of one lane. Latents are rounded; dimension after dimension they are coded with the
model's integer tables. Integers outside a table are an escape and 32 bits. All numbers are
little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nc_core.ans import Categorical, Message, Rans, Uniform
from nc_core.errors import CorruptFileError, DataError
from nc_core.protocols import Coder
from nc_rd_bounds.upper.model import VectorVae
from nc_rd_bounds.upper.tables import LatentTables

__all__ = ["Coded", "NtcCodec"]

_HEADER = struct.Struct("<II")
_MOST_VECTORS = 1 << 22
_HALF_BITS = 16
_BATCH = 4096


@dataclass(frozen=True)
class Coded:
    """What coding some vectors costs, and what is left of them.

    Args:
        bits: ideal code length of each vector by the tables, float64 (B,).
        squared_error: mean over the n dimensions, float64 (B,).
    """

    bits: NDArray[np.float64]
    squared_error: NDArray[np.float64]


class NtcCodec:
    """A lossy codec of vectors: a model with a uniform posterior, and its tables.

    Latents decode anywhere to the same integers; what the decoder network makes of them may
    differ in the last digits of float32.

    Args:
        name: of the model.
        id: of the model file.
        model: with a uniform posterior.
        tables: of its latents.
        coder: an entropy coder.
    """

    def __init__(
        self, name: str, id: str, model: VectorVae, tables: LatentTables, coder: Coder | None = None
    ) -> None:
        self.name, self.id = name, id
        self.model = model
        self._offsets = torch.from_numpy(tables.offsets)
        self._firsts = tables.firsts
        self._tables = [tables.table(dim) for dim in range(model.latents)]
        self._coder = Rans() if coder is None else coder

    def encode(self, x: ArrayLike, side: None = None) -> list[bytes]:
        """Code vectors; all of them go into one byte string.

        Args:
            x: float32, (B, ...), as many numbers per vector as the model takes.
            side: there is none.

        Raises:
            DataError: other vectors, numbers that are not finite, or latents beyond 32 bits.
        """
        integers = self.quantise(x)
        if len(integers) > _MOST_VECTORS:
            raise DataError(f"at most {_MOST_VECTORS:,} vectors go into one byte string")
        message = Message()
        for dim in reversed(range(self.model.latents)):
            symbols, outside = self._symbols(integers[:, dim], dim)
            for half in (outside >> _HALF_BITS, outside & ((1 << _HALF_BITS) - 1)):
                if len(half):
                    self._coder.push(message, half[:, None], _uniform(len(half)))
            self._coder.push(message, symbols[:, None], self._distribution(dim, len(symbols)))
        body = message.to_words().astype("<u4").tobytes()
        return [_HEADER.pack(len(integers), zlib.crc32(body)) + body]

    def decode(self, codes: Sequence[bytes], side: None = None) -> NDArray[np.float32]:
        """Reconstructions, float32 (B, n), of what :meth:`encode` made.

        Raises:
            CorruptFileError: damaged, or of another model.
        """
        parts = [self.reconstruct(self.decode_latents(code)) for code in codes]
        return np.concatenate([np.empty((0, self.model.dims), np.float32), *parts])

    def decode_latents(self, code: bytes) -> NDArray[np.int64]:
        """The rounded latents of a byte string, (B, L), without any floating point.

        Raises:
            CorruptFileError: damaged, or of another model.
        """
        if len(code) < _HEADER.size or (len(code) - _HEADER.size) % 4:
            raise CorruptFileError("coded vectors: not a whole byte string")
        count, checksum = _HEADER.unpack_from(code)
        body = code[_HEADER.size :]
        if zlib.crc32(body) != checksum or count > _MOST_VECTORS:
            raise CorruptFileError("coded vectors: damaged (checksum)")
        message = Message.from_words(np.frombuffer(body, "<u4"), 1)
        integers = np.empty((count, self.model.latents), np.int64)
        for dim in range(self.model.latents):
            symbols = self._coder.pop(message, self._distribution(dim, count))[:, 0]
            escaped = symbols == len(self._tables[dim]) - 1
            integers[:, dim] = symbols + self._firsts[dim]
            outside = int(escaped.sum())
            if outside:
                low = self._coder.pop(message, _uniform(outside))[:, 0]
                high = self._coder.pop(message, _uniform(outside))[:, 0]
                integers[escaped, dim] = _from_natural((high << _HALF_BITS) | low)
        if not message.is_initial():
            raise CorruptFileError("coded vectors: made with another model")
        return integers

    def rate_distortion(self, x: ArrayLike, side: None = None) -> Coded:
        """Ideal code lengths and squared errors of vectors; see :class:`Coded`.

        Raises:
            DataError: as :meth:`encode`.
        """
        integers = self.quantise(x)
        bits = np.zeros(len(integers))
        for dim in range(self.model.latents):
            symbols, _ = self._symbols(integers[:, dim], dim)
            distribution = self._distribution(dim, len(symbols))
            bits += distribution.bits(symbols[:, None])[:, 0]
            bits += 2 * _HALF_BITS * (symbols == len(self._tables[dim]) - 1)
        error = self._vectors(x).numpy() - self.reconstruct(integers)
        return Coded(bits, np.square(error.astype(np.float64)).mean(axis=1))

    @torch.no_grad()
    def quantise(self, x: ArrayLike) -> NDArray[np.int64]:
        """Rounded latents of vectors, (B, L).

        Raises:
            DataError: as :meth:`encode`.
        """
        parts = torch.split(self._vectors(x), _BATCH)
        latents = torch.cat([self.model.encode(part) for part in parts]) - self._offsets
        if not bool((latents.abs() < 2.0 ** (2 * _HALF_BITS - 2)).all()):
            raise DataError("vectors that the model maps beyond all integers that it codes")
        return latents.round().to(torch.int64).numpy()

    @torch.no_grad()
    def reconstruct(self, integers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Reconstructions, float32 (B, n), of rounded latents (B, L)."""
        latents = torch.from_numpy(integers).float() + self._offsets
        decoded: NDArray[np.float32] = torch.cat(
            [self.model.decode(part) for part in torch.split(latents, _BATCH)]
        ).numpy()
        return decoded

    def _vectors(self, x: ArrayLike) -> Tensor:
        array = np.asarray(x)
        if array.ndim < 2 or not len(array) or array[0].size != self.model.dims:
            raise DataError(
                f"vectors of {self.model.dims} numbers are needed, not an array {array.shape}"
            )
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise DataError("vectors hold finite floating-point numbers only")
        return torch.from_numpy(array.reshape(len(array), -1).astype(np.float32))

    def _distribution(self, dim: int, count: int) -> Categorical:
        return Categorical(self._tables[dim], (count, 1))

    def _symbols(
        self, integers: NDArray[np.int64], dim: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Symbols of integers, and those that are escaped as natural numbers."""
        escape = len(self._tables[dim]) - 1
        symbols = integers - self._firsts[dim]
        outside = (symbols < 0) | (symbols >= escape)
        return np.where(outside, escape, symbols), _to_natural(integers[outside])


def _uniform(count: int) -> Uniform:
    return Uniform(1 << _HALF_BITS, (count, 1))


def _to_natural(integers: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4 ..."""
    return np.where(integers < 0, -2 * integers - 1, 2 * integers)


def _from_natural(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(numbers & 1, -(numbers + 1) // 2, numbers // 2)

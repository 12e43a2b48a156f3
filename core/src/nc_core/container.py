"""The ``.ncz`` file: header, chunks of bytes, footer, each with its checksum.

    signature   8 bytes    89 4E 43 5A 0D 0A 1A 0A
    version     u16        1
    header      u32 length, canonical JSON, u32 CRC-32 of everything up to here
    chunk ...   4 bytes type, u32 length, payload, u32 CRC-32 of type, length and payload
    footer      a chunk of type FOOT, canonical JSON with the length of every chunk before it
    trailer     u64 offset of the footer, 4 bytes "ncz."

All numbers are little-endian. A reader trusts nothing: lengths are compared with the size of
the file before memory is taken. This module knows nothing of models and lanes, and imports
nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, BinaryIO

from nc_core.errors import CorruptFileError, UsageError

__all__ = ["SIGNATURE", "VERSION", "ContainerReader", "ContainerWriter", "whole_chunks"]

SIGNATURE = b"\x89NCZ\r\n\x1a\n"
VERSION = 1
_END = b"ncz."
_FOOTER = b"FOOT"
_TRAILER = struct.Struct("<Q4s")
_CHUNK = struct.Struct("<4sI")
_U32 = struct.Struct("<I")
_PREFIX = struct.Struct("<8sHI")


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON document: sorted keys, no spaces, UTF-8."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


class ContainerWriter:
    """Writes a container front to back; never seeks, so the file may be a pipe.

    Args:
        file: open for writing, at its start (at its end when ``lengths`` is given).
        header: plain JSON data.
        lengths: bytes of each chunk that the file already holds, when an interrupted job goes on.
    """

    def __init__(
        self, file: BinaryIO, header: Mapping[str, Any], lengths: list[int] | None = None
    ) -> None:
        self._file = file
        head = _encode_header(header)
        self._lengths = [] if lengths is None else list(lengths)
        self._offset = len(head) + sum(self._lengths)
        if lengths is None:
            file.write(head)

    def chunk(self, kind: bytes, payload: bytes) -> None:
        """Append one chunk; its type is four ASCII letters."""
        size = self._write(kind, payload)
        self._lengths.append(size)
        self._offset += size

    def finish(self, footer: Mapping[str, Any]) -> int:
        """Append footer and trailer; returns the bytes of the whole file."""
        size = self._write(_FOOTER, canonical_json({**footer, "chunks": self._lengths}))
        self._file.write(_TRAILER.pack(self._offset, _END))
        return self._offset + size + _TRAILER.size

    def _write(self, kind: bytes, payload: bytes) -> int:
        head = _CHUNK.pack(kind, len(payload))
        crc = zlib.crc32(payload, zlib.crc32(head))
        self._file.write(head)
        self._file.write(payload)
        self._file.write(_U32.pack(crc))
        return len(head) + len(payload) + _U32.size


class ContainerReader:
    """Reads a container from a seekable file.

    Args:
        file: open for reading.
        name: what to call it in errors.
        partial: read the whole chunks at the front of a container whose end is damaged or missing.

    Attributes:
        header, footer: their JSON data; an empty footer where it is damaged or missing.
        size: bytes of the file.
        damage: what is wrong with the end of the file; None where nothing is.

    Raises:
        CorruptFileError: not a container, of another version, damaged or truncated.
    """

    def __init__(self, file: BinaryIO, name: str, *, partial: bool = False) -> None:
        self._file = file
        self._name = name
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.header, self._start = _read_header(file, self.size, name)
        self.damage: CorruptFileError | None = None
        try:
            self.footer, self._end = self._read_footer()
            self.chunk_lengths = self._checked_lengths()
        except CorruptFileError as error:
            if not partial:
                raise
            self.damage, self.footer = error, {}
            self.chunk_lengths = self._lengths_without_index()
        self._offsets = list(accumulate(self.chunk_lengths, initial=self._start))

    def chunks(self) -> Iterator[tuple[bytes, bytes]]:
        """Type and payload of every chunk in order, checked."""
        return map(self.chunk, range(len(self.chunk_lengths)))

    def chunk(self, index: int) -> tuple[bytes, bytes]:
        """Type and payload of one chunk.

        Raises:
            CorruptFileError: it is damaged.
        """
        return self._read_chunk(self._offsets[index], self._offsets[index + 1])

    def chunk_type(self, index: int) -> bytes:
        """Type of one chunk, read without its payload and so not checked."""
        self._file.seek(self._offsets[index])
        return self._file.read(4)

    def _read_footer(self) -> tuple[dict[str, Any], int]:
        start = self.size - _TRAILER.size
        if start < self._start:
            raise CorruptFileError(f"{self._name}: truncated, the end of the file is missing")
        self._file.seek(start)
        offset, end = _TRAILER.unpack(self._file.read(_TRAILER.size))
        if end != _END or not self._start <= offset < start:
            raise CorruptFileError(f"{self._name}: truncated, the end of the file is missing")
        kind, payload = self._read_chunk(offset, start)
        if kind != _FOOTER:
            raise CorruptFileError(f"{self._name}: damaged, no footer where it should be")
        return _parse_json(payload, self._name), offset

    def _checked_lengths(self) -> list[int]:
        lengths = self.footer.get("chunks")
        valid = isinstance(lengths, list) and all(
            type(n) is int and n >= _CHUNK.size + _U32.size for n in lengths
        )
        if not valid or self._start + sum(lengths) != self._end:  # type: ignore[arg-type]
            raise CorruptFileError(f"{self._name}: damaged, its index does not fit its chunks")
        return list(lengths)  # type: ignore[arg-type]

    def _lengths_without_index(self) -> list[int]:
        """Bytes of each whole chunk in front of the footer, or of the damage."""
        self._file.seek(self._start)
        return [
            chunk_size(payload) for _, payload in _whole_chunks(self._file, self.size - self._start)
        ]

    def _read_chunk(self, start: int, end: int) -> tuple[bytes, bytes]:
        """The chunk that fills the bytes from ``start`` to ``end`` exactly."""
        self._file.seek(start)
        chunk = _next_chunk(self._file, end - start)
        if chunk is None or self._file.tell() != end:
            raise CorruptFileError(f"{self._name}: damaged at byte {start} (checksum)")
        return chunk


def whole_chunks(file: BinaryIO, header: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    """The undamaged chunks at the front of an unfinished container with that header.

    Args:
        file: open for reading; stands right behind a chunk when that is yielded.
        header: plain JSON data.

    Yields:
        type and payload of each; nothing where the file ends inside its header.

    Raises:
        UsageError: the file has another header, so nothing of it can be used.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = _encode_header(header)
    found = file.read(len(head))
    if not head.startswith(found):
        raise UsageError(
            "what was left to resume belongs to another input, model or version",
            "run the command without --resume",
        )
    yield from _whole_chunks(file, size - file.tell())


def chunk_size(payload: bytes) -> int:
    """Bytes of a chunk with that payload."""
    return _CHUNK.size + len(payload) + _U32.size


def _whole_chunks(file: BinaryIO, available: int) -> Iterator[tuple[bytes, bytes]]:
    """Chunks from the file's position on, up to a footer or one that is damaged or not whole."""
    while True:
        chunk = _next_chunk(file, available)
        if chunk is None or chunk[0] == _FOOTER:
            return
        available -= chunk_size(chunk[1])
        yield chunk


def _next_chunk(file: BinaryIO, available: int) -> tuple[bytes, bytes] | None:
    """Type and payload of the chunk at the file's position; None if it is not whole."""
    if available < _CHUNK.size + _U32.size:
        return None
    head = file.read(_CHUNK.size)
    kind, length = _CHUNK.unpack(head)
    if length > available - _CHUNK.size - _U32.size:
        return None
    payload = file.read(length)
    crc = file.read(_U32.size)
    if crc != _U32.pack(zlib.crc32(payload, zlib.crc32(head))):
        return None
    return kind, payload


def _encode_header(header: Mapping[str, Any]) -> bytes:
    data = canonical_json(header)
    head = _PREFIX.pack(SIGNATURE, VERSION, len(data)) + data
    return head + _U32.pack(zlib.crc32(head))


def _read_header(file: BinaryIO, size: int, name: str) -> tuple[dict[str, Any], int]:
    prefix = file.read(_PREFIX.size)
    if prefix[:8] != SIGNATURE[: len(prefix)] or not prefix:
        raise CorruptFileError(f"{name}: not an .ncz file")
    if len(prefix) < _PREFIX.size:
        raise CorruptFileError(f"{name}: truncated inside its header")
    _, version, length = _PREFIX.unpack(prefix)
    if version != VERSION:
        raise CorruptFileError(
            f"{name}: format version {version}, this program reads version {VERSION}",
            "pip install --upgrade nc-core",
        )
    if length + _PREFIX.size + _U32.size > size:
        raise CorruptFileError(f"{name}: truncated inside its header")
    data = file.read(length)
    if file.read(_U32.size) != _U32.pack(zlib.crc32(prefix + data)):
        raise CorruptFileError(f"{name}: damaged header (checksum)")
    return _parse_json(data, name), file.tell()


def _parse_json(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{name}: damaged, unreadable JSON") from error
    if not isinstance(value, dict):
        raise CorruptFileError(f"{name}: damaged, JSON of the wrong form")
    return value

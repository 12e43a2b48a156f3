"""Containers: whatever is written is read back, and nothing damaged is believed."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nc_core.container import ContainerReader, ContainerWriter, chunk_size, whole_chunks
from nc_core.errors import CorruptFileError, UsageError

HEADER = {"model": "m", "name": "ünïcode", "n": 3}
CHUNKS = [(b"CODE", b"abc"), (b"ICCP", b""), (b"CODE", bytes(range(256)))]


def container(header: dict[str, Any] = HEADER, chunks: list[tuple[bytes, bytes]] = CHUNKS) -> bytes:
    file = io.BytesIO()
    writer = ContainerWriter(file, header)
    for kind, payload in chunks:
        writer.chunk(kind, payload)
    assert writer.finish({"items": 1}) == len(file.getvalue())
    return file.getvalue()


def read(data: bytes) -> list[tuple[bytes, bytes]]:
    reader = ContainerReader(io.BytesIO(data), "x.ncz")
    return list(reader.chunks())


def test_a_container_returns_header_footer_and_chunks() -> None:
    reader = ContainerReader(io.BytesIO(container()), "x.ncz")
    assert reader.header == HEADER
    assert reader.footer["items"] == 1
    assert list(reader.chunks()) == CHUNKS


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_payloads_survive(payloads: list[bytes]) -> None:
    chunks = [(b"CODE", payload) for payload in payloads]
    assert read(container(chunks=chunks)) == chunks


def test_every_flipped_bit_is_noticed() -> None:
    data = container()
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(CorruptFileError):
                read(bytes(damaged))


def test_every_truncation_is_noticed() -> None:
    data = container()
    for length in range(len(data)):
        with pytest.raises(CorruptFileError):
            read(data[:length])


def test_bytes_behind_the_end_are_noticed() -> None:
    with pytest.raises(CorruptFileError, match=r"truncated|damaged"):
        read(container() + b"\0")


def test_another_version_is_named() -> None:
    data = bytearray(container())
    data[8] = 9
    with pytest.raises(CorruptFileError, match="version 9"):
        read(bytes(data))


def test_a_length_beyond_the_file_takes_no_memory() -> None:
    data = bytearray(container())
    data[10:14] = b"\xff\xff\xff\xff"
    with pytest.raises(CorruptFileError, match="truncated"):
        read(bytes(data))


@pytest.mark.parametrize("json", [b"[]", b"{", b"[" * 100_000, b'{"a":' * 5000])
def test_a_header_that_is_no_json_object_is_refused(json: bytes) -> None:
    import struct
    import zlib

    head = struct.pack("<8sHI", b"\x89NCZ\r\n\x1a\n", 1, len(json)) + json
    with pytest.raises(CorruptFileError, match="JSON"):
        read(head + struct.pack("<I", zlib.crc32(head)) + bytes(64))


@given(st.integers(0, 10_000))
def test_whole_chunks_of_an_unfinished_file_are_found(cut: int) -> None:
    data = container()
    file = io.BytesIO(data[: cut % (len(data) + 1)])
    found = []
    for kind, payload in whole_chunks(file, HEADER):
        found.append((kind, payload))
        assert data[: file.tell()][-4 - len(payload) : -4] == payload
        start = file.tell() - chunk_size(payload)
        assert data[start:].startswith(kind)
    assert found == CHUNKS[: len(found)]


def test_an_unfinished_file_of_another_header_is_not_used() -> None:
    with pytest.raises(UsageError, match="another input"):
        next(whole_chunks(io.BytesIO(container()), {"model": "other"}))

"""Colour profile and EXIF of an image, as chunks of a container."""

from __future__ import annotations

import zlib

from nc_core.errors import CorruptFileError, DataError

__all__ = [
    "METADATA_LIMITS",
    "METADATA_TITLES",
    "item_of_metadata",
    "pack_metadata",
    "unpack_metadata",
]

METADATA_LIMITS = {b"ICCP": 1 << 24, b"EXIF": 1 << 20}
"""Chunk type -> most bytes of one item; a reader takes no more memory than that."""

METADATA_TITLES = {b"ICCP": "ICC colour profile", b"EXIF": "EXIF"}
"""Chunk type -> what people call it."""

_INDEX_BYTES = 4


def pack_metadata(kind: bytes, item: int, data: bytes, label: str) -> bytes:
    """The payload of a metadata chunk: the number of the item, and a zlib stream.

    Raises:
        DataError: more than a container holds; the message begins with ``label``.
    """
    if len(data) > METADATA_LIMITS[kind]:
        raise DataError(
            f"{label}: {len(data):,} bytes of {kind.decode()} metadata; "
            f"at most {METADATA_LIMITS[kind]:,} can be kept",
            "remove them from the image first",
        )
    return item.to_bytes(_INDEX_BYTES, "little") + zlib.compress(data, 9)


def item_of_metadata(payload: bytes, file: str) -> int:
    """The number of the item that a metadata chunk belongs to.

    Raises:
        CorruptFileError: the chunk is too short to have one.
    """
    if len(payload) < _INDEX_BYTES:
        raise CorruptFileError(f"{file}: damaged metadata")
    return int.from_bytes(payload[:_INDEX_BYTES], "little")


def unpack_metadata(kind: bytes, payload: bytes, file: str) -> bytes:
    """The metadata in a chunk.

    Raises:
        CorruptFileError: no whole zlib stream, or more bytes than a container holds.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(payload[_INDEX_BYTES:], METADATA_LIMITS[kind] + 1)
    except zlib.error as error:
        raise CorruptFileError(f"{file}: damaged metadata") from error
    if not unpacker.eof or len(data) > METADATA_LIMITS[kind]:
        raise CorruptFileError(f"{file}: damaged metadata")
    return data

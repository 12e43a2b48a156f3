"""One chunk: blocks of one shape on one message."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message
from nc_core.errors import CorruptFileError, WorkError
from nc_core.header import Header
from nc_core.protocols import Coder, LosslessModel

__all__ = ["CODE", "ChunkCost", "chunk_cost", "decode_chunk", "encode_chunk"]

CODE = b"CODE"
"""Type of a chunk that holds blocks."""

_PREAMBLE = struct.Struct("<Id")  # low-water mark of the message, the model's bits


def encode_chunk(
    blocks: NDArray[Any], seed: int, header: Header, model: LosslessModel, coder: Coder
) -> bytes:
    """Code blocks (B, C, H, W) on a fresh message; returns the payload of their chunk.

    Args:
        blocks: of the model's dtype.
        seed: of the message's initial words: the ordinal of the chunk.
        header: lanes, group and initial words.
        model: codes them.
        coder: entropy coder.
    """
    message = Message(header.lanes, header.initial_words, seed)
    bound = 0.0
    for start, end in _groups(len(blocks), header.group):
        bound += model.push(coder, message, blocks[start:end])
    words = message.to_words(message.low_water)
    return _PREAMBLE.pack(message.low_water, bound) + words.astype("<u4").tobytes()


def decode_chunk(
    payload: bytes,
    shape: tuple[int, int, int, int],
    dtype: str,
    seed: int,
    header: Header,
    model: LosslessModel,
    coder: Coder,
) -> NDArray[Any]:
    """The blocks of a chunk; its message must end at its initial words, exactly.

    Raises:
        CorruptFileError: it does not, or the message ends early.
    """
    cost = chunk_cost(payload, header)
    base = Message(header.lanes, header.initial_words, seed)
    base.cursor[:] = header.initial_words - cost.initial // 32
    words = np.frombuffer(payload, "<u4", offset=_PREAMBLE.size)
    blocks = np.empty(shape, dtype)
    try:
        message = Message.from_words(words, header.lanes, base)
        for start, end in reversed(_groups(len(blocks), header.group)):
            group = (end - start, *shape[1:])
            blocks[start:end] = model.pop(coder, message, group, blocks.dtype)
    except (CorruptFileError, WorkError, ValueError) as error:
        # Bits-back coding pushes inside of pop, and what it pushes comes from the file.
        reason = str(error).partition("\n")[0]
        raise CorruptFileError(f"{header.file}: damaged: {reason}") from error
    if not message.is_initial():
        raise CorruptFileError(f"{header.file}: damaged, a message does not end where it began")
    return blocks


@dataclass(frozen=True)
class ChunkCost:
    """What chunks cost, in bits.

    Args:
        payload: words of the messages.
        initial: of these, borrowed by bits-back coding and never returned.
        bound: the model's own code length.
    """

    payload: int = 0
    initial: int = 0
    bound: float = 0.0

    def __add__(self, other: ChunkCost) -> ChunkCost:
        return ChunkCost(
            self.payload + other.payload, self.initial + other.initial, self.bound + other.bound
        )


def chunk_cost(payload: bytes, header: Header) -> ChunkCost:
    """The cost of a chunk, read off its payload.

    Raises:
        CorruptFileError: no such payload can be.
    """
    if len(payload) < _PREAMBLE.size or (len(payload) - _PREAMBLE.size) % 4:
        raise CorruptFileError(f"{header.file}: damaged, a chunk has an impossible length")
    low_water, bound = _PREAMBLE.unpack_from(payload)
    if low_water > header.initial_words:
        raise CorruptFileError(f"{header.file}: damaged, a chunk borrows from nothing")
    if not math.isfinite(bound):
        raise CorruptFileError(f"{header.file}: damaged, a chunk has an impossible code length")
    words = (len(payload) - _PREAMBLE.size) // 4
    return ChunkCost(32 * words, 32 * (header.initial_words - low_water), bound)


def _groups(count: int, group: int | None) -> list[tuple[int, int]]:
    size = count if group is None else group
    return [(start, min(start + size, count)) for start in range(0, count, size)]

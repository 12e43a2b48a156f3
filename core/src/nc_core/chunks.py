"""One chunk: blocks of one shape on one message."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message
from nc_core.chunk_journal import ChunkJournal
from nc_core.errors import CorruptFileError, WorkError
from nc_core.header import Header
from nc_core.protocols import Coder, LosslessModel

__all__ = ["CODE", "ChunkCost", "chunk_cost", "chunk_message", "decode_chunk", "encode_chunk"]

CODE = b"CODE"
"""Type of a chunk that holds blocks."""

_PREAMBLE = struct.Struct("<Id")  # low-water mark of the message, the model's bits


def encode_chunk(
    blocks: NDArray[Any],
    seed: int,
    header: Header,
    model: LosslessModel,
    coder: Coder,
    journal: ChunkJournal | None = None,
    *,
    must_wait: Callable[[], bool] = lambda: False,
) -> bytes:
    """Code blocks (B, C, H, W) on a fresh message; returns the payload of their chunk.

    Args:
        blocks: of the model's dtype.
        seed: of the message's initial words: the ordinal of the chunk.
        header: lanes, group and initial words.
        model: codes them.
        coder: entropy coder.
        journal: where the state is kept from time to time, and taken up.
        must_wait: whether an earlier chunk is unfinished, so that until then the journal alone
            keeps this one.

    Raises:
        KeyboardInterrupt: the user wants to stop, and the state is in the journal.
        UsageError: the journal is that of another input, model or version.
    """
    try:
        return _encode_chunk(blocks, seed, header, model, coder, journal, must_wait)
    except WorkError:
        # The state may have been saved within an attempt that its model gives up in the end.
        if journal is None or not journal.begin_anew():
            raise
        return _encode_chunk(blocks, seed, header, model, coder, journal, must_wait)


def _encode_chunk(
    blocks: NDArray[Any],
    seed: int,
    header: Header,
    model: LosslessModel,
    coder: Coder,
    journal: ChunkJournal | None,
    must_wait: Callable[[], bool],
) -> bytes:
    """As :func:`encode_chunk`, from the beginning of the chunk or from what the journal has."""
    message = Message(header.lanes, header.initial_words, seed)
    groups = _groups(len(blocks), header.group)
    done, bound = 0, 0.0
    saved = None if journal is None else journal.take_up(message)
    if saved is not None:
        done, bound = int(saved["groups"]), float(saved["bound"])
    for index in range(done, len(groups)):
        start, end = groups[index]
        state = {"groups": np.int64(index), "bound": np.float64(bound)}
        span = start / len(blocks), end / len(blocks)
        within = _within_group(model, journal, message, state, span)
        bound += model.push(coder, message, blocks[start:end], **within)
    words = message.to_words(message.low_water)
    payload = _PREAMBLE.pack(message.low_water, bound) + words.astype("<u4").tobytes()
    if journal is not None and done < len(groups):
        state = {"groups": np.int64(len(groups)), "bound": np.float64(bound)}
        journal.finish(message, state, data=len(payload) if must_wait() else None)
    return payload


def decode_chunk(
    payload: bytes,
    shape: tuple[int, int, int, int],
    dtype: str,
    seed: int,
    header: Header,
    model: LosslessModel,
    coder: Coder,
    journal: ChunkJournal | None = None,
) -> NDArray[Any]:
    """The blocks of a chunk; its message must end at its initial words, exactly.

    Raises:
        CorruptFileError: it does not, or the message ends early.
        KeyboardInterrupt, UsageError: as :func:`encode_chunk`.
    """
    blocks = np.empty(shape, dtype)
    groups = _groups(len(blocks), header.group)
    left = len(groups)
    is_decoded = False
    try:
        message = chunk_message(payload, seed, header)
        saved = None if journal is None else journal.take_up(message)
        if saved is not None:
            left = int(saved["groups"])
            is_decoded = left == 0
            blocks[len(blocks) - len(saved["blocks"]) :] = saved["blocks"]
        for start, end in reversed(groups[:left]):
            state = {"groups": np.int64(left), "blocks": blocks[end:]}
            span = 1 - end / len(blocks), 1 - start / len(blocks)
            within = _within_group(model, journal, message, state, span)
            group = (end - start, *shape[1:])
            blocks[start:end] = model.pop(coder, message, group, blocks.dtype, **within)
            left -= 1
    except (CorruptFileError, WorkError, ValueError) as error:
        # Bits-back coding pushes inside of pop, and what it pushes comes from the file.
        reason = str(error).partition("\n")[0]
        raise CorruptFileError(f"{header.file}: damaged: {reason}") from error
    if not message.is_initial():
        raise CorruptFileError(f"{header.file}: damaged, a message does not end where it began")
    if journal is not None and not is_decoded:
        state = {"groups": np.int64(0), "blocks": blocks}
        journal.finish(message, state, data=blocks.nbytes)
    return blocks


def chunk_message(payload: bytes, seed: int, header: Header) -> Message:
    """The message of a chunk, from its payload.

    Raises:
        CorruptFileError: there is none in it.
    """
    cost = chunk_cost(payload, header)
    base = Message(header.lanes, header.initial_words, seed)
    base.cursor[:] = header.initial_words - cost.initial // 32
    words = np.frombuffer(payload, "<u4", offset=_PREAMBLE.size)
    return Message.from_words(words, header.lanes, base)


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


def _within_group(
    model: LosslessModel,
    journal: ChunkJournal | None,
    message: Message,
    state: Mapping[str, Any],
    span: tuple[float, float],
) -> dict[str, Any]:
    """The keyword for ``push`` or ``pop`` of one group; none for a model that does not ask for it.

    What the engine has so far is saved first, where that is due. The span is the group's in the
    work on the chunk, within 0 ... 1.
    """
    if journal is None:
        return {}
    within = journal.group(message, state, span)
    return {"journal": within} if getattr(model, "journaled", False) else {}


def _groups(count: int, group: int | None) -> list[tuple[int, int]]:
    size = count if group is None else group
    return [(start, min(start + size, count)) for start in range(0, count, size)]

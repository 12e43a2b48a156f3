"""What a job keeps of the chunks that it has begun: one file for each, in a folder of the job."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nc_core import saved_state
from nc_core.ans.message import HEAD_MAX, HEAD_MIN, Message
from nc_core.container import canonical_json
from nc_core.errors import UsageError
from nc_core.header import Header
from nc_core.journal import Journal
from nc_core.protocols import LosslessModel
from nc_core.samples_done import Reached
from nc_core.signals import StopRequest

__all__ = ["HOW_TO_RESUME", "INTERVAL_SECONDS", "ChunkJournal", "ChunkJournals"]

INTERVAL_SECONDS = 60.0
"""Time after which the state within a chunk is saved again."""

HOW_TO_RESUME = "run the same command with --resume to go on"
"""Hint of an error after which something is kept."""

_SCHEMA = "nc.journal/1"
# A chunk whose work takes less than this is cheaper to do again than to keep.
_LEAST_SECONDS, _LEAST_SECONDS_PER_BYTE = 0.01, 1e-6

_log = logging.getLogger(__name__)

Work = Literal["encode", "verify", "decode"]
Arrays = Mapping[str, Any]


@dataclass
class ChunkJournals:
    """The journals of one pass over the chunks of a container.

    Args:
        folder: where they lie; made when the first is written. None to keep nothing, and only tell
            how far chunks are.
        work: what the pass does; others may use the same folder.
        header: of the container.
        model: the one that does the work.
        interval: seconds between two saves.
        resume: go on with what is there.
        stop: whether the user wants to stop.
        on_folder_made: called once when the folder is made.

    Attributes:
        kept: something lies in the folder.
        is_full: there was no room for something.
    """

    folder: Path | None
    work: Work
    header: Header
    model: LosslessModel
    interval: float = INTERVAL_SECONDS
    resume: bool = False
    stop: StopRequest = field(default_factory=StopRequest)
    on_folder_made: Callable[[], None] = lambda: None
    kept: bool = field(init=False)
    is_full: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.kept = self.resume and self.folder is not None and self.folder.is_dir()
        self._started = time.monotonic()
        self._making = threading.Lock()

    def chunk(self, number: int, data: NDArray[Any] | bytes, reached: Reached) -> ChunkJournal:
        """The journal of one chunk.

        Args:
            number: its ordinal.
            data: what goes in: the blocks to encode, or the payload to decode.
            reached: called with what is done of it.
        """
        return ChunkJournal(self, number, data, reached)

    def path(self, number: int) -> Path:
        """The file of a chunk."""
        assert self.folder is not None
        return self.folder / f"{self.work}-{number}"

    def key(self, number: int, data: NDArray[Any] | bytes) -> bytes:
        """What the state of a chunk belongs to; 32 bytes."""
        array = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        key = hashlib.sha256(self._identity)
        key.update(f"{number} {array.dtype.str} {array.shape}".encode())
        key.update(np.ascontiguousarray(array).data)
        return key.digest()

    @cached_property
    def _identity(self) -> bytes:
        return hashlib.sha256(
            canonical_json(
                {
                    "schema": _SCHEMA,
                    "work": self.work,
                    "header": self.header.to_json(),
                    "package": list(self.model.package),
                }
            )
        ).digest()

    def make_folder(self) -> None:
        """Make the folder, unless it is there; called by several threads.

        Raises:
            DataError: another process has it.
            OSError: it cannot be made.
        """
        assert self.folder is not None
        with self._making:
            if not self.kept:
                self.folder.mkdir(exist_ok=True)
                self.on_folder_made()
                self.kept = True

    def drop(self, number: int) -> None:
        """Remove the journal of a chunk that is kept elsewhere now."""
        if self.kept:
            self.path(number).unlink(missing_ok=True)

    def stop_if_asked(self) -> None:
        """Between two chunks.

        Raises:
            KeyboardInterrupt: the user wants to stop.
        """
        if self.stop.asked:
            raise KeyboardInterrupt

    def keeps_finished(self, seconds: float, data: int) -> bool:
        """Whether a chunk is kept when it is finished.

        Args:
            seconds: that it took.
            data: bytes to keep.
        """
        if self.folder is None or self.is_full:
            return False
        if getattr(self.model, "journaled", False):
            return True
        is_long = self.kept or time.monotonic() - self._started >= self.interval
        return is_long and seconds >= _LEAST_SECONDS + data * _LEAST_SECONDS_PER_BYTE


class ChunkJournal:
    """The state of one chunk: groups that are finished, and that of the model within the next.

    Args:
        job: of all chunks.
        number: of this one.
        data: that it is made of.
        reached: called with what is done of it.
    """

    def __init__(
        self, job: ChunkJournals, number: int, data: NDArray[Any] | bytes, reached: Reached
    ) -> None:
        self._job, self._number, self._data = job, number, data
        self._reached, self._done, self._is_new = reached, 0.0, False
        self._began = self._saved = time.monotonic()
        self._key: bytes | None = None
        self._is_there = self._is_taken_up = False
        self._may_take_up = job.resume and job.kept
        self._within: dict[str, NDArray[Any]] | None = None

    def take_up(self, message: Message) -> dict[str, NDArray[Any]] | None:
        """Put the message of a chunk back into its saved state.

        Returns:
            what the engine saved; None where nothing was, or nothing that can be used.

        Raises:
            UsageError: it belongs to another input or version.
            OSError: it cannot be read.
        """
        if not (self._may_take_up and self._path.exists()):
            return None
        try:
            arrays = saved_state.read_state(self._path, self._own_key())
            if arrays is None:
                return None
            _restore(message, arrays, self._path)
        except saved_state.DamagedStateError as error:
            _log.warning("%s; its chunk begins again", error.message)
            return None
        except saved_state.ForeignStateError as error:
            raise UsageError(
                "what was left to resume belongs to another input, model or version",
                "run the command without --resume",
            ) from error
        self._is_there = self._is_taken_up = True
        self.tell(float(arrays["done"]))
        self._within = _part(arrays, "model/") if arrays["within"] else None
        return _part(arrays, "engine/")

    def begin_anew(self) -> bool:
        """Do not use what was saved; False where it was not used anyway."""
        was_taken_up, self._may_take_up, self._is_taken_up = self._is_taken_up, False, False
        self._done = 0.0
        return was_taken_up

    def group(self, message: Message, engine: Arrays, span: tuple[float, float]) -> Journal:
        """The journal of the next group; where it is due, the state before that is saved.

        Args:
            message: of the chunk.
            engine: what the engine needs to get to this group.
            span: of this group in the work on the chunk, within 0 ... 1.

        Raises:
            KeyboardInterrupt: the user wants to stop, and the state is saved.
            OSError: it cannot be written.
        """
        state, self._within = self._within, None
        self.tell(span[0])
        self._is_new = True
        if state is None and self.due():
            self.save(message, engine)
        return _GroupJournal(self, engine, state, span)

    def tell(self, done: float) -> None:
        """Say what share of the work on the chunk is done; a smaller one than before is ignored."""
        self._done = max(self._done, min(done, 1.0))
        self._reached(self._done, self._is_new)

    def due(self) -> bool:
        """Whether to save now."""
        job = self._job
        if job.folder is None:
            return False
        return job.stop.asked or time.monotonic() - self._saved >= job.interval

    def save(
        self,
        message: Message,
        engine: Arrays,
        model: Arrays | None = None,
        *,
        done: float | None = None,
        durable: bool = True,
    ) -> None:
        """Save the state of the chunk, where the job keeps any.

        Args:
            message: of the chunk.
            engine: arrays of the engine.
            model: arrays of the model within a group.
            done: share of the work on the chunk that is in this state; None for what was told last.
            durable: wait until it would survive a power cut, too.

        Raises:
            KeyboardInterrupt: the user wants to stop, and the state is saved.
            OSError: it cannot be written.
        """
        if self._job.folder is None:
            return
        arrays = {
            **_message_arrays(message),
            "done": np.float64(self._done if done is None else done),
            "within": np.bool_(model is not None),
            **{f"engine/{name}": value for name, value in engine.items()},
            **{f"model/{name}": value for name, value in (model or {}).items()},
        }
        self._job.make_folder()
        saved_state.write_state(self._path, self._own_key(), arrays, durable=durable)
        self._is_there = True
        self._saved = time.monotonic()
        self._job.stop_if_asked()

    def finish(self, message: Message, engine: Arrays, *, data: int | None = None) -> None:
        """Save the end of the chunk, where it took long or something of it was saved before.

        Args:
            message: of the chunk.
            engine: arrays of the engine.
            data: bytes of the result, where this is the only place that keeps it.

        Raises:
            KeyboardInterrupt, OSError: as :meth:`save`.
        """
        self.tell(1.0)
        if self._is_there or self.due():
            self.save(message, engine)
        elif data is not None:
            seconds = time.monotonic() - self._began
            if self._job.keeps_finished(seconds, data):
                self._save_if_there_is_room(message, engine)

    def _save_if_there_is_room(self, message: Message, engine: Arrays) -> None:
        """Nothing of this chunk was saved before: it is not worth failing for."""
        try:
            self.save(message, engine, durable=False)
        except OSError as error:
            self._job.is_full = True
            _log.warning("%s: %s; an interruption will cost more", self._path, error.strerror)

    @property
    def _path(self) -> Path:
        return self._job.path(self._number)

    def _own_key(self) -> bytes:
        """Computed when it is first needed: many chunks never are saved."""
        if self._key is None:
            self._key = self._job.key(self._number, self._data)
        return self._key


@dataclass
class _GroupJournal:
    """What a model gets for one push or pop (:class:`nc_core.journal.Journal`)."""

    _chunk: ChunkJournal
    _engine: Arrays
    _state: dict[str, NDArray[Any]] | None
    _span: tuple[float, float]

    def state(self) -> dict[str, NDArray[Any]] | None:
        return self._state

    def due(self, done: float = 0.0) -> bool:
        self._chunk.tell(self._of_chunk(done))
        return self._chunk.due()

    def save(self, message: Message, arrays: Arrays, *, done: float | None = None) -> None:
        share = None if done is None else self._of_chunk(done)
        self._chunk.save(message, self._engine, arrays, done=share)

    def _of_chunk(self, done: float) -> float:
        start, end = self._span
        return start + done * (end - start)


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _message_arrays(message: Message) -> dict[str, NDArray[Any]]:
    """A message, but for the initial words that still lie at the bottom of its stack."""
    initial = _initial_words(message)[: message.size]
    changed = np.flatnonzero(message.stack[: len(initial)] != initial)
    start = int(changed[0]) if len(changed) else len(initial)
    return {
        "message/heads": message.heads,
        "message/cursor": message.cursor,
        "message/words": message.stack[start : message.size],
    }


def _initial_words(message: Message) -> NDArray[np.uint32]:
    fresh = Message(message.lanes, message.initial_words, message.seed)
    return fresh.stack[: fresh.size]


def _restore(message: Message, arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Put a message into a saved state; one that cannot be is refused before it is touched."""
    try:
        heads, cursor = arrays["message/heads"], arrays["message/cursor"]
        words = arrays["message/words"]
        size, low_water = (int(number) for number in cursor)
        start = size - words.size
        possible = (
            heads.shape == message.heads.shape
            and heads.dtype == np.uint64
            and words.dtype == np.uint32
            and cursor.dtype == np.int64
            and words.ndim == 1
            and 0 <= start <= message.initial_words
            and 0 <= low_water <= size
            and bool(((heads >= HEAD_MIN) & (heads < HEAD_MAX)).all())
            and arrays["within"].shape == arrays["done"].shape == ()
        )
    except (KeyError, ValueError, TypeError) as error:
        raise saved_state.DamagedStateError(f"{path}: damaged") from error
    if not possible:
        raise saved_state.DamagedStateError(f"{path}: damaged")
    message.reserve(max(size - message.size, 0))
    message.heads[:], message.cursor[:] = heads, cursor
    message.stack[:start] = _initial_words(message)[:start]
    message.stack[start:size] = words

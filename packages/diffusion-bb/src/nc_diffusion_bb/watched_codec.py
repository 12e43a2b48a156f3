"""A codec that takes note of the levels that it pushes and of the time, and keeps both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message
from nc_core.journal import Journal
from nc_core.protocols import Coder
from nc_diffusion_bb.case_record import CaseRecord
from nc_diffusion_bb.codec import DiffusionCodec
from nc_diffusion_bb.tracking import Track

__all__ = ["WatchedCodec"]


class WatchedCodec:
    """A codec whose work is taken note of; otherwise the codec itself.

    Args:
        codec: does the work.
        record: of the case.
    """

    def __init__(self, codec: DiffusionCodec, record: CaseRecord) -> None:
        self._codec, self._record = codec, record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def with_coding(self, options: Mapping[str, str]) -> WatchedCodec:
        """As the codec's, watched too: what codes a file makes its model anew."""
        return WatchedCodec(self._codec.with_coding(options), self._record)

    def push(
        self,
        coder: Coder,
        message: Message,
        blocks: NDArray[Any],
        *,
        journal: Journal | None = None,
    ) -> float:
        """As the codec's; a push that fails, as after a lead-in that is too short, is forgotten."""
        state = None if journal is None else journal.state()
        track = Track(self._codec.steps) if state is None else Track.of(state)
        if journal is not None:
            journal = _WatchedJournal(journal, self._record, track)
        bits = self._codec.push(coder, message, blocks, journal=journal, track=track)
        self._record.add(message.seed, track)
        return bits

    def pop(
        self,
        coder: Coder,
        message: Message,
        shape: tuple[int, int, int, int],
        dtype: np.dtype[Any],
        *,
        journal: Journal | None = None,
    ) -> NDArray[Any]:
        """As the codec's."""
        self._record.begin("decode")
        if journal is not None:
            journal = _WatchedJournal(journal, self._record)
        blocks = self._codec.pop(coder, message, shape, dtype, journal=journal)
        self._record.keep()
        return blocks


@dataclass(frozen=True)
class _WatchedJournal:
    """A journal that keeps the levels that are pushed as well, and the seconds in the record."""

    _journal: Journal
    _record: CaseRecord
    _track: Track | None = None

    def state(self) -> dict[str, NDArray[Any]] | None:
        return self._journal.state()

    def due(self, done: float = 0.0) -> bool:
        return self._journal.due(done)

    def save(
        self, message: Message, arrays: Mapping[str, Any], *, done: float | None = None
    ) -> None:
        self._record.keep()
        watched = {} if self._track is None else self._track.to_arrays()
        self._journal.save(message, {**arrays, **watched}, done=done)

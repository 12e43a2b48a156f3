"""A journal in memory, for tests of models that keep their state within one push or pop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message

__all__ = ["MemoryJournal", "Saved"]


class Saved(NamedTuple):
    """What a model saved at one moment."""

    message: Message
    arrays: dict[str, NDArray[Any]]


class MemoryJournal:
    """Keeps every state, and is always due (:class:`nc_core.journal.Journal`).

    Args:
        state: to go on from; give the call a copy of the message that was saved with it.
        stop_after: saves after which the user wants to stop; None for never.

    Attributes:
        saved: all states, the first first.

    Example:
        >>> from nc_core.ans.message import Message
        >>> journal = MemoryJournal()
        >>> journal.save(Message(), {"step": 3})
        >>> MemoryJournal(journal.saved[-1]).state()
        {'step': array(3)}
    """

    def __init__(self, state: Saved | None = None, *, stop_after: int | None = None) -> None:
        self.saved: list[Saved] = []
        self._state = None if state is None else _copied(state.arrays)
        self._stop_after = stop_after

    def state(self) -> dict[str, NDArray[Any]] | None:
        """The arrays to go on from."""
        return self._state

    def due(self, done: float = 0.0) -> bool:
        """Always.

        Raises:
            ValueError: no share 0 ... 1.
        """
        _check_share(done)
        return True

    def save(
        self, message: Message, arrays: Mapping[str, Any], *, done: float | None = None
    ) -> None:
        """Keep a copy.

        Raises:
            KeyboardInterrupt: the user wants to stop.
            TypeError: an array that cannot be kept in a file.
            ValueError: no share 0 ... 1.
        """
        _check_share(0.0 if done is None else done)
        for name, value in arrays.items():
            if np.asarray(value).dtype.kind not in "biuf":
                raise TypeError(f"{name}: cannot save an array of {np.asarray(value).dtype}")
        self.saved.append(Saved(message.copy(), _copied(arrays)))
        if len(self.saved) == self._stop_after:
            raise KeyboardInterrupt


def _check_share(done: float) -> None:
    if not 0.0 <= done <= 1.0:
        raise ValueError(f"the share that is done is 0 ... 1, not {done}")


def _copied(arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: np.array(value) for name, value in arrays.items()}

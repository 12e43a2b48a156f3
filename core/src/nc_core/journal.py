"""What a model may use to survive a kill in the middle of one piece of work.

The engine keeps whole chunks, and the groups of blocks of an unfinished one. A model that works
on one group for minutes or hours says ``journaled = True``; its ``push`` and ``pop`` then take a
keyword ``journal``, with which they keep their state within the group:

    def push(self, coder, message, blocks, *, journal=None):
        state = None if journal is None else journal.state()
        step, bits, x = (0, 0.0, start(blocks)) if state is None else (
            int(state["step"]), float(state["bits"]), state["x"])
        while step < self.steps:
            ...                                       # changes message, x and bits
            step += 1
            if journal is not None and journal.due(step / self.steps):
                journal.save(message, {"step": np.int64(step), "bits": np.float64(bits), "x": x})
        return bits

When such a call goes on with what an earlier process saved, the engine has already put the message
back into the state in which it was saved; the model restores the rest from :meth:`Journal.state`.
Everything else of the call is as it was then: the same model, blocks (or shape), coding and order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from nc_core.ans.message import Message

__all__ = ["Journal"]


class Journal(Protocol):
    """The saved state of one ``push`` or ``pop``, which it alone reads and writes."""

    def state(self) -> dict[str, NDArray[Any]] | None:
        """The arrays that were saved last for this very call; None where it begins anew.

        The message that the call was given is the one that was saved with them. Ask before
        anything is pushed or popped. The arrays may be changed in place.
        """
        ...

    def due(self, done: float = 0.0) -> bool:
        """Whether to save now: a minute has passed since the last time, or the user wants to stop.

        Costs nothing; ask after every step that ends in a state that can be saved.

        Args:
            done: share of this call's work that is done, 0 ... 1, what an earlier process did of it
                included. The user is shown how far the work is.
        """
        ...

    def save(
        self, message: Message, arrays: Mapping[str, Any], *, done: float | None = None
    ) -> None:
        """Save the message and whatever the rest of the call needs; may be called at any time.

        Args:
            message: the one of this call.
            arrays: arrays or NumPy scalars by name; booleans, integers and floats of any shape.
            done: share of the work that is in this state, where that is less than :meth:`due` was
                told last.

        Raises:
            KeyboardInterrupt: the user wants to stop, and everything is saved. Let it pass.
            OSError: it cannot be written; let it pass as well: what was saved before is there.
            TypeError: an array of another dtype.
        """
        ...

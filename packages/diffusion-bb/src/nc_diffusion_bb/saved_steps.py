"""The state of coding in the middle of a group of images, for who goes on after a kill."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message
from nc_core.ans.bits_back import Step
from nc_core.ans.groups import Group
from nc_core.journal import Journal
from nc_diffusion_bb.top_down import DownStep

__all__ = ["SavedSteps"]

_NOT_BEGUN = -1


class SavedSteps:
    """Keeps steps in a journal, and gives back the last one that was kept.

    Args:
        journal: of this push or pop; None to keep nothing.
        message: of this push or pop.
        count: of its images.
        levels: of the chain.

    Attributes:
        group: within which the last step was; None where nothing was kept.
    """

    def __init__(self, journal: Journal | None, message: Message, count: int, levels: int) -> None:
        self._journal, self._message = journal, message
        self._count, self._levels = count, levels
        self._state = None if journal is None else journal.state()
        self.group = None if self._state is None else _group_of(self._state)

    def restore_blocks(self, blocks: NDArray[np.uint8]) -> None:
        """Write the blocks that were popped before into their places."""
        if self._state is not None and self.group is not None:
            blocks[self.group.stop :] = self._state["blocks"]

    def taken_step(self) -> Step | None:
        """The last step of Bit-Swap's order; the first time that it is asked for."""
        state, self._state = self._state, None
        if state is None or "level" not in state:
            return None
        return Step(int(state["level"]), state["variable"].astype(np.int64), float(state["net"]))

    def taken_descent(self) -> DownStep | None:
        """The last step from the top down; the first time that it is asked for."""
        state, self._state = self._state, None
        if state is None or "symbols" not in state:
            return None
        symbols = tuple(row[:, None].astype(np.int64) for row in state["symbols"])
        return DownStep(symbols, state["value"], float(state["net"]))

    def keep_step(self, group: Group, step: Step, blocks: NDArray[np.uint8] | None = None) -> None:
        """Save a step of Bit-Swap's order, if it is time.

        Args:
            group: that it is in.
            step: to go on from.
            blocks: where those that were popped before are.
        """
        if blocks is None:
            done = self._pushed(group, step.level)
        else:
            done = self._popped(group, self._levels - step.level)
        if self._journal is None or not self._journal.due(done):
            return
        arrays = {
            "level": np.int64(step.level),
            "variable": step.variable.astype(np.int32),
            "net": np.float64(step.bits),
        }
        if blocks is not None:
            arrays["blocks"] = blocks[group.stop :]
        self._journal.save(self._message, arrays | _arrays_of(group))

    def keep_group(
        self, group: Group, message: Message, blocks: NDArray[np.uint8], levels: int
    ) -> None:
        """Save where a group begins, if it is time.

        Args:
            group: that is to be popped.
            message: as it was then.
            blocks: where those that were popped before are.
            levels: of the group that were popped meanwhile, which whoever goes on pops again.
        """
        if self._journal is not None and self._journal.due(self._popped(group, levels)):
            arrays = {"blocks": blocks[group.stop :]}
            self._journal.save(message, arrays | _arrays_of(group), done=self._popped(group, 0))

    def keep_descent(self, group: Group, step: DownStep) -> None:
        """Save a step from the top down, if it is time."""
        done = self._pushed(group, len(step.symbols))
        if self._journal is None or not self._journal.due(done):
            return
        assert step.value is not None
        arrays = {
            "symbols": np.concatenate(step.symbols, axis=1).T.astype(np.int16),
            "value": step.value,
            "net": np.float64(step.bits),
        }
        self._journal.save(self._message, arrays | _arrays_of(group))

    def _pushed(self, group: Group, levels: int) -> float:
        """Share of the work that is done with the groups before and that many levels of this."""
        size = group.stop - group.start
        return (group.start + size * levels / self._levels) / self._count

    def _popped(self, group: Group, levels: int) -> float:
        """As for a push, with the groups behind."""
        size = group.stop - group.start
        return (self._count - group.stop + size * levels / self._levels) / self._count


def _arrays_of(group: Group) -> dict[str, Any]:
    floor = _NOT_BEGUN if group.floor is None else group.floor
    whole = (*group[:2], group.borrowed, floor, group.low_water, group.neighbour)
    return {"group": np.array(whole, np.int64), "bits": np.float64(group.bits)}


def _group_of(state: dict[str, NDArray[Any]]) -> Group:
    start, stop, borrowed, floor, low_water, neighbour = map(int, state["group"])
    begun = None if floor == _NOT_BEGUN else floor
    return Group(start, stop, float(state["bits"]), borrowed, begun, low_water, neighbour)

"""The contract of a lossless model that keeps its state within one push or pop."""

from __future__ import annotations

import numpy as np

from nc_core.testing.contract import require
from nc_core.testing.contracts.model import ModelSubject
from nc_core.testing.journals import MemoryJournal, Saved

__all__ = ["CHECKS"]


def pushing_goes_on_from_what_was_saved(subject: ModelSubject) -> None:
    """Where it keeps a journal, a push that was cut off goes on to the same words and bits."""
    if not getattr(subject.model, "journaled", False):
        return
    for case in subject.cases:
        blocks = case.blocks[: subject.model.group]
        message, bits = subject.pushed(blocks)
        journal = MemoryJournal()
        subject.model.push(subject.coder, subject.message(), blocks, journal=journal)
        require(bool(journal.saved), f"push saves nothing, though its journal is due: {case}")
        for where, saved in _some(journal):
            again = saved.message.copy()
            said = subject.model.push(subject.coder, again, blocks, journal=MemoryJournal(saved))
            require(
                np.array_equal(again.to_words(), message.to_words())
                and abs(said - bits) <= 1e-9 * abs(bits),
                f"push goes on from the {where} state that it saved to other words or bits: {case}",
            )


def popping_goes_on_from_what_was_saved(subject: ModelSubject) -> None:
    """Where it keeps a journal, a pop that was cut off goes on to the same blocks and words."""
    if not getattr(subject.model, "journaled", False):
        return
    for case in subject.cases:
        blocks = case.blocks[: subject.model.group]
        message, _ = subject.pushed(blocks)
        journal = MemoryJournal()
        arguments = (blocks.shape, blocks.dtype)
        subject.model.pop(subject.coder, message, *arguments, journal=journal)
        require(bool(journal.saved), f"pop saves nothing, though its journal is due: {case}")
        for where, saved in _some(journal):
            again = saved.message.copy()
            popped = subject.model.pop(
                subject.coder, again, *arguments, journal=MemoryJournal(saved)
            )
            require(
                np.array_equal(popped, blocks) and again.is_initial(),
                f"pop goes on from the {where} state that it saved to other blocks or words: "
                f"{case}",
            )


def _some(journal: MemoryJournal) -> list[tuple[str, Saved]]:
    """The first, a middle and the last state: each costs a part of the work again."""
    saved = journal.saved
    return [("first", saved[0]), ("middle", saved[len(saved) // 2]), ("last", saved[-1])]


CHECKS = (pushing_goes_on_from_what_was_saved, popping_goes_on_from_what_was_saved)

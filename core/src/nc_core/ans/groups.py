"""Blocks on a message in groups, each of which goes through the networks side by side.

What a group borrows beyond the message is taken from its initial words, and paid for; so the first
group has one block, and the others as many as the message can lend to. Only the encoder
decides: it pushes the size of a group after the group. Sizes that are powers of two cost fewer
bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nc_core.ans.distributions import Uniform
from nc_core.ans.message import Message
from nc_core.errors import CorruptFileError, WorkError
from nc_core.protocols import Coder

__all__ = ["Group", "pop_groups", "pop_number", "push_groups", "push_number"]

# What blocks may borrow, over what the first one did.
_MARGIN = 1.25


class Group(NamedTuple):
    """A group that is to be pushed or popped, and what is known before.

    Attributes:
        start, stop: its blocks, ``stop`` not included.
        bits: of the groups before.
        borrowed: words that the first group took from below the message.
        floor, low_water: sizes of the message when its push began: then, and the smallest ever;
            None before.
    """

    start: int
    stop: int
    bits: float = 0.0
    borrowed: int = 0
    floor: int | None = None
    low_water: int = 0


def push_groups(
    coder: Coder,
    message: Message,
    count: int,
    largest: int,
    push: Callable[[Group], float],
    *,
    powers: bool = False,
    first: Group | None = None,
) -> float:
    """Push blocks 0 .. count - 1; returns the bits of all groups.

    Args:
        coder: any.
        message: with words to borrow.
        count: of the blocks.
        largest: size of a group.
        push: pushes the blocks of a group, and returns their bits.
        powers: sizes are powers of two, and at most half of the blocks before, or 1.
        first: to go on from, with the message as ``push`` left it, before or within this group.

    Raises:
        WorkError: the message has too few words to borrow for a group of one block.
    """
    group = Group(0, min(count, 1)) if first is None else first
    while group.start < count:
        kept = None
        if group.floor is None:
            kept = message.copy() if group.stop - group.start > 1 else None
            group = group._replace(floor=message.size, low_water=message.low_water)
            message.cursor[1] = message.size
        try:
            bits = group.bits + push(group)
        except WorkError:
            if kept is None:
                raise
            message.take(kept)
            group = group._replace(stop=(group.start + group.stop) // 2, floor=None)
            continue
        assert group.floor is not None
        borrowed = group.borrowed if group.start else group.floor - message.low_water
        message.cursor[1] = min(group.low_water, message.low_water)
        if group.stop > 1:
            size = group.stop - group.start
            number = size.bit_length() - 1 if powers else size - 1
            push_number(coder, message, number, _numbers(largest, powers, group.stop))
        lent = int((message.size - message.low_water) / (_MARGIN * borrowed + 1))
        size = min(max(lent, 1), largest, count - group.stop)
        if powers and size:
            size = 1 << min(size, max(group.stop // 2, 1)).bit_length() - 1
        group = Group(group.stop, group.stop + size, bits, borrowed)
    return group.bits


def pop_groups(
    coder: Coder,
    message: Message,
    count: int,
    largest: int,
    pop: Callable[[Group], object],
    *,
    powers: bool = False,
    first: Group | None = None,
) -> None:
    """Pop what :func:`push_groups` pushed.

    Args:
        coder: any.
        message: holds the groups.
        count: of the blocks.
        largest: size of a group.
        pop: pops the blocks of a group.
        powers: as for the push.
        first: to go on from, with the message as ``pop`` left it within this group.

    Raises:
        CorruptFileError: the message is damaged or too short.
    """
    stop = count
    while stop:
        if first is not None:
            group, first = first, None
        else:
            size = 1
            if stop > 1:
                number = pop_number(coder, message, _numbers(largest, powers, stop))
                size = 1 << number if powers else 1 + number
            if size > stop:
                raise CorruptFileError("the message does not hold as many blocks as it should")
            group = Group(stop - size, stop)
        try:
            pop(group)
        except ValueError as error:  # latents that no encoder draws
            raise CorruptFileError("the message does not hold what it should") from error
        stop = group.start


def push_number(coder: Coder, message: Message, number: int, count: int) -> None:
    """Push a number of 0 .. count - 1, all equally likely."""
    coder.push(message, np.array([[number]]), Uniform(count, (1, 1)))


def pop_number(coder: Coder, message: Message, count: int) -> int:
    """Pop a number of 0 .. count - 1."""
    return int(coder.pop(message, Uniform(count, (1, 1)))[0, 0])


def _numbers(largest: int, powers: bool, stop: int) -> int:
    """How many sizes the group before block ``stop`` may have.

    Powers of two are at most half of the blocks before the group, and so a third of ``stop``.
    """
    if not powers:
        return largest
    return min(largest.bit_length(), max(stop // 3, 1).bit_length())

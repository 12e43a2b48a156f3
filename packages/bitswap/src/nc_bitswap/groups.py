"""Blocks on a message in groups, each of which goes through the networks side by side.

What a group borrows beyond the message is taken from its initial words, and paid for; so the first
group has one block, and the others as many as the message can lend to. Only the encoder
decides: it pushes the size of a group after the group.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nc_core.ans import Message, Uniform
from nc_core.errors import CorruptFileError
from nc_core.protocols import Coder

__all__ = ["pop_groups", "pop_number", "push_groups", "push_number"]

# What blocks may borrow, over what the first one did.
_MARGIN = 1.25


def push_groups(
    coder: Coder, message: Message, count: int, largest: int, push: Callable[[int, int], float]
) -> float:
    """Push blocks 0 .. count - 1; returns the bits of all groups.

    Args:
        coder: any.
        message: with initial words to borrow.
        count: of the blocks.
        largest: size of a group.
        push: pushes the blocks from ``start`` to before ``stop``, and returns their bits.
    """
    bits, start, size = 0.0, 0, 1
    floor = message.size
    while start < count:
        bits += push(start, start + size)
        start += size
        if start > 1:
            push_number(coder, message, size - 1, largest)
        else:
            borrowed = floor - message.low_water
        lent = int((message.size - message.low_water) / (_MARGIN * borrowed + 1))
        size = min(max(lent, 1), largest, count - start)
    return bits


def pop_groups(
    coder: Coder, message: Message, count: int, largest: int, pop: Callable[[int, int], object]
) -> None:
    """Pop what :func:`push_groups` pushed.

    Args:
        coder: any.
        message: holds the groups.
        count: of the blocks.
        largest: size of a group.
        pop: pops the blocks from ``start`` to before ``stop``.

    Raises:
        CorruptFileError: the message is damaged or too short.
    """
    stop = count
    while stop:
        size = 1 + pop_number(coder, message, largest) if stop > 1 else 1
        if size > stop:
            raise CorruptFileError("the message does not hold as many blocks as it should")
        try:
            pop(stop - size, stop)
        except ValueError as error:  # latents that no encoder draws
            raise CorruptFileError("the message does not hold what it should") from error
        stop -= size


def push_number(coder: Coder, message: Message, number: int, count: int) -> None:
    """Push a number of 0 .. count - 1, all equally likely."""
    coder.push(message, np.array([[number]]), Uniform(count, (1, 1)))


def pop_number(coder: Coder, message: Message, count: int) -> int:
    """Pop a number of 0 .. count - 1."""
    return int(coder.pop(message, Uniform(count, (1, 1)))[0, 0])

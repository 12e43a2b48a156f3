"""Blocks on a message in groups, each of which goes through the networks side by side.

What a group borrows beyond the message is taken from its initial words, and paid for; so the first
group has one block, and the others as many as the message can lend to. Only the encoder
decides: it pushes the size of a group after the group.

Sizes that are powers of two cost a fraction of a bit each: a size is pushed after the group above
it, as one of few numbers, of which one is expected. The last group may have any size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions import Categorical, Uniform
from nc_core.ans.message import Message
from nc_core.errors import CorruptFileError, WorkError
from nc_core.protocols import Coder

__all__ = ["Group", "measure_groups", "pop_groups", "pop_number", "push_groups", "push_number"]

# What blocks may borrow, over what the first one did.
_MARGIN = 1.25
# What is expected has a probability of seven in eight.
_SIZE_PRECISION = 16
_UNEXPECTED = 1 << _SIZE_PRECISION - 3


class Group(NamedTuple):
    """A group that is to be pushed or popped, and what is known before.

    Attributes:
        start, stop: its blocks, ``stop`` not included.
        bits: of the groups before.
        borrowed: words that the first group took from below the message.
        floor, low_water: sizes of the message when its push began: then, and the smallest ever;
            None before.
        neighbour: size of the group whose size is pushed after this one, or was popped with it:
            pushing, the group before, popping, this one; 0 where there is none.
    """

    start: int
    stop: int
    bits: float = 0.0
    borrowed: int = 0
    floor: int | None = None
    low_water: int = 0
    neighbour: int = 0


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
        powers: sizes but the last are powers of two, and at most half of the blocks before, or 1.
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
            fewer = _power_below(group.stop - group.start - 1)
            group = group._replace(stop=group.start + fewer, floor=None)
            continue
        assert group.floor is not None
        borrowed = group.borrowed if group.start else group.floor - message.low_water
        message.cursor[1] = min(group.low_water, message.low_water)
        size = group.stop - group.start
        if powers and group.start:
            _push_size(coder, message, group.neighbour, largest, group.start, above=size)
        elif not powers and group.stop > 1:
            push_number(coder, message, size - 1, largest)
        lent = int((message.size - message.low_water) / (_MARGIN * borrowed + 1))
        following = min(max(lent, 1), largest, count - group.stop)
        if powers and following:
            following = min(following, max(group.stop // 2, 1))
            if group.stop + following < count:
                following = _power_below(following)
        group = Group(group.stop, group.stop + following, bits, borrowed, neighbour=size)
    if powers and count > 1:
        push_number(coder, message, group.neighbour - 1, largest)
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

    def size_before(stop: int, above: int | None = None) -> int:
        if stop <= 1:
            size = stop
        elif powers and above is not None:
            size = _pop_size(coder, message, largest, stop, above)
        else:
            size = 1 + pop_number(coder, message, largest)
        if size > stop:
            raise CorruptFileError("the message does not hold as many blocks as it should")
        return size

    stop = count
    size = size_before(count) if first is None else 0
    while stop:
        if first is not None:
            group, first = first, None
        else:
            below = size_before(stop - size, size) if powers else 0
            group = Group(stop - size, stop, neighbour=below)
        try:
            pop(group)
        except ValueError as error:  # latents that no encoder draws
            raise CorruptFileError("the message does not hold what it should") from error
        stop = group.start
        size = group.neighbour if powers else size_before(stop)


def measure_groups(
    blocks: NDArray[Any], largest: int, lengths: Callable[[NDArray[Any]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Code lengths of blocks by themselves, without a message.

    Args:
        blocks: (B, ...).
        largest: size of a group.
        lengths: of the blocks of a group, in bits, (B,).

    Returns:
        float64, (B,).
    """
    parts = [blocks[start : start + largest] for start in range(0, len(blocks), largest)]
    return np.concatenate([np.empty(0), *map(lengths, parts)])


def push_number(coder: Coder, message: Message, number: int, count: int) -> None:
    """Push a number of 0 .. count - 1, all equally likely."""
    coder.push(message, np.array([[number]]), Uniform(count, (1, 1)))


def pop_number(coder: Coder, message: Message, count: int) -> int:
    """Pop a number of 0 .. count - 1."""
    return int(coder.pop(message, Uniform(count, (1, 1)))[0, 0])


def _push_size(
    coder: Coder, message: Message, size: int, largest: int, stop: int, above: int
) -> None:
    """Push a power of two, the size of the group before block ``stop``."""
    numbers = _size_numbers(largest, stop, above)
    if numbers is not None:
        coder.push(message, np.array([[size.bit_length() - 1]]), numbers)


def _pop_size(coder: Coder, message: Message, largest: int, stop: int, above: int) -> int:
    """Pop the size of the group before block ``stop``."""
    numbers = _size_numbers(largest, stop, above)
    return 1 if numbers is None else 1 << int(coder.pop(message, numbers)[0, 0])


def _size_numbers(largest: int, stop: int, above: int) -> Categorical | None:
    """Logarithms of sizes that the group before block ``stop`` may have; None if only 0.

    Sizes are at most half of the blocks before the group, and so a third of ``stop``. Expected is
    that of the group above; of a last group, which may be a rest, the power of two from there on.
    """
    most = min(largest, max(stop // 3, 1)).bit_length() - 1
    if not most:
        return None
    frequencies = np.full(most + 1, _UNEXPECTED // most)
    expected = min(most, (above - 1).bit_length())
    frequencies[expected] += (1 << _SIZE_PRECISION) - int(frequencies.sum())
    return Categorical(frequencies)


def _power_below(number: int) -> int:
    """The largest power of two that is at most ``number``, which is at least 1."""
    return 1 << number.bit_length() - 1

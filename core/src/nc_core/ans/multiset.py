"""Coding collections whose order means nothing, for log2(number of orders) bits less.

Bits-back coding with the order as the latent variable: to push a multiset, draw one of the
remaining symbols by popping it from the message, uniformly over the remaining copies, then
push it with its own codec; repeat until none remains. The reversal pops a symbol, adds it to
the collection and returns the drawn bits. n symbols of which c_1, c_2, ... are equal save
log2(n! / (c_1! c_2! ...)) bits against a sequence; the first draws need a message with words
to borrow.

The remaining symbols are a sorted list, in which a symbol's interval is its run. Every step
costs a binary search and one move of memory: nothing beside the coder up to 10**5 symbols.

Reference: Daniel Severo, James Townsend, Ashish Khisti, Alireza Makhzani, Karen Ullrich,
"Compressing Multisets with Large Alphabets", arXiv 2107.09202.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import numpy as np

from nc_core.ans.finer import Lanes, pop_fraction, push_fraction
from nc_core.ans.message import Message

__all__ = [
    "pop_multiset",
    "pop_without_replacement",
    "push_multiset",
    "push_without_replacement",
]


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> Any: ...


S = TypeVar("S", bound=_Ordered)


def push_multiset(
    message: Message, symbols: Iterable[S], push_symbol: Callable[[Message, S], None]
) -> None:
    """Push symbols without their order.

    Args:
        message: grows or shrinks in place; its lane 0 draws the order.
        symbols: in any order, sortable (numbers, bytes, tuples).
        push_symbol: pushes one symbol, on any lanes.

    Raises:
        CorruptFileError: the message ran out of words to draw with.
    """
    remaining = sorted(symbols)
    while remaining:
        push_symbol(message, pop_without_replacement(message, remaining))


def pop_multiset(message: Message, size: int, pop_symbol: Callable[[Message], S]) -> list[S]:
    """Pop what ``push_multiset`` pushed.

    Args:
        message: shrinks or grows in place.
        size: number of symbols.
        pop_symbol: the inverse of ``push_symbol``.

    Returns:
        The symbols, sorted.

    Raises:
        CorruptFileError: the stack is empty.
    """
    collected: list[S] = []
    for _ in range(size):
        push_without_replacement(message, collected, pop_symbol(message))
    return collected


def pop_without_replacement(message: Message, remaining: list[S]) -> S:
    """Draw one of the remaining symbols with the bits of the message, and remove it.

    Args:
        message: shrinks in place by log2(len(remaining) / copies of the symbol) bits, lane 0.
        remaining: sorted, not empty; loses one copy of the symbol.

    Raises:
        CorruptFileError: the stack is empty; nothing is changed then.
    """

    def locate(count: Lanes) -> tuple[Lanes, Lanes, Lanes]:
        start, freq = _run(remaining, remaining[int(count[0])])
        return np.array([start]), np.array([start], np.uint64), np.array([freq], np.uint64)

    index = int(pop_fraction(message, len(remaining), locate)[0])
    return remaining.pop(index)


def push_without_replacement(message: Message, remaining: list[S], symbol: S) -> None:
    """Add a symbol and push which of the copies it was: undoes ``pop_without_replacement``.

    Args:
        message: grows in place, lane 0.
        remaining: sorted; gains the symbol.
        symbol: comparable with those that remain.
    """
    insort(remaining, symbol)
    push_fraction(message, *_run(remaining, symbol), len(remaining))


def _run(ordered: list[S], symbol: S) -> tuple[int, int]:
    """Position of the first copy of the symbol, and number of copies."""
    start = bisect_left(ordered, symbol)
    return start, bisect_right(ordered, symbol, lo=start) - start

"""rANS one symbol at a time: the words of nc's own coders, in Python integers.

A head is an integer in [2**31, 2**63). Pushing a symbol of frequency f and start s multiplies it
by 2**precision / f; before it would leave the interval, its low 32 bits go to the stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.arguments import (
    check_intervals,
    check_lanes,
    read_counts,
    refuse_impossible,
    restored_on_error,
)
from nc_core.ans.message import HEAD_MIN, Message
from nc_core.errors import CorruptFileError
from nc_core.protocols import Distribution

__all__ = ["MyPluginCoder"]


class MyPluginCoder:
    """A stack: what was pushed last is popped first. Arrays have the shape (steps, lanes)."""

    name = "my-plugin"

    def push(self, message: Message, symbols: NDArray[Any], distribution: Distribution) -> None:
        """Push symbols, the last row first.

        Raises:
            ValueError: a symbol outside the alphabet or of frequency 0, or a wrong shape.
        """
        starts, freqs = distribution.intervals(symbols)
        self.push_intervals(message, starts, freqs, distribution.precision)

    def push_intervals(
        self,
        message: Message,
        starts: NDArray[np.uint64],
        freqs: NDArray[np.uint64],
        precision: int,
    ) -> None:
        """Push given intervals, the last row first.

        Raises:
            ValueError: a frequency of 0, or an interval out of range.
        """
        starts, freqs, _ = check_intervals(message, starts, freqs, precision)
        refuse_impossible(freqs)
        steps, lanes = freqs.shape
        message.reserve(steps * lanes)
        for step in reversed(range(steps)):
            for lane in reversed(range(lanes)):  # so that pop takes words first lane first
                head, freq = int(message.heads[lane]), int(freqs[step, lane])
                if head >= freq << (63 - precision):
                    message.stack[message.size] = head & 0xFFFFFFFF
                    message.cursor[0] += 1
                    head >>= 32
                quotient, rest = divmod(head, freq)
                message.heads[lane] = (quotient << precision) + rest + int(starts[step, lane])

    def pop(self, message: Message, distribution: Distribution) -> NDArray[np.int64]:
        """Pop what ``push`` pushed, the first row first; int64, ``distribution.shape``.

        Raises:
            CorruptFileError: the stack ran empty.
        """
        steps, lanes = distribution.shape
        check_lanes(message, lanes)
        precision = distribution.precision
        symbols = np.empty((steps, lanes), np.int64)
        with restored_on_error(message):
            for step in range(steps):
                counts = read_counts(message, precision, lanes)
                symbols[step], starts, freqs = distribution.locate(step, counts)
                for lane in range(lanes):
                    head = int(message.heads[lane]) >> precision
                    head = head * int(freqs[lane]) + int(counts[lane]) - int(starts[lane])
                    message.heads[lane] = head if head >= HEAD_MIN else _refilled(head, message)
            message.cursor[1] = min(message.cursor)  # the low-water mark, for bits-back coding
        return symbols


def _refilled(head: int, message: Message) -> int:
    """A head below its interval, with the top word of the stack under it."""
    if message.size == 0:
        raise CorruptFileError("the message ends before its symbols do")
    message.cursor[0] -= 1
    return (head << 32) | int(message.stack[message.size])

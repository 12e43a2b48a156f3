"""The craystack library as a coder, where the user has it installed: the same words again.

craystack is the vectorised NumPy coder that published bits-back codecs were measured with. It
keeps a head per lane over a tail of 32-bit words, in the layout of ``Message.to_words``, so a
message crosses over by that layout and back. Only its rANS functions are driven; intervals
and symbols come from this project's distributions.

Reference: https://github.com/j-towns/craystack; James Townsend, Tom Bird, Julius Kunze, David
Barber, "HiLLoC: Lossless Image Compression with Hierarchical Latent Variable Models",
arXiv 1912.09953.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.arguments import check_intervals, check_lanes, refuse_impossible
from nc_core.ans.message import HEAD_MIN, Message
from nc_core.errors import CorruptFileError, MissingDependencyError
from nc_core.protocols import Distribution

__all__ = ["CraystackCoder"]

_HOW_TO_INSTALL = (
    "no package index carries it: git clone https://github.com/j-towns/craystack, then "
    "pip install scipy autograd -e ./craystack"
)


class CraystackCoder:
    """``protocols.Coder`` on top of the installed craystack.

    Raises:
        MissingDependencyError: craystack, or scipy or autograd that it needs, is not installed.
    """

    name = "craystack"

    def __init__(self) -> None:
        try:
            from craystack import rans
        except ImportError as error:
            raise MissingDependencyError(
                f"the coder craystack cannot be used: {error}", _HOW_TO_INSTALL
            ) from error
        self._rans = rans

    def push(self, message: Message, symbols: NDArray[Any], distribution: Distribution) -> None:
        """Push symbols, (steps, lanes), the last row first.

        Raises:
            ValueError: an impossible symbol, or more lanes than the message has.
        """
        self.push_intervals(message, *distribution.intervals(symbols), distribution.precision)

    def push_intervals(
        self,
        message: Message,
        starts: NDArray[np.uint64],
        freqs: NDArray[np.uint64],
        precision: int | NDArray[Any],
    ) -> None:
        """Push given intervals, the last row first.

        Args:
            message: grows in place.
            starts: uint64, (steps, lanes).
            freqs: uint64, (steps, lanes); start + freq <= 2 ** precision.
            precision: bits; one number, or an array that broadcasts to (steps, lanes).

        Raises:
            ValueError: a frequency of 0, an interval or a precision out of range.
        """
        starts, freqs, bits = check_intervals(message, starts, freqs, precision)
        refuse_impossible(freqs)
        precisions = np.broadcast_to(bits, starts.shape).astype(np.uint64)
        lanes = starts.shape[1]
        state = self._enter(message, lanes, words=0)
        for row in zip(starts[::-1], freqs[::-1], precisions[::-1], strict=True):
            state = self._rans.push(state, *row)
        self._leave(message, lanes, state, words=0)

    def pop(self, message: Message, distribution: Distribution) -> NDArray[np.int64]:
        """Pop symbols, (steps, lanes), the first row first.

        Raises:
            CorruptFileError: the stack is empty; the message is unchanged then.
            ValueError: more lanes than the message has.
        """
        steps, lanes = distribution.shape
        check_lanes(message, lanes)
        symbols = np.empty((steps, lanes), np.int64)
        # No step takes more than one word per lane, so the words below stay where they are.
        words = min(message.size, steps * lanes)
        state, left = self._enter(message, lanes, words), words
        precision = np.uint64(distribution.precision)
        for step in range(steps):
            counts, finish = self._rans.pop(state, precision)
            symbols[step], starts, freqs = distribution.locate(step, counts)
            # craystack would go on with random words of its own: look before it pops.
            left -= int((freqs * (state[0] >> precision) + counts - starts < HEAD_MIN).sum())
            if left < 0:
                raise CorruptFileError("the message ends before its symbols do")
            state = finish(starts, freqs)
        self._leave(message, lanes, state, words)
        return symbols

    def _enter(self, message: Message, lanes: int, words: int) -> Any:
        """A message of craystack, of the first lanes and the topmost words."""
        heads = message.heads[:lanes]
        high, low = (heads >> np.uint64(32)).astype(np.uint32), heads.astype(np.uint32)
        tail = message.stack[message.size - words : message.size][::-1]
        return self._rans.unflatten(np.concatenate([high, low, tail]), (lanes,))

    def _leave(self, message: Message, lanes: int, state: Any, words: int) -> None:
        """Put lanes and words that ``_enter`` handed over back into the message."""
        flat = self._rans.flatten(state)
        message.heads[:lanes] = state[0]
        tail = flat[2 * lanes :][::-1]
        message.cursor[0] -= words
        message.reserve(len(tail))
        message.stack[message.size : message.size + len(tail)] = tail
        message.cursor[0] += len(tail)
        message.cursor[1] = min(message.low_water, message.size)

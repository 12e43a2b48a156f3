"""rANS in plain NumPy: what the compiled coder must reproduce, word for word.

One row of an array is one vectorised step over the lanes. Lanes that spill put their low 32
bits on the stack, the first lane on top; lanes that run low take words from it, first lane first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from nc_core.protocols import Distribution

__all__ = ["RansNumpy"]

_WORD_BITS = np.uint64(32)
_LOW_WORD = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


class RansNumpy:
    """The default coder's arithmetic, written to be read. Slow for few lanes.

    Arrays have the shape (steps, lanes). When a method raises, the message is as it was.
    """

    name = "rans-numpy"

    def push(self, message: Message, symbols: NDArray[Any], distribution: Distribution) -> None:
        """Push symbols, the last row first.

        Args:
            message: grows in place.
            symbols: integers, (steps, lanes); any number of lanes up to the message's.
            distribution: of the same shape.

        Raises:
            ValueError: a symbol outside the alphabet or of frequency 0, or a wrong shape.
        """
        starts, freqs = distribution.intervals(symbols)
        self.push_intervals(message, starts, freqs, distribution.precision)

    def pop(self, message: Message, distribution: Distribution) -> NDArray[np.int64]:
        """Pop what ``push`` pushed, the first row first.

        Returns:
            int64, ``distribution.shape``.

        Raises:
            CorruptFileError: the stack ran empty.
        """
        steps, lanes = distribution.shape
        check_lanes(message, lanes)
        symbols = np.empty((steps, lanes), np.int64)
        with restored_on_error(message):
            for step in range(steps):
                counts = read_counts(message, distribution.precision, lanes)
                symbols[step], starts, freqs = distribution.locate(step, counts)
                self.pop_intervals(message, starts[None], freqs[None], distribution.precision)
        return symbols

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
            freqs: the same; start + freq <= 2 ** precision.
            precision: bits; one number, or an array that broadcasts to (steps, lanes).

        Raises:
            ValueError: a frequency of 0, an interval or a precision out of range.
        """
        starts, freqs, bits = check_intervals(message, starts, freqs, precision)
        precisions = np.broadcast_to(bits, starts.shape).astype(np.uint64)
        refuse_impossible(freqs)
        message.reserve(starts.size)
        heads = message.heads[: starts.shape[1]]
        rows = zip(starts[::-1], freqs[::-1], precisions[::-1], strict=True)
        for start, freq, row_precision in rows:
            spills = heads >= freq << (np.uint64(63) - row_precision)
            words = heads[spills] & _LOW_WORD
            size = message.size
            message.stack[size : size + len(words)] = words[::-1]
            message.cursor[0] += len(words)
            heads[spills] >>= _WORD_BITS
            heads[:] = ((heads // freq) << row_precision) + heads % freq + start

    def pop_intervals(
        self,
        message: Message,
        starts: NDArray[np.uint64],
        freqs: NDArray[np.uint64],
        precision: int | NDArray[Any],
    ) -> None:
        """Pop intervals that are known, the first row first: undoes ``push_intervals``.

        Raises:
            ValueError: as for ``push_intervals``.
            CorruptFileError: the stack ran empty, or a count lies outside its interval.
        """
        starts, freqs, bits = check_intervals(message, starts, freqs, precision)
        precisions = np.broadcast_to(bits, starts.shape).astype(np.uint64)
        with restored_on_error(message):
            for row in zip(starts, freqs, precisions, strict=True):
                self._pop_row(message, *row)
            message.cursor[1] = min(message.cursor)

    @staticmethod
    def _pop_row(
        message: Message,
        start: NDArray[np.uint64],
        freq: NDArray[np.uint64],
        precision: NDArray[np.uint64],
    ) -> None:
        heads = message.heads[: len(start)]
        counts = heads & ((_ONE << precision) - _ONE)
        # Unsigned: a count below its start wraps to something large.
        if bool((counts - start >= freq).any()):
            raise CorruptFileError("the message does not hold the symbols it should")
        heads[:] = freq * (heads >> precision) + counts - start
        low = heads < HEAD_MIN
        rest = message.size - int(low.sum())
        if rest < 0:
            raise CorruptFileError("the message ends before its symbols do")
        words = message.stack[rest : message.size][::-1]
        heads[low] = (heads[low] << _WORD_BITS) | words
        message.cursor[0] = rest

    def counts(
        self, message: Message, precision: int | NDArray[Any], lanes: int | None = None
    ) -> NDArray[np.uint64]:
        """The counts that the next pop of each lane will find; the message stays as it is.

        Args:
            message: only read.
            precision: bits; one number, or one for each lane.
            lanes: how many of the message's first lanes; None for all.

        Returns:
            uint64, (lanes,), each below 2 ** precision.
        """
        return read_counts(message, precision, lanes)

"""rANS in compiled code: the default coder.

A head of 64 bits in [2**31, 2**63) for each lane, one stack of 32-bit words for all; the
arithmetic and the word order are those of :mod:`nc_core.ans.rans_numpy`. Core's own
distributions are evaluated inside the coder's loop; any other distribution is asked, in NumPy,
for its intervals.

Example:
    >>> import numpy as np
    >>> from nc_core.ans import Message, Rans, Uniform
    >>> message, coder = Message(), Rans()
    >>> dice = Uniform(6, shape=(4, 1))
    >>> coder.push(message, np.array([[2], [0], [5], [3]]), dice)
    >>> coder.pop(message, dice).ravel().tolist()
    [2, 0, 5, 3]
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.arguments import (
    as_symbols,
    check_intervals,
    check_lanes,
    read_counts,
    refuse_impossible,
    restored_on_error,
)
from nc_core.ans.distributions.base import FusedDistribution
from nc_core.ans.message import Message
from nc_core.errors import CorruptFileError

if TYPE_CHECKING:
    from nc_core.protocols import Distribution

__all__ = ["Rans"]


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    # Imports numba, half a second, so only where something is coded.
    return importlib.import_module("nc_core.ans.kernels")


class Rans:
    """The default entropy coder: a stack, so what was pushed last is popped first.

    Arrays have the shape (steps, lanes). When a method raises, the message is as it was.
    """

    name = "rans"

    def push(self, message: Message, symbols: NDArray[Any], distribution: Distribution) -> None:
        """Push symbols, the last row first.

        Args:
            message: grows in place.
            symbols: integers, (steps, lanes); any number of lanes up to the message's.
            distribution: of the same shape.

        Raises:
            ValueError: a symbol outside the alphabet or of frequency 0, or a wrong shape.
        """
        if not isinstance(distribution, FusedDistribution):
            starts, freqs = distribution.intervals(symbols)
            self.push_intervals(message, starts, freqs, distribution.precision)
            return
        flat = as_symbols(symbols, distribution.shape).ravel()
        check_lanes(message, distribution.shape[1])
        if not flat.size:
            return
        message.reserve(flat.size)
        kernel = _kernels().PUSH[distribution.kernel]
        with restored_on_error(message):
            status = kernel(
                *_state(message, distribution.shape[1]),
                flat,
                distribution.precision,
                *distribution.kernel_arguments(),
            )
            if status != _kernels().OK:
                # The slow way, which says which symbol it is.
                _, freqs = distribution.intervals(symbols)
                refuse_impossible(freqs)
                raise ValueError(f"symbols cannot be pushed (status {status})")

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
        if not steps:
            return symbols
        with restored_on_error(message):
            if isinstance(distribution, FusedDistribution):
                status = _kernels().POP[distribution.kernel](
                    *_state(message, lanes),
                    symbols.reshape(-1),
                    distribution.precision,
                    *distribution.kernel_arguments(),
                )
                _check_pop(status)
            else:
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
        refuse_impossible(freqs)
        if starts.size:
            message.reserve(starts.size)
            _kernels().push_intervals(
                *_state(message, starts.shape[1]), *_flat(starts, freqs, bits)
            )

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
        if starts.size:
            with restored_on_error(message):
                status = _kernels().pop_intervals(
                    *_state(message, starts.shape[1]), *_flat(starts, freqs, bits)
                )
                _check_pop(status)

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


def _state(message: Message, lanes: int) -> tuple[Any, ...]:
    return message.heads, message.stack, message.cursor, lanes


def _flat(
    starts: NDArray[np.uint64], freqs: NDArray[np.uint64], bits: NDArray[np.uint8]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    precisions = bits.reshape(1) if bits.size == 1 else np.broadcast_to(bits, starts.shape).ravel()
    return starts.ravel(), freqs.ravel(), precisions


def _check_pop(status: int) -> None:
    kernels = _kernels()
    if status == kernels.OUT_OF_WORDS:
        raise CorruptFileError("the message ends before its symbols do")
    if status != kernels.OK:
        raise CorruptFileError("the message does not hold the symbols it should")

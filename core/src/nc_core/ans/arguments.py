"""What every coder asks of its arguments, and promises about a message when it refuses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message

__all__ = [
    "MAX_PRECISION",
    "as_symbols",
    "check_intervals",
    "check_lanes",
    "check_precision",
    "read_counts",
    "refuse_impossible",
    "restored_on_error",
]

# Frequencies of 28 bits leave a head of 63 bits room for 35 bits of state: the loss by the
# coder itself stays below 2 ** -32 bit per symbol.
MAX_PRECISION = 28


def check_precision(precision: int | NDArray[Any]) -> NDArray[np.uint8]:
    """Precisions as an array.

    Raises:
        ValueError: one is not an integer in 1 .. 28.
    """
    bits = np.asarray(precision)
    if bits.dtype.kind not in "iu":
        raise ValueError(f"a precision is an integer, not {bits.dtype}")
    if bits.size and not (bits.min() >= 1 and bits.max() <= MAX_PRECISION):
        raise ValueError(f"precision must lie in 1 .. {MAX_PRECISION}")
    return bits.astype(np.uint8)


def check_lanes(message: Message, lanes: int) -> None:
    """Refuse more lanes than the message has, or none.

    Raises:
        ValueError: lanes outside 1 .. message.lanes.
    """
    if not 1 <= lanes <= message.lanes:
        raise ValueError(f"{lanes} lanes asked of a message that has {message.lanes}")


def as_symbols(symbols: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Symbols as a C-contiguous int64 array of the given shape.

    Raises:
        ValueError: not integers, or another shape.
    """
    array = np.asarray(symbols)
    if array.dtype.kind not in "iub":
        raise ValueError(f"symbols are integers, not {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"symbols have the shape {array.shape}, their distribution {shape}")
    return np.ascontiguousarray(array, np.int64)


def check_intervals(
    message: Message, starts: NDArray[Any], freqs: NDArray[Any], precision: int | NDArray[Any]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]]:
    """Intervals as arrays of one shape, (steps, lanes), and precisions that broadcast to it.

    Raises:
        ValueError: not integers, shapes that do not fit, or an interval that is too long.
    """
    starts, freqs = np.asarray(starts), np.asarray(freqs)
    if starts.dtype.kind not in "iu" or freqs.dtype.kind not in "iu":
        raise ValueError("starts and frequencies are integers")
    if starts.ndim != 2 or starts.shape != freqs.shape:
        raise ValueError(f"starts {starts.shape} and frequencies {freqs.shape} need one 2-D shape")
    check_lanes(message, starts.shape[1])
    bits = check_precision(precision)
    np.broadcast_to(bits, starts.shape)
    starts = np.ascontiguousarray(starts, np.uint64)
    freqs = np.ascontiguousarray(freqs, np.uint64)
    totals = np.uint64(1) << bits.astype(np.uint64)
    if bool(((freqs > totals) | (starts > totals - freqs)).any()):
        raise ValueError("an interval reaches beyond 2 ** precision")
    return starts, freqs, bits


def refuse_impossible(freqs: NDArray[np.uint64]) -> None:
    """Refuse frequencies of 0.

    Raises:
        ValueError: naming the first step and lane where one is.
    """
    if not freqs.all():
        step, lane = np.argwhere(freqs == 0)[0]
        raise ValueError(f"the symbol at step {step}, lane {lane} is impossible: frequency 0")


def read_counts(
    message: Message, precision: int | NDArray[Any], lanes: int | None = None
) -> NDArray[np.uint64]:
    """Low ``precision`` bits of the first ``lanes`` heads (None: of all)."""
    lanes = message.lanes if lanes is None else lanes
    check_lanes(message, lanes)
    bits = check_precision(precision).astype(np.uint64)
    return message.heads[:lanes] & ((np.uint64(1) << bits) - np.uint64(1))


@contextmanager
def restored_on_error(message: Message) -> Iterator[None]:
    """Leave the message as it was when the block raises.

    Heads and cursor are enough: within one block a push writes above the old size only, and a
    pop writes no words.
    """
    heads, cursor = message.heads.copy(), message.cursor.copy()
    try:
        yield
    except BaseException:
        message.heads[:], message.cursor[:] = heads, cursor
        raise

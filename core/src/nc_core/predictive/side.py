"""Side information: the few numbers of a call that the encoder chooses, in the same message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message
from nc_core.errors import CorruptFileError
from nc_core.predictive.colour import candidates
from nc_core.predictive.layout import CLASSES, FEATURES, USED
from nc_core.protocols import Coder

__all__ = ["WEIGHT_LIMIT", "Side", "default_weights", "pop_side", "push_side", "side_bits"]

_TRANSFORM_BITS = 2
_SHIFT_BITS = 4
_WEIGHT_BITS = 11
WEIGHT_LIMIT = 1 << (_WEIGHT_BITS - 1)
# Least squares over many natural images, 8 fractional bits.
_DEFAULT = (
    (55, 34, 29, 44, 28, 31, -15, -2, -10, -24, -21),
    (53, 32, 31, 48, 34, 31, -18, -5, -10, -20, -20, -2, 0, 0, 0, -1, 0, -1, 0),
    (34, 25, 37, 30, 30, 27, -10, 3, -10, -19, -20, 10, 1, -1, 0, 8, 0, 1, 0, 2, 1, -1, 0),
)


@dataclass(frozen=True)
class Side:
    """What a decoder needs before the first pixel.

    Args:
        transform: index into ``TRANSFORMS``.
        shift: bits by which differences are reduced before statistics are taken of them.
        bounds: smallest and largest value of each plane.
        weights: int16, (C, CLASSES, FEATURES), 8 fractional bits, of the differences from which
            a sample is predicted.
    """

    transform: int
    shift: int
    bounds: tuple[tuple[int, int], ...]
    weights: NDArray[np.int16]


def side_bits(side: Side, sample_bits: int) -> int:
    """Cost in bits."""
    channels = len(side.bounds)
    own = sum(len(_own(side, plane)) for plane in range(channels))
    return _TRANSFORM_BITS + _SHIFT_BITS + channels * (2 * sample_bits + 5) + _WEIGHT_BITS * own


def push_side(coder: Coder, message: Message, side: Side, sample_bits: int) -> None:
    """Push, the last number first."""
    offset = 1 << sample_bits
    for plane in reversed(range(len(side.bounds))):
        own = _own(side, plane)
        _push(coder, message, [weight + WEIGHT_LIMIT for weight in own], _WEIGHT_BITS)
        _push(coder, message, [int(len(own) > 0)], 1)
    for low, high in reversed(side.bounds):
        _push(coder, message, [high + offset], sample_bits + 2)
        _push(coder, message, [low + offset], sample_bits + 2)
    _push(coder, message, [side.shift], _SHIFT_BITS)
    _push(coder, message, [side.transform], _TRANSFORM_BITS)


def pop_side(coder: Coder, message: Message, channels: int, sample_bits: int) -> Side:
    """The inverse of ``push_side``.

    Raises:
        CorruptFileError: numbers that no encoder writes.
    """
    offset = 1 << sample_bits
    transform = _pop(coder, message, _TRANSFORM_BITS)[0]
    shift = _pop(coder, message, _SHIFT_BITS)[0]
    bounds = []
    for _ in range(channels):
        low = _pop(coder, message, sample_bits + 2)[0] - offset
        high = _pop(coder, message, sample_bits + 2)[0] - offset
        bounds.append((low, high))
    weights = default_weights(channels)
    for plane in range(channels):
        if _pop(coder, message, 1)[0]:
            used = USED[plane]
            own = _pop(coder, message, _WEIGHT_BITS, CLASSES * used)
            weights[plane, :, :used] = np.reshape(own, (CLASSES, used)) - WEIGHT_LIMIT
    if (
        transform not in candidates(channels)
        or any(low > high or high - low >= 2 * offset for low, high in bounds)
        or max(abs(value) for pair in bounds for value in pair) >= offset
    ):
        raise CorruptFileError("side information of the predictive codec makes no sense")
    return Side(transform, shift, tuple(bounds), weights)


def default_weights(channels: int) -> NDArray[np.int16]:
    """Weights of images that are too small to pay for their own: the same in all classes."""
    weights = np.zeros((channels, CLASSES, FEATURES), np.int16)
    for plane in range(channels):
        weights[plane, :, : USED[plane]] = _DEFAULT[min(plane, 2)]
    return weights


def _own(side: Side, plane: int) -> list[int]:
    """The weights to transmit; none where they are the default."""
    if np.array_equal(side.weights[plane], default_weights(plane + 1)[plane]):
        return []
    return [int(w) for w in side.weights[plane, :, : USED[plane]].ravel()]


def _push(coder: Coder, message: Message, values: list[int], bits: int) -> None:
    starts = np.array(values, np.uint64)[:, None]
    coder.push_intervals(message, starts, np.ones_like(starts), bits)


def _pop(coder: Coder, message: Message, bits: int, count: int = 1) -> list[int]:
    values: list[int] = coder.pop(message, _Numbers(bits, count))[:, 0].tolist()
    return values


class _Numbers:
    """So many numbers of so many bits, all equally likely.

    Not ``Uniform``, whose own kernels would have to be compiled for these few numbers.
    """

    def __init__(self, bits: int, count: int) -> None:
        self.precision = bits
        self.shape = (count, 1)

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Every symbol owns one count."""
        starts = symbols.astype(np.uint64)
        return starts, np.ones_like(starts)

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """The count itself."""
        return counts.astype(np.int64), counts, np.ones_like(counts)

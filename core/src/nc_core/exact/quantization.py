"""Real-valued weights as integers: as many bits as the sums have room for.

With inputs of at most ``limit`` units, integer weights w and bias b of one output satisfy
sum |w| * limit + |b| < 2 ** 24, so every partial sum, in any order, is an integer that float32
holds. What rounding leaves over may go to a second set of integers on a finer grid, with sums
of its own; and a wide layer may be cut into ranges of inputs, whose sums are shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nc_core.exact.grid import FLOAT32_LIMIT

__all__ = ["Part", "cut", "integer_parts", "largest_sums"]

# More would not fit: weights are integers below 2 ** 24, and outputs need exponents to spare.
_MOST_BITS = 40


@dataclass(frozen=True)
class Part:
    """Integer weights for a range of a layer's inputs; the layer's output is the sum of parts.

    Attributes:
        start, stop: inputs of one group that it takes.
        weight: int64, (outputs, stop - start, *taps).
        shifts: int32, (outputs,): weight o counts in units of 2 ** -shifts[o].
        bias: int64, (outputs,), in units of 2 ** -(shifts[o] + the input's fraction_bits).
    """

    start: int
    stop: int
    weight: NDArray[np.int64]
    shifts: NDArray[np.int32]
    bias: NDArray[np.int64]


def largest_sums(part: Part, limit: int) -> NDArray[np.int64]:
    """The sums |w| * limit + |b| of each output; int64, (outputs,)."""
    axes = tuple(range(1, part.weight.ndim))
    sums: NDArray[np.int64] = np.abs(part.weight).sum(axis=axes) * limit + np.abs(part.bias)
    return sums


def integer_parts(
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    fraction_bits: int,
    limit: int,
    ranges: list[tuple[int, int]],
    depth: int,
) -> list[Part]:
    """Integers for a layer.

    Args:
        weight: (outputs, inputs, *taps), for inputs in units of 1.
        bias: (outputs,).
        fraction_bits: inputs are integers in units of 2 ** -fraction_bits.
        limit: largest magnitude of an input in these units.
        ranges: start and stop of the inputs that are summed together.
        depth: sets of integers for each range, each finer than the one before.

    Returns:
        Parts in the order in which they are to be added.
    """
    parts = []
    for start, stop in ranges:
        rest_weight, rest_bias = weight[:, start:stop], bias if start == 0 else np.zeros_like(bias)
        for _ in range(depth):
            part = _integers(rest_weight, rest_bias, fraction_bits, limit, (start, stop))
            parts.append(part)
            rest_weight = rest_weight - np.ldexp(part.weight, _columns(-part.shifts, weight.ndim))
            rest_bias = rest_bias - np.ldexp(part.bias, -part.shifts - fraction_bits)
    return parts


def cut(inputs: int, pieces: int) -> list[tuple[int, int]]:
    """Cut ``inputs`` channels into ranges of nearly equal size."""
    edges = [inputs * piece // pieces for piece in range(pieces + 1)]
    return list(pairwise(edges))


def _integers(
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    fraction_bits: int,
    limit: int,
    span: tuple[int, int],
) -> Part:
    axes = tuple(range(1, weight.ndim))
    sums = np.abs(weight).sum(axis=axes) * limit + np.abs(bias) * 2.0**fraction_bits
    # 2 ** exponent > 2 ** 24 / sums: from there down to the first that fits, rounding included.
    room = FLOAT32_LIMIT / np.maximum(sums, FLOAT32_LIMIT * 2.0**-_MOST_BITS)
    shifts = np.minimum(np.frexp(room)[1].astype(np.int32), _MOST_BITS - fraction_bits)
    while True:
        part = Part(
            *span,
            np.rint(np.ldexp(weight, _columns(shifts, weight.ndim))).astype(np.int64),
            shifts,
            np.rint(np.ldexp(bias, shifts + fraction_bits)).astype(np.int64),
        )
        too_large = largest_sums(part, limit) >= FLOAT32_LIMIT
        if not bool(too_large.any()):
            return part
        shifts = shifts - too_large.astype(np.int32)


def _columns(values: NDArray[np.int32], rank: int) -> NDArray[np.int32]:
    return values.reshape(-1, *[1] * (rank - 1))

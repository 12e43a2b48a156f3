"""Tables of activation functions and of scale indices: integers, part of the format.

A table is defined by its formula: entry i is the function at a point of the argument's grid,
rounded half up to the value's grid. It is computed when first needed, in the integer arithmetic
of :mod:`nc_core.exact.curves`, and those of fixed functions are compared with their SHA-256.
Whatever changes a table, or how one is used, changes its hash, which models record.
"""

from __future__ import annotations

import bisect
import hashlib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import tables as ans_tables
from nc_core.errors import WorkError
from nc_core.exact import curves

__all__ = [
    "ARGUMENT_BITS",
    "EXPONENTIAL_BITS",
    "EXPONENTIAL_STEP_BITS",
    "SHA256",
    "Activation",
    "ActivationTable",
    "ScaleCurve",
    "ScaleTable",
    "activation",
    "exponential_sha256",
    "exponential_table",
    "scale_table",
]

_Array = TypeVar("_Array", bound=NDArray[Any])

Activation = Literal["elu", "sigmoid", "silu", "softplus", "tanh"]
ScaleCurve = Literal["exponential", "sigmoid", "softplus"]

ARGUMENT_BITS = 12

# Arguments of the linear side are limited to this, so that float32 holds them on every grid.
TOP = 1 << 23

SHA256: dict[Activation, str] = {
    "elu": "66d7fce474e81ea89c25536f38ea19e2892c619e9802cd55a0d1720f254d7ee2",
    "sigmoid": "53891595cfa4d187c8cc7a1114e822bdbf0ce7e5ab8e98d98c0383331e12ce78",
    "silu": "c2848b63dc9a3b01018b62956f399081d9015d98afc4ee55928b75199f7323be",
    "softplus": "3ee5221a4b0268d37b0e9fdc88a04605deed1fce271cf518ba263f6bf55f8ed8",
    "tanh": "33c051659d8c5dc70b757ece7c4aeaa0d5c0835e7d0ce54edbd1b3c062e693cf",
}

# Raw outputs of a network from which scales are made: 9 fractional bits move a scale by 0.1 %.
RAW_BITS = 9
_RAW_LIMIT = 32 << RAW_BITS
_OCTAVE_BITS = 52


@dataclass(frozen=True)
class ActivationTable:
    """A function of one integer argument, piecewise: constant, table, constant or identity.

    The argument t has ``ARGUMENT_BITS`` fractional bits; the value is
    values[clamp(t, low, high) - low], and above ``high`` it grows with t where ``linear`` says so.

    Attributes:
        name: the function.
        low, high: first and last argument of the table.
        fraction_bits: of the values.
        linear: the function is the identity above ``high``.
        values: int32, (high - low + 1,), read-only.
    """

    name: Activation
    low: int
    high: int
    fraction_bits: int
    linear: bool
    values: NDArray[np.int32]

    @cached_property
    def sha256(self) -> str:
        """Hash of the values and of everything that says how they are used."""
        header = f"{self.name} {ARGUMENT_BITS} {self.low} {self.fraction_bits} {self.linear}"
        return _sha256(header, self.values)

    @cached_property
    def floats(self) -> NDArray[np.float32]:
        """The values as float32 numbers, which hold them exactly."""
        return _frozen(np.ldexp(self.values.astype(np.float32), -self.fraction_bits))

    def limit(self, argument_limit: int) -> int:
        """Largest magnitude of a value, in units of its grid, for arguments up to a limit."""
        largest = int(np.abs(self.values).max())
        if not self.linear:
            return largest
        above = max(min(argument_limit, TOP) - self.high, 0)
        return max(largest, abs(int(self.values[-1]) + above))


@cache
def activation(name: Activation) -> ActivationTable:
    """The table of an activation function.

    Raises:
        WorkError: this machine computes another table than the format's.
    """
    table = _MAKERS[name](name)
    if table.sha256 != SHA256[name]:
        raise WorkError(f"the table of '{name}' comes out wrong: integer arithmetic is broken here")
    return table


# Beyond these arguments a function is, after rounding, its asymptote. The linear functions keep
# the argument's 12 fractional bits; those that stay in [-1, 1] get 15.
def _elu(name: Activation) -> ActivationTable:
    high, bits = 10 << ARGUMENT_BITS, ARGUMENT_BITS
    powers = curves.exponential(Fraction(0), _step(-1), high + 1)
    values = [curves.rounded(value - powers[0], bits) for value in reversed(powers)]
    return _trimmed(name, -high, values, bits, linear=True)


def _softplus(name: Activation) -> ActivationTable:
    high, bits = 10 << ARGUMENT_BITS, ARGUMENT_BITS
    points = curves.softplus(Fraction(-10), _step(1), 2 * high + 1)
    return _trimmed(name, -high, [curves.rounded(v, bits) for v in points], bits, linear=True)


def _silu(name: Activation) -> ActivationTable:
    high, bits = 13 << ARGUMENT_BITS, ARGUMENT_BITS
    points = curves.logistic(Fraction(-13), _step(1), 2 * high + 1)
    values = [
        curves.rounded(value * (index - high) >> ARGUMENT_BITS, bits)
        for index, value in enumerate(points)
    ]
    return _trimmed(name, -high, values, bits, linear=True)


def _sigmoid(name: Activation) -> ActivationTable:
    high, bits = 12 << ARGUMENT_BITS, 15
    points = curves.logistic(Fraction(-12), _step(1), 2 * high + 1)
    return _trimmed(name, -high, [curves.rounded(v, bits) for v in points], bits, linear=False)


def _tanh(name: Activation) -> ActivationTable:
    high, bits = 7 << ARGUMENT_BITS, 15
    points = curves.logistic(Fraction(-14), _step(2), 2 * high + 1)
    one = 1 << curves.BITS
    values = [curves.rounded(2 * value - one, bits) for value in points]
    return _trimmed(name, -high, values, bits, linear=False)


_MAKERS = {
    "elu": _elu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "softplus": _softplus,
    "tanh": _tanh,
}


def _step(argument_steps: int) -> Fraction:
    return Fraction(argument_steps, 1 << ARGUMENT_BITS)


def _trimmed(
    name: Activation, low: int, values: list[int], fraction_bits: int, *, linear: bool
) -> ActivationTable:
    """Drop what the asymptotes say as well: equal values at the ends, or the identity above."""
    array = np.array(values, np.int32)
    first = int(np.argmax(array != array[0])) - 1
    beyond = array - np.arange(low, low + array.size) if linear else array
    last = array.size - int(np.argmax(beyond[::-1] != beyond[-1]))
    kept = _frozen(array[first : last + 1].copy())
    return ActivationTable(name, low + first, low + last, fraction_bits, linear, kept)


EXPONENTIAL_STEP_BITS = 10
EXPONENTIAL_BITS = 20
_EXPONENTIAL_SHA256 = "90a07d5ff1ed389fded18f91723ea1dfd33efcf412e0666be55b5c4c051fb5d4"


@cache
def exponential_table() -> NDArray[np.int32]:
    """round(exp(-n * 2 ** -10) * 2 ** 20), up to the first n for which that is 0.

    Between two arguments, the tangent is within 2 ** -23 of the exponential.

    Raises:
        WorkError: this machine computes another table than the format's.
    """
    # exp(-14.6) * 2 ** 20 is 0.48.
    count = (146 << EXPONENTIAL_STEP_BITS) // 10
    points = curves.exponential(Fraction(0), Fraction(-1, 1 << EXPONENTIAL_STEP_BITS), count)
    values = np.array([curves.rounded(value, EXPONENTIAL_BITS) for value in points], np.int32)
    table = _frozen(values[: int(np.argmin(values)) + 1].copy())
    if exponential_sha256(table) != _EXPONENTIAL_SHA256:
        raise WorkError("the table of 'exp' comes out wrong: integer arithmetic is broken here")
    return table


def exponential_sha256(table: NDArray[np.int32]) -> str:
    """Hash of a table of exponentials and of everything that says how it is used."""
    return _sha256(f"exp {EXPONENTIAL_STEP_BITS} {EXPONENTIAL_BITS}", table)


@dataclass(frozen=True)
class ScaleTable:
    """Indices of log-spaced scales for every raw output of a network.

    The raw output r has ``RAW_BITS`` fractional bits; its index is
    indices[clamp(r, low, low + len - 1) - low].

    Attributes:
        low: first argument of the table.
        indices: int16, not decreasing, read-only.
    """

    low: int
    indices: NDArray[np.int16]

    @cached_property
    def sha256(self) -> str:
        """Hash of the indices and of where they begin."""
        return _sha256(f"scale {RAW_BITS} {self.low}", self.indices)


@lru_cache(maxsize=64)
def scale_table(
    curve: ScaleCurve, low: float, span: float, shift: float, gain: float, scale_shift: int
) -> ScaleTable:
    """For raw r: the index nearest to gain * (low + span * f(r + shift)).

    Args:
        curve: f: exp2 ("exponential"), sigmoid or softplus.
        low: >= 0. This and the other floats mean exactly the binary fractions that they are.
        span: > 0.
        shift: any number.
        gain: > 0; scales are multiplied by it.
        scale_shift: the grid is 2 ** (i / 64 - 6 + scale_shift), i = 0 .. 1023.

    Raises:
        ValueError: a number out of range.
    """
    if not (low >= 0 and span > 0 and gain > 0):
        raise ValueError("a scale map has low >= 0, span > 0 and gain > 0")
    count = 2 * _RAW_LIMIT + 1
    start, step = Fraction(shift) - (_RAW_LIMIT >> RAW_BITS), Fraction(1, 1 << RAW_BITS)
    if curve == "exponential":
        octave = curves.log_of_two()
        points = curves.exponential(start * octave, step * octave, count)
    elif curve == "sigmoid":
        points = curves.logistic(start, step, count)
    else:
        points = curves.softplus(start, step, count)
    # Scales below a threshold get the index of that threshold: as nc_core.ans.grids rounds them.
    base, slope = Fraction(low) * Fraction(gain), Fraction(span) * Fraction(gain)
    thresholds = [
        _ceiling((threshold - base) / slope * (1 << curves.BITS))
        for threshold in _thresholds(scale_shift)
    ]
    indices = np.array([bisect.bisect_right(thresholds, point) for point in points], np.int16)
    first = max(int(np.argmax(indices != indices[0])) - 1, 0)
    last = indices.size - int(np.argmax(indices[::-1] != indices[-1]))
    return ScaleTable(first - _RAW_LIMIT, _frozen(indices[first : last + 1].copy()))


def _thresholds(scale_shift: int) -> list[Fraction]:
    """Midpoints between neighbouring scales."""
    octave = [int(value) for value in ans_tables.octave_mantissas()]
    octave.append(2 * octave[0])
    halves = [low + high for low, high in pairwise(octave)]
    exponent = scale_shift - 6 - _OCTAVE_BITS - 1
    return [
        halves[index % 64] * Fraction(2) ** (index // 64 + exponent)
        for index in range(64 * ans_tables.SCALE_OCTAVES - 1)
    ]


def _ceiling(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _sha256(header: str, table: NDArray[Any]) -> str:
    return hashlib.sha256(header.encode() + b"\0" + table.astype("<i4").tobytes()).hexdigest()


def _frozen(table: _Array) -> _Array:
    table.flags.writeable = False
    return table

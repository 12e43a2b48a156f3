"""Integer tables that are part of the format: distribution functions and log-spaced grids.

They ship as ``.npy`` files, made by :mod:`nc_core.ans.tables.generate`, and are checked against
their SHA-256 when first used. What a precision and an alphabet need is derived from them in
integer arithmetic. Whatever changes a table, or how one is used, raises ``TABLES_VERSION``.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError

__all__ = [
    "ARGUMENT_LIMIT",
    "FINEST_STEP_BITS",
    "SCALE_OCTAVES",
    "STEP_BITS",
    "TABLES_VERSION",
    "Curve",
    "Family",
    "curve",
    "forward_scales",
    "inverse_scales",
    "load",
    "octave",
    "octave_mantissas",
    "quantiles",
]

TABLES_VERSION = 1

_Array = TypeVar("_Array", bound=NDArray[Any])

Family = Literal["sigmoid", "normal", "laplace"]

# Arguments of a distribution function have 16 fractional bits and count from -24 to 24.
ARGUMENT_LIMIT = 24 << 16
# Log-spaced grids have 2 ** STEP_BITS steps to the octave, or more where a user asks for them.
STEP_BITS = 6
FINEST_STEP_BITS = 10
# Scales are 2 ** (i / 2 ** step_bits - 6), over this many octaves.
SCALE_OCTAVES = 16

_CURVE_BITS = 34
_OCTAVE_BITS = 52
_SHA256 = {
    "laplace": "24d932252ad6f344368be479be76ec64e569a9d39ec15efe4f412357fc24e35d",
    "normal": "e556ad1aefcacca9a7b9236c3e81a9511fe8ef07b3b877843ecc353d96b47b11",
    "octave": "43c69488680fc9e353b86ce03d27d92984b1f2a0befa81dce8a671404144d042",
    "sigmoid": "898eb403fde0070f3ecce5afd870ee71ffd84878ae588cfee74c92fe87863c38",
}


class Curve(NamedTuple):
    """A distribution function, scaled for one precision and alphabet size S.

    Attributes:
        nodes: round((2 ** precision - S) * F(u) * 2 ** 8) at u = -24, -24 + 1/64, .. 24 + 1/64.
        intercepts, slopes: the same polygon as lines: 2 ** 10 times its value at v = u + 24,
            given with 16 fractional bits, is intercepts[c] + slopes[c] * v in cell c = v >> 10.

    All are int64, (3074,), read-only.
    """

    nodes: NDArray[np.int64]
    intercepts: NDArray[np.int64]
    slopes: NDArray[np.int64]


@cache
def load(name: str) -> NDArray[np.int64]:
    """A table as it ships, int64, read-only.

    Raises:
        DataError: the file is not the one that the package was released with.
    """
    path = resources.files(__package__).joinpath(f"{name}.npy")
    with path.open("rb") as file:
        table = np.load(file, allow_pickle=False)
    if hashlib.sha256(table.astype("<i8").tobytes()).hexdigest() != _SHA256[name]:
        raise DataError(f"table '{name}' of nc-core is damaged", "reinstall nc-core")
    return _frozen(table)


@lru_cache(maxsize=64)
def curve(family: Family, precision: int, size: int) -> Curve:
    """The distribution function of a family for 2 ** precision counts and ``size`` symbols."""
    spare = (1 << precision) - size
    drop = _CURVE_BITS - 8
    nodes = (load(family) * spare + (1 << (drop - 1))) >> drop
    slopes = np.append(np.diff(nodes), 0)
    cell_starts = np.arange(len(nodes)) << 10
    return Curve(_frozen(nodes), _frozen((nodes << 10) - slopes * cell_starts), _frozen(slopes))


@cache
def quantiles(family: Family) -> NDArray[np.int32]:
    """Where the distribution function is (j + 1/2) / 4096, in 16 fractional bits; int32, (4096,).

    Decoders guess from it and then look at exact counts, so it is no part of the format.
    """
    table = load(family)
    arguments = np.arange(len(table)) * 1024.0 - ARGUMENT_LIMIT
    targets = (np.arange(4096) + 0.5) * (1 << _CURVE_BITS) / 4096
    return _frozen(np.interp(targets, table, arguments).astype(np.int32))


@cache
def inverse_scales(step_bits: int = STEP_BITS) -> NDArray[np.int64]:
    """1 / scale of each index with 24 fractional bits: 2 ** (30 - i / 2 ** step_bits).

    int64, (16 * 2 ** step_bits,).
    """
    index = np.arange(SCALE_OCTAVES << step_bits)
    fraction = -index % (1 << step_bits)
    exponent = 30 - ((index + fraction) >> step_bits)
    mantissas = octave_mantissas(step_bits)[fraction]
    return _frozen(_rounded(mantissas, _OCTAVE_BITS - exponent))


@cache
def forward_scales(step_bits: int = STEP_BITS) -> NDArray[np.int64]:
    """Scale of each index with 16 fractional bits: 2 ** (10 + i / 2 ** step_bits).

    int64, (16 * 2 ** step_bits,).
    """
    index = np.arange(SCALE_OCTAVES << step_bits)
    mantissas = octave_mantissas(step_bits)[index % (1 << step_bits)]
    return _frozen(_rounded(mantissas, _OCTAVE_BITS - 10 - (index >> step_bits)))


def octave(step_bits: int = STEP_BITS) -> NDArray[np.float64]:
    """2 ** (j / 2 ** step_bits) below 2, each correctly rounded. float64, (2 ** step_bits,)."""
    return np.ldexp(octave_mantissas(step_bits).astype(np.float64), -_OCTAVE_BITS)


def octave_mantissas(step_bits: int = STEP_BITS) -> NDArray[np.int64]:
    """2 ** (52 + j / 2 ** step_bits) below 2 ** 53, each rounded. int64, (2 ** step_bits,).

    Args:
        step_bits: 0 .. 10.

    Raises:
        ValueError: any other.
    """
    if not 0 <= step_bits <= FINEST_STEP_BITS:
        raise ValueError(f"an octave has 2 ** 0 .. 2 ** {FINEST_STEP_BITS} steps")
    return load("octave")[:: 1 << (FINEST_STEP_BITS - step_bits)]


def _rounded(values: NDArray[np.int64], drop: NDArray[np.int64]) -> NDArray[np.int64]:
    half = np.int64(1) << (drop - 1)
    result: NDArray[np.int64] = (values + half) >> drop
    return result


def _frozen(table: _Array) -> _Array:
    table.flags.writeable = False
    return table

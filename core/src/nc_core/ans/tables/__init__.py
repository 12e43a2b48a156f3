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
    "SCALES",
    "TABLES_VERSION",
    "Curve",
    "Family",
    "curve",
    "forward_scales",
    "inverse_scales",
    "load",
    "octave",
    "quantiles",
]

TABLES_VERSION = 1

_Array = TypeVar("_Array", bound=NDArray[Any])

Family = Literal["sigmoid", "normal", "laplace"]

# Arguments of a distribution function have 16 fractional bits and count from -24 to 24.
ARGUMENT_LIMIT = 24 << 16
# Scales are 2 ** (i / 64 - 6), i = 0 .. 1023.
SCALES = 1024

_CURVE_BITS = 34
_OCTAVE_BITS = 52
_SHA256 = {
    "laplace": "24d932252ad6f344368be479be76ec64e569a9d39ec15efe4f412357fc24e35d",
    "normal": "e556ad1aefcacca9a7b9236c3e81a9511fe8ef07b3b877843ecc353d96b47b11",
    "octave": "39b38aac2e85eb38a0f17e291fc4cf0b31afdd3cbcee0f4601526d27bcc9d5f1",
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
def inverse_scales() -> NDArray[np.int64]:
    """1 / scale of each index with 24 fractional bits: 2 ** (30 - i / 64). int64, (1024,)."""
    index = np.arange(SCALES)
    fraction = -index % 64
    exponent = 30 - (index + fraction) // 64
    return _frozen(_rounded(load("octave")[fraction], _OCTAVE_BITS - exponent))


@cache
def forward_scales() -> NDArray[np.int64]:
    """Scale of each index with 16 fractional bits: 2 ** (10 + i / 64). int64, (1024,)."""
    index = np.arange(SCALES)
    return _frozen(_rounded(load("octave")[index % 64], _OCTAVE_BITS - 10 - index // 64))


def octave() -> NDArray[np.float64]:
    """2 ** (j / 64) for j = 0 .. 63, each correctly rounded. float64, (64,)."""
    return np.ldexp(load("octave").astype(np.float64), -_OCTAVE_BITS)


def _rounded(values: NDArray[np.int64], drop: NDArray[np.int64]) -> NDArray[np.int64]:
    half = np.int64(1) << (drop - 1)
    result: NDArray[np.int64] = (values + half) >> drop
    return result


def _frozen(table: _Array) -> _Array:
    table.flags.writeable = False
    return table

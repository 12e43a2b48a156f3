"""Declared grids: how real-valued parameters become the integers that distributions take.

Positions are integers with some fractional bits. Scales and concentrations lie on log-spaced
grids, 64 steps to the octave, so that rounding one changes it by 0.5 % at most: a Gaussian then
costs 1.4e-5 bits more. Scales may be finer, each further bit costing a quarter of that. The
rounding compares with fixed thresholds and takes no logarithm: it gives the same index
everywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import tables

__all__ = [
    "CONCENTRATIONS",
    "concentration_index",
    "concentration_value",
    "position_index",
    "scale_index",
    "scale_value",
]

# Concentrations are 2 ** (i / 64 - 24), i = 0 .. 3071.
CONCENTRATIONS = 3072

_SCALE_EXPONENT = -6
_CONCENTRATION_EXPONENT = -24
_POSITION_LIMIT = 1 << 30
_MANTISSA_BITS = 52


def position_index(positions: NDArray[Any], fraction_bits: int = 8) -> NDArray[np.int32]:
    """Positions rounded to multiples of 2 ** -fraction_bits, as integers.

    Args:
        positions: float, any shape; limited to +- 2 ** (30 - fraction_bits).
        fraction_bits: 0 .. 30.

    Raises:
        ValueError: a position is not a number.
    """
    scaled = np.rint(np.ldexp(np.asarray(positions, np.float64), fraction_bits))
    if bool(np.isnan(scaled).any()):
        raise ValueError("a position is not a number")
    return np.clip(scaled, -_POSITION_LIMIT, _POSITION_LIMIT).astype(np.int32)


def scale_index(
    scales: NDArray[Any], scale_shift: int = 0, scale_bits: int = tables.STEP_BITS
) -> NDArray[np.int16]:
    """Indices of the nearest scales 2 ** (i / 2 ** scale_bits - 6 + scale_shift).

    Args:
        scales: float > 0, any shape; limited to the ends of the grid, i = 0 and
            i = 16 * 2 ** scale_bits - 1.
        scale_shift: octaves by which the grid lies higher.
        scale_bits: 6 .. 10.

    Raises:
        ValueError: a scale is not positive.
    """
    count = tables.SCALE_OCTAVES << scale_bits
    return _log_index(scales, _SCALE_EXPONENT + scale_shift, count, scale_bits)


def scale_value(
    index: NDArray[Any], scale_shift: int = 0, scale_bits: int = tables.STEP_BITS
) -> NDArray[np.float64]:
    """The scales of given indices: 2 ** (i / 2 ** scale_bits - 6 + scale_shift)."""
    return _log_value(index, _SCALE_EXPONENT + scale_shift, scale_bits)


def concentration_index(concentrations: NDArray[Any]) -> NDArray[np.int16]:
    """Indices of the nearest concentrations 2 ** (i / 64 - 24), i = 0 .. 3071.

    Args:
        concentrations: float > 0, any shape; limited to the ends of the grid.

    Raises:
        ValueError: a concentration is not positive.
    """
    return _log_index(concentrations, _CONCENTRATION_EXPONENT, CONCENTRATIONS)


def concentration_value(index: NDArray[Any]) -> NDArray[np.float64]:
    """The concentrations of given indices: 2 ** (i / 64 - 24)."""
    return _log_value(index, _CONCENTRATION_EXPONENT)


def _log_index(
    values: NDArray[Any], exponent: int, count: int, step_bits: int = tables.STEP_BITS
) -> NDArray[np.int16]:
    array = np.asarray(values, np.float64)
    if not bool((array > 0).all()):
        raise ValueError("values on a log grid are positive numbers")
    first, thresholds = _cells(exponent, count, step_bits)
    # Clipped below the last octave's end, because a cell beyond it would have no entry.
    high = np.nextafter(np.ldexp(1.0, exponent + (count >> step_bits)), 0.0)
    clipped = np.clip(array, np.ldexp(1.0, exponent), high)
    # The bits of a positive float64 are an integer that grows with it: exponent, then mantissa.
    bits = _cell_bits(step_bits)
    cell = (clipped.view(np.int64) >> (_MANTISSA_BITS - bits)) - ((exponent + 1023) << bits)
    index: NDArray[np.int16] = first[cell]
    return index + (clipped >= thresholds[index])


def _log_value(
    index: NDArray[Any], exponent: int, step_bits: int = tables.STEP_BITS
) -> NDArray[np.float64]:
    array = np.asarray(index, np.int64)
    octave = tables.octave(step_bits)
    values: NDArray[np.float64] = np.ldexp(
        octave[array % len(octave)], (array >> step_bits) + exponent
    )
    return values


def _cell_bits(step_bits: int) -> int:
    """Cells are narrower than the narrowest step, log(2) * 2 ** -step_bits of a mantissa."""
    return max(9, step_bits + 1)


@lru_cache(maxsize=16)
def _cells(
    exponent: int, count: int, step_bits: int
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """How to find an index: the first one of each cell, and where the next one begins.

    A cell is 1/512 of an octave (in the mantissa) or less, narrower than a step of the grid, so
    it holds the beginning of one index at most. Indices begin midway between neighbouring values.
    """
    grid = _log_value(np.arange(count + 1), exponent, step_bits)
    thresholds = (grid[:-1] + grid[1:]) / 2
    thresholds[-1] = np.inf
    octaves, width = count >> step_bits, 1 << _cell_bits(step_bits)
    cells = 1.0 + np.arange(width) / width
    starts = np.ldexp(cells, exponent + np.arange(octaves)[:, None]).ravel()
    return np.searchsorted(thresholds, starts, side="right").astype(np.int16), thresholds

"""Samples as a discrete source: an n-dimensional histogram with bins of equal width on every axis.

The source's alphabet are the centres of its bins, and so is the alphabet of reproductions, which
has the empty ones too. What it says holds for the histogram; ``bin_variance`` tells down to which
distortion that is about the source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.command_line.console import format_bytes
from nc_core.errors import DataError, UsageError

__all__ = ["MOST_BYTES", "Histogram", "bytes_of_grid", "check_grid", "discretise"]

MOST_BYTES = 2 * 10**9
"""Largest grid that is worked on, with all that one iteration needs."""

_ARRAYS_OF_CELLS = 12  # float64, one value a cell, alive at once in an iteration and its histogram
_MATRICES_OF_AXIS = 6  # float64, bins x bins


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts on a grid.

    Args:
        edges: of each axis, (bins + 1,), in the precision of the samples.
        counts: float64, (bins, ..., bins): samples in each cell.
    """

    edges: tuple[NDArray[np.floating[Any]], ...]
    counts: NDArray[np.float64]

    @property
    def centres(self) -> tuple[NDArray[np.floating[Any]], ...]:
        """Of each axis, (bins,), in the precision of the samples."""
        return tuple((edges[1:] + edges[:-1]) / 2 for edges in self.edges)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Share of the samples in each cell."""
        shares: NDArray[np.float64] = self.counts / self.counts.sum()
        return shares

    @property
    def widths(self) -> tuple[float, ...]:
        """Width of the bins of each axis."""
        return tuple(float(edges[-1] - edges[0]) / (len(edges) - 1) for edges in self.edges)

    @property
    def bin_variance(self) -> float:
        """Mean over axes of width^2 / 12: the squared error of naming the bin alone."""
        return sum(width * width for width in self.widths) / (12 * len(self.widths))

    @property
    def entropy(self) -> float:
        """In nats: the rate at which the histogram has no distortion."""
        share = self.probabilities[self.counts > 0]
        return float(-np.sum(share * np.log(share)))

    @property
    def alphabet(self) -> NDArray[np.floating[Any]]:
        """All centres, (cells, n), the last axis fastest."""
        return np.stack(np.meshgrid(*self.centres, indexing="ij"), axis=-1).reshape(
            -1, len(self.edges)
        )


def discretise(samples: NDArray[Any], bins: int) -> Histogram:
    """Count samples in bins of equal width from the smallest to the largest of each dimension.

    Args:
        samples: real numbers, (N, n).
        bins: of each axis.

    Raises:
        DataError: integers, no samples, another shape, values that are not finite, or a dimension
            in which all samples are equal.
        UsageError: a grid that does not fit in memory.
    """
    if samples.dtype.kind != "f":
        raise DataError(
            f"samples of type {samples.dtype}; expected real numbers",
            "convert the array first: x.astype(numpy.float64)",
        )
    if samples.ndim != 2 or 0 in samples.shape:
        raise DataError(f"samples of shape {samples.shape}; expected (samples, dimensions)")
    check_grid(bins, samples.shape[1])
    if not np.isfinite(samples).all():
        raise DataError("samples that are NaN or infinite", "remove these rows first")
    _check_spread(samples)
    with np.errstate(over="ignore", invalid="ignore"):
        counts, edges = np.histogramdd(samples, bins)
    for axis, places in enumerate(edges):
        if not np.all(np.diff(places) > 0):
            raise DataError(
                f"dimension {axis}: {bins} bins from {samples[:, axis].min():g} to "
                f"{samples[:, axis].max():g} are too fine for {samples.dtype}",
                "use fewer bins, or subtract a constant from the data",
            )
    return Histogram(tuple(edges), counts)


def _check_spread(samples: NDArray[Any]) -> None:
    """Refuse samples between which no bins of any width fit."""
    if len(samples) == 1:
        raise DataError("one sample: a histogram needs several")
    equal = np.flatnonzero(samples.min(axis=0) == samples.max(axis=0))
    if len(equal) == samples.shape[1]:
        raise DataError("all samples are equal", "nothing needs to be coded")
    if len(equal):
        raise DataError(
            f"dimension {equal[0]}: all samples are {samples[0, equal[0]]:g}",
            "leave it out of the data: it costs no rate and has no distortion",
        )


def bytes_of_grid(bins: int, dims: int) -> int:
    """Memory that an iteration on the grid needs."""
    cells: int = bins**dims
    return 8 * (_ARRAYS_OF_CELLS * cells + _MATRICES_OF_AXIS * dims * bins * bins)


def check_grid(bins: int, dims: int) -> None:
    """Refuse a grid that needs more than :data:`MOST_BYTES`.

    Raises:
        UsageError: it does; the message says what would fit.
    """
    if bins < 1:
        raise UsageError(f"{bins} bins: at least 1 is needed")
    if bytes_of_grid(bins, dims) <= MOST_BYTES:
        return
    fit = _most_bins(dims)
    raise UsageError(
        f"a grid of {bins}^{dims} = {_written(bins, dims)} cells needs "
        f"{_memory(bins, dims)} of memory; {format_bytes(MOST_BYTES)} are allowed",
        f"use --bins {fit} or fewer"
        if fit >= 8
        else "take a few dimensions of the data: Blahut-Arimoto is for two or three",
    )


def _most_bins(dims: int) -> int:
    """The finest grid that is allowed."""
    bins = 1
    while bytes_of_grid(2 * bins, dims) <= MOST_BYTES:
        bins *= 2
    low, high = bins, 2 * bins
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bytes_of_grid(middle, dims) <= MOST_BYTES else (low, middle)
    return low if bytes_of_grid(low, dims) <= MOST_BYTES else 0


def _written(bins: int, dims: int) -> str:
    exponent = dims * math.log10(bins)
    return f"{bins**dims:,}" if exponent < 12 else f"10^{exponent:.0f}"


def _memory(bins: int, dims: int) -> str:
    exponent = math.log10(8 * _ARRAYS_OF_CELLS) + dims * math.log10(bins)
    return format_bytes(bytes_of_grid(bins, dims)) if exponent < 15 else f"10^{exponent:.0f} bytes"

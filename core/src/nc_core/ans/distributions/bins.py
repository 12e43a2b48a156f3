"""Where the symbols of a location-scale distribution lie on the real line.

Symbol k owns the bin between edges k and k + 1; edge 0 is minus and edge S plus infinity, so
the outer bins are open. Edges and means are integers with ``fraction_bits`` fractional bits.
The unit of length is the user's choice (for pixels, one grey level); scales are
2 ** (i / 2 ** scale_bits - 6 + scale_shift) units. Bins are shared by all symbols of an array,
or differ along its steps or lanes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import tables
from nc_core.ans.distributions.base import integers
from nc_core.ans.distributions.grids import position_index, scale_index

__all__ = ["AffineBins", "Bins", "EdgeBins", "PixelBins"]

MAX_SIZE = 1 << 16

# With means of 32 bits, (edge - mean) / scale stays inside 62 bits.
POSITION_LIMIT = 1 << 30


class Bins(ABC):
    """What the three kinds of bins have in common.

    Attributes:
        size: number of symbols S.
        fraction_bits: of edges and means, 1 .. 14.
        scale_shift: octaves by which the grid of scales lies higher, -8 .. 8.
        scale_bits: the grid of scales has 2 ** scale_bits steps to the octave, 6 .. 10.
        rows: (steps or 1, lanes or 1): along which axes of an array the bins differ.
    """

    size: int
    fraction_bits: int
    scale_shift: int
    scale_bits: int
    rows: tuple[int, int]

    def _set_grid(self, size: int, fraction_bits: int, scale_shift: int, scale_bits: int) -> None:
        if not 1 <= size <= MAX_SIZE:
            raise ValueError(f"an alphabet has 1 .. {MAX_SIZE} symbols, not {size}")
        if not 1 <= fraction_bits <= 14:
            raise ValueError(f"positions have 1 .. 14 fractional bits, not {fraction_bits}")
        if not -8 <= scale_shift <= 8:
            raise ValueError(f"scales are shifted by -8 .. 8 octaves, not {scale_shift}")
        finest = tables.FINEST_STEP_BITS
        if not tables.STEP_BITS <= scale_bits <= finest:
            raise ValueError(f"scales have {tables.STEP_BITS} .. {finest} bits, not {scale_bits}")
        self.size = int(size)
        self.fraction_bits = int(fraction_bits)
        self.scale_shift = int(scale_shift)
        self.scale_bits = int(scale_bits)

    @property
    def scales(self) -> int:
        """Number of scales on the grid."""
        return tables.SCALE_OCTAVES << self.scale_bits

    def mean_index(self, means: NDArray[Any]) -> NDArray[np.int32]:
        """Real-valued means, in units of length, as the integers that distributions take."""
        return position_index(means, self.fraction_bits)

    def scale_index(self, scales: NDArray[Any]) -> NDArray[np.int16]:
        """Real-valued scales, in units of length, as the indices that distributions take."""
        return scale_index(scales, self.scale_shift, self.scale_bits)

    @abstractmethod
    def edges(self, step: int | slice, symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lower edges of symbols 1 .. size - 1; what it returns for 0 and size has no meaning.

        Args:
            step: rows of the array that the symbols belong to.
            symbols: (lanes,) for one step, (steps, lanes) for a slice.
        """

    @abstractmethod
    def kernel_arguments(self) -> tuple[Any, ...]:
        """Offsets or edges, step widths or none, and strides over steps and lanes, in rows."""

    def _strides(self) -> tuple[int, int]:
        steps, lanes = self.rows
        return (lanes if steps > 1 else 0, 1 if lanes > 1 else 0)

    def _row(self, table: NDArray[Any], step: int | slice) -> NDArray[Any]:
        """The part of a (steps or 1, lanes or 1, ...) table that belongs to one or all steps."""
        if isinstance(step, slice):
            return table
        row: NDArray[Any] = table[step if self.rows[0] > 1 else 0]
        return row


class AffineBins(Bins):
    """Bins of equal width: edge k lies at ``offset + k * step``.

    Args:
        offset: integers, a scalar or (steps or 1, lanes or 1).
        step: integers >= 1, the same.
        size: 1 .. 65536 symbols.
        fraction_bits: of offset and step.
        scale_shift, scale_bits: see :class:`Bins`.

    Raises:
        ValueError: an argument out of range; edges reach beyond 2 ** 30.
    """

    def __init__(
        self,
        offset: NDArray[Any] | int,
        step: NDArray[Any] | int,
        size: int,
        fraction_bits: int = 8,
        scale_shift: int = 0,
        scale_bits: int = tables.STEP_BITS,
    ) -> None:
        self._set_grid(size, fraction_bits, scale_shift, scale_bits)
        offsets, steps = np.broadcast_arrays(
            integers(offset, "offsets", -POSITION_LIMIT, POSITION_LIMIT),
            integers(step, "steps", 1, POSITION_LIMIT),
        )
        self._offsets = _two_axes(offsets).astype(np.int32)
        self._steps = _two_axes(steps).astype(np.int32)
        last = self._offsets.astype(np.int64) + self._steps.astype(np.int64) * size
        integers(last, "edges", -POSITION_LIMIT, POSITION_LIMIT)
        self.rows = (self._offsets.shape[0], self._offsets.shape[1])

    def edges(self, step: int | slice, symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """See :class:`Bins`."""
        offsets, steps = self._row(self._offsets, step), self._row(self._steps, step)
        edges: NDArray[np.int64] = symbols * steps + offsets
        return edges

    def kernel_arguments(self) -> tuple[Any, ...]:
        """See :class:`Bins`."""
        return self._offsets.ravel(), self._steps.ravel(), *self._strides()


class PixelBins(AffineBins):
    """Symbols at the integers: bin k reaches from k - 1/2 to k + 1/2 units.

    Args:
        size: 1 .. 65536 symbols, 256 for the usual pixels.
        fraction_bits: of the means.
        scale_shift: see :class:`Bins`; 5 suits samples of 16 bits (scales from 1/2 to 32000).
        scale_bits: see :class:`Bins`.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        size: int = 256,
        fraction_bits: int = 8,
        scale_shift: int = 0,
        scale_bits: int = tables.STEP_BITS,
    ) -> None:
        width = 1 << int(fraction_bits)
        super().__init__(-width // 2, width, size, fraction_bits, scale_shift, scale_bits)


class EdgeBins(Bins):
    """Bins with any edges.

    Args:
        edges: integers, not decreasing along the last axis, (S - 1,) for all symbols or
            (steps or 1, lanes or 1, S - 1); edge k = 1 .. S - 1 is at index k - 1.
        fraction_bits: of the edges.
        scale_shift, scale_bits: see :class:`Bins`.

    Raises:
        ValueError: an argument out of range, or decreasing edges.
    """

    def __init__(
        self,
        edges: NDArray[Any],
        fraction_bits: int = 8,
        scale_shift: int = 0,
        scale_bits: int = tables.STEP_BITS,
    ) -> None:
        array = integers(edges, "edges", -POSITION_LIMIT, POSITION_LIMIT)
        if array.ndim == 1:
            array = array[None, None]
        if array.ndim != 3:
            raise ValueError(f"edges have 1 axis or 3 (steps, lanes, S - 1), not {array.ndim}")
        self._set_grid(array.shape[2] + 1, fraction_bits, scale_shift, scale_bits)
        self._edges = np.ascontiguousarray(array, np.int32)
        if not bool((self._edges[..., 1:] >= self._edges[..., :-1]).all()):
            raise ValueError("edges must not decrease")
        self.rows = (array.shape[0], array.shape[1])

    def edges(self, step: int | slice, symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """See :class:`Bins`."""
        if self.size == 1:
            return np.zeros_like(symbols)
        table = self._row(self._edges, step)
        index = np.clip(symbols - 1, 0, self.size - 2)
        table = np.broadcast_to(table, (*index.shape, self.size - 1))
        return np.take_along_axis(table, index[..., None], -1)[..., 0].astype(np.int64)

    def kernel_arguments(self) -> tuple[Any, ...]:
        """See :class:`Bins`."""
        # One symbol has no inner edge, but kernels look one up before they know.
        edges = self._edges.ravel() if self.size > 1 else np.zeros(1, np.int32)
        return edges, np.empty(0, np.int32), *self._strides()


def _two_axes(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 0:
        return array.reshape(1, 1)
    if array.ndim != 2:
        raise ValueError(f"offsets and steps are scalars or have 2 axes, not {array.ndim}")
    return array

"""Discretized logistic, Gaussian and Laplace distributions with integer parameters.

The count at which symbol k starts is

    start(k) = (lerp(T, (edge(k) - mean) * inverse_scale >> s) >> 8) + k

with start(0) = 0 and start(S) = 2 ** p. T holds (2 ** p - S) times the family's distribution
function with 8 fractional bits, at arguments from -24 to 24 in steps of 1/64; lerp interpolates
linearly; all of it is int64. Both the polygon and its argument increase, so starts do; the "+ k"
gives every symbol at least one count. There is no table for each symbol, nothing to normalise,
and no floating point: a decoder on any machine finds the same counts.

A posterior that is only popped from while encoding should not spend its "+ 1" on thousands of
far-away bins. With a ``window`` of W scales, starts are 0 where the argument is -W or less and
2 ** p where it is W or more: symbols outside have frequency 0, and the outermost two inside take
the tails. Together with 28 bits of precision the rate then stays at the bound.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import tables
from nc_core.ans.distributions.base import (
    FusedDistribution,
    check_alphabet,
    check_bits,
    check_shape,
    integers,
)
from nc_core.ans.distributions.bins import Bins, PixelBins

__all__ = ["DiscretizedGaussian", "DiscretizedLaplace", "DiscretizedLogistic", "LocationScale"]

# Decoders look up the leading 12 bits of a count.
MIN_PRECISION = 12

# Means of 32 bits and edges up to 2 ** 30 keep (edge - mean) / scale inside 62 bits.
MEAN_LIMIT = (1 << 31) - 1

_FAR = 1 << 40


class LocationScale(FusedDistribution):
    """A family that a distribution function, a mean and a scale define.

    Args:
        means: integers of 32 bits, ``bins.fraction_bits`` of them fractional; together with
            ``scales`` they broadcast to the shape (steps, lanes). Arrays of the right dtype,
            int32, are not copied: leave them alone while the distribution is in use.
        scales: indices 0 .. bins.scales - 1 (1023 by default) of scales
            2 ** (i / 2 ** bins.scale_bits - 6 + bins.scale_shift); int16 is not copied.
        bins: where the symbols lie.
        precision: 12 .. 28 bits, 2 ** precision > bins.size; 24 suits pixels, 28 latents.
        window: scales 1 .. 23 on each side of the mean beyond which symbols are impossible;
            None for a likelihood or a prior, in which no symbol is.

    Raises:
        ValueError: an argument out of range, or shapes that do not fit.
    """

    family: ClassVar[tables.Family]

    def __init__(
        self,
        means: NDArray[Any],
        scales: NDArray[Any],
        bins: Bins,
        *,
        precision: int = 24,
        window: int | None = None,
    ) -> None:
        self.precision = check_bits(precision)
        if precision < MIN_PRECISION:
            raise ValueError(f"precision {precision} is below {MIN_PRECISION}")
        if bins.size >= 1 << precision:
            raise ValueError(f"{bins.size} symbols need more than {precision} bits of precision")
        if window is not None and not 1 <= window <= 23:
            raise ValueError(f"a window is 1 .. 23 scales wide on each side, not {window}")
        mean_array = _fitting(means, "means", np.int32, MEAN_LIMIT)
        scale_array = integers(scales, "scale indices", 0, bins.scales - 1)
        shape = mean_array.shape
        if scale_array.shape != shape or bins.rows != (1, 1):
            shape = np.broadcast_shapes(shape, scale_array.shape, bins.rows)
        self.shape = check_shape(shape)
        self.size = bins.size
        self.bins = bins
        self.window = window
        self._means = _contiguous(mean_array, self.shape, np.int32)
        self._scales = _contiguous(scale_array, self.shape, np.int16)
        self._curve = tables.curve(self.family, self.precision, self.size)
        usual = bins.scale_bits == tables.STEP_BITS and window is None
        plain = usual and isinstance(bins, PixelBins)
        self.kernel = "pixel-location-scale" if plain else "location-scale"
        self._kernel_arguments: tuple[Any, ...] | None = None

    def starts(self, step: int | slice, symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """The count at which each symbol starts: the formula above.

        Args:
            step: one row, or ``slice(None)`` for all.
            symbols: 0 .. size (where ``size`` gives the end of the last), (lanes,) or
                (steps, lanes).

        Returns:
            int64, the shape of ``symbols``.
        """
        argument = self.arguments(step, symbols)
        heights = self.heights(argument) >> 18
        starts = heights + symbols
        if self.window is not None:
            cut = self.window << 16
            starts = np.where(argument <= -cut, 0, starts)
            starts = np.where(argument >= cut, 1 << self.precision, starts)
        return starts

    def arguments(self, step: int | slice, symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """(edge - mean) / scale of each symbol's lower edge, with 16 fractional bits."""
        distance = self.bins.edges(step, symbols) - self._means[step]
        inverse = tables.inverse_scales(self.bins.scale_bits)[self._scales[step]]
        shift = 8 + self.bins.fraction_bits + self.bins.scale_shift
        argument = (distance * inverse) >> shift
        argument = np.where(symbols == 0, -_FAR, argument)
        return np.where(symbols == self.size, _FAR, argument)

    def heights(self, arguments: NDArray[np.int64]) -> NDArray[np.int64]:
        """The distribution function times 2 ** precision - size, with 18 fractional bits."""
        limit = tables.ARGUMENT_LIMIT
        argument = np.clip(arguments, -limit, limit) + limit
        cell, fraction = argument >> 10, argument & 1023
        nodes = self._curve.nodes
        heights: NDArray[np.int64] = nodes[cell] << 10
        heights += (nodes[cell + 1] - nodes[cell]) * fraction
        return heights

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of each symbol; see :class:`FusedDistribution`."""
        index = check_alphabet(symbols, self.shape, self.size)
        return interval(self, slice(None), index)

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Symbols that own ``counts``; see :class:`FusedDistribution`."""
        symbols = bisect(self, step, counts)
        return symbols, *interval(self, step, symbols)

    def kernel_arguments(self) -> tuple[Any, ...]:
        """Parameters, tables, bins, and the numbers that place them."""
        if self._kernel_arguments is None:
            self._kernel_arguments = self._gather_arguments()
        return self._kernel_arguments

    def _gather_arguments(self) -> tuple[Any, ...]:
        bins = self.bins
        edges, widths, *strides = bins.kernel_arguments()
        shift = 8 + bins.fraction_bits + bins.scale_shift
        geometry = (self.size, bins.fraction_bits, shift, *strides, *window_cuts(self.window))
        return (
            self._means.ravel(),
            self._scales.ravel(),
            self._curve.intercepts,
            self._curve.slopes,
            tables.inverse_scales(bins.scale_bits),
            tables.forward_scales(bins.scale_bits),
            tables.quantiles(self.family),
            edges,
            widths,
            np.array(geometry, np.int64),
        )


class DiscretizedLogistic(LocationScale):
    """Logistic distributions, F(u) = 1 / (1 + exp(-u)); see :class:`LocationScale`.

    Example:
        >>> import numpy as np
        >>> from nc_core.ans import DiscretizedLogistic, PixelBins
        >>> bins = PixelBins(256)
        >>> means = bins.mean_index(np.array([[100.25]]))
        >>> scales = bins.scale_index(np.array([[2.0]]))
        >>> pixel = DiscretizedLogistic(means, scales, bins)
        >>> round(float(pixel.bits(np.array([[100]]))[0, 0]), 3)
        3.013
    """

    family = "sigmoid"


class DiscretizedGaussian(LocationScale):
    """Gaussian distributions; the scale is the standard deviation. See :class:`LocationScale`."""

    family = "normal"


class DiscretizedLaplace(LocationScale):
    """Laplace distributions, F(u) = 1 - exp(-u) / 2 for u >= 0; see :class:`LocationScale`."""

    family = "laplace"


def interval(
    distribution: Any, step: int | slice, symbols: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Start and frequency of symbols, from a distribution that has ``starts``."""
    starts = distribution.starts(step, symbols)
    ends = distribution.starts(step, symbols + 1)
    return starts.astype(np.uint64), (ends - starts).astype(np.uint64)


def bisect(distribution: Any, step: int | slice, counts: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The last symbol of each lane, in one row or all, that starts at its count or before."""
    targets = counts.astype(np.int64)
    low = np.zeros(targets.shape, np.int64)
    high = np.full(targets.shape, distribution.size, np.int64)
    while bool((high - low > 1).any()):
        middle = (low + high) >> 1
        below = distribution.starts(step, middle) <= targets
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def window_cuts(window: int | None) -> tuple[int, int]:
    """Arguments, counted from -24, at which a window ends; beyond all arguments for none."""
    limit = tables.ARGUMENT_LIMIT
    if window is None:
        return -1, 2 * limit + 1
    return limit - (window << 16), limit + (window << 16)


def _fitting(values: NDArray[Any], name: str, dtype: type[Any], limit: int) -> NDArray[Any]:
    """Integers of a dtype, which is limit enough, or of another within the limit."""
    array = np.asarray(values)
    return array if array.dtype == dtype else integers(array, name, -limit, limit)


def _contiguous(array: NDArray[Any], shape: tuple[int, int], dtype: type[Any]) -> NDArray[Any]:
    full = array if array.shape == shape else np.broadcast_to(array, shape)
    return np.ascontiguousarray(full, dtype)

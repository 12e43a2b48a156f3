"""Mixtures of discretized logistic, Gaussian and Laplace distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import tables
from nc_core.ans.distributions.base import FusedDistribution, check_alphabet, integers
from nc_core.ans.distributions.location_scale import LocationScale, bisect, interval

__all__ = ["Mixture", "weight_index"]

MAX_WEIGHT_BITS = 16


class Mixture(FusedDistribution):
    """A weighted sum of distributions over the same bins.

    start(k) = (sum_j weight_j * lerp(T_j, argument_j(k)) >> (8 + w)) + k, in int64, where the
    weights of a symbol sum to 2 ** w: one shift for the sum, and one "+ k".

    Args:
        components: of one shape, one precision and the same bins object, whose grid of scales
            is the usual one, without windows; their families may differ.
        weights: integers >= 0, (number of components, steps, lanes) or a shape that broadcasts
            to it; the sum over components is the same power of two, up to 2 ** 16, everywhere.

    Raises:
        ValueError: components that do not fit together, or weights that do not sum so.
    """

    kernel = "mixture"

    def __init__(self, components: Sequence[LocationScale], weights: NDArray[Any]) -> None:
        first = components[0] if components else None
        if first is None:
            raise ValueError("a mixture has at least one component")
        for component in components:
            alike = component.precision == first.precision and component.shape == first.shape
            if not alike or component.bins is not first.bins or component.window is not None:
                raise ValueError("components share shape, precision and bins, and have no window")
        if first.bins.scale_bits != tables.STEP_BITS:
            raise ValueError(f"components of a mixture have scales of {tables.STEP_BITS} bits")
        self.precision, self.shape, self.size = first.precision, first.shape, first.size
        self._components = tuple(components)
        array = integers(weights, "weights", 0, 1 << MAX_WEIGHT_BITS)
        self._weights = np.empty((len(components), *self.shape), np.int64)
        self._weights[...] = array
        totals = self._weights.sum(axis=0)
        total = int(totals.flat[0]) if totals.size else 1
        if total < 1 or total & (total - 1) or not bool((totals == total).all()):
            raise ValueError("weights sum to one and the same power of two")
        self._weight_bits = total.bit_length() - 1
        if self._weight_bits > MAX_WEIGHT_BITS:
            raise ValueError(f"weights sum to at most 2 ** {MAX_WEIGHT_BITS}")

    def starts(self, step: int | slice, symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """The count at which each symbol starts; arguments as for a component."""
        heights = np.zeros(symbols.shape, np.int64)
        for component, weights in zip(self._components, self._weights, strict=True):
            argument = component.arguments(step, symbols)
            heights += weights[step] * component.heights(argument)
        starts: NDArray[np.int64] = (heights >> (18 + self._weight_bits)) + symbols
        return starts

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
        """Parameters of all components, symbol by symbol, tables, bins, and their geometry."""
        parameters = [component.kernel_arguments() for component in self._components]
        bins = self._components[0].bins
        edges, widths, *strides = bins.kernel_arguments()
        shift = 8 + bins.fraction_bits + bins.scale_shift
        geometry = (self.size, shift, *strides, len(parameters), self._weight_bits)
        return (
            np.stack([one[0] for one in parameters], axis=-1).ravel(),
            np.stack([one[1] for one in parameters], axis=-1).ravel(),
            np.moveaxis(self._weights, 0, -1).ravel(),
            np.concatenate([one[2] for one in parameters]),
            np.concatenate([one[3] for one in parameters]),
            tables.inverse_scales(),
            edges,
            widths,
            np.array(geometry, np.int64),
        )


def weight_index(weights: NDArray[Any], weight_bits: int = 12) -> NDArray[np.int64]:
    """Real-valued weights as integers that sum to 2 ** weight_bits.

    Cumulative sums are rounded, so the integers sum exactly; a weight may become 0.

    Args:
        weights: float >= 0, (components, ...), sum over components 1 within 1e-4.
        weight_bits: 1 .. 16.

    Raises:
        ValueError: an argument out of range.
    """
    array = np.asarray(weights, np.float64)
    if not 1 <= weight_bits <= MAX_WEIGHT_BITS:
        raise ValueError(f"weights sum to 2 ** 1 .. 2 ** {MAX_WEIGHT_BITS}")
    if not bool((array >= 0).all()) or not bool((np.abs(array.sum(axis=0) - 1) <= 1e-4).all()):
        raise ValueError("weights are not negative and sum to 1")
    # Integers before sums, so that the order of summation cannot matter.
    cumulative = np.cumsum(np.rint(array * 2.0**34).astype(np.int64), axis=0)
    total = cumulative[-1:]
    rounded = (cumulative * (1 << weight_bits) + total // 2) // total
    return np.diff(rounded, axis=0, prepend=0)

"""Latent variables in bins of equal mass: uniform under the prior, a few bins under the posterior.

Bin i of 2**bits lies between two quantiles of the prior N(m, s),

    m + s Q(i / 2**bits)   and   m + s Q((i + 1) / 2**bits),

with Q the inverse of the normal distribution function F, and stands for its median. Under the
prior each index costs ``bits`` exactly. Under the posterior N(u, v) bin i owns the counts from
nearest(2**p F((edge_i - u) / v)) on. A bin may have none: indices are only ever found from counts.

Reference: James Townsend, Tom Bird, David Barber, "Practical Lossless Compression with Latent
Variables using Bits Back Coding", arXiv 1901.04866, section 2.5.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["EqualMassBins", "Normal", "nearest"]

_ONE = np.uint64(1)


class Normal(NamedTuple):
    """Means and standard deviations of independent normal variables, (n,).

    They come as float32, and every formula takes them together with float64 numbers, so that it is
    in float64.
    """

    mean: NDArray[np.floating[Any]]
    deviation: NDArray[np.floating[Any]]


def nearest(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Integers nearest to values that are not negative, the smaller one of two."""
    return np.ceil(values - 0.5).astype(np.uint64)


class EqualMassBins:
    """Bins for normal variables.

    Args:
        bits: log2 of the number of bins.
        precision: bits of the counts under a posterior.
    """

    def __init__(self, bits: int, precision: int) -> None:
        from scipy.special import ndtri

        self.count = 1 << bits
        self._precision = precision
        self._edges: NDArray[np.float64] = ndtri(np.arange(self.count + 1) / self.count)
        self._medians: NDArray[np.float64] = ndtri((np.arange(self.count) + 0.5) / self.count)

    def medians(self, indices: NDArray[Any], prior: Normal) -> NDArray[np.float64]:
        """What indices stand for, float64 (n,)."""
        values: NDArray[np.float64] = prior.mean + prior.deviation * self._medians[indices]
        return values

    def intervals(
        self, indices: NDArray[Any], prior: Normal, posterior: Normal
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of indices under the posterior, uint64 (n,).

        Args:
            indices: integers, (n,), of bins of the prior.
            prior: whose mass the bins share.
            posterior: that codes them.
        """
        start = self._counts_below(indices, prior, posterior)
        return start, self._counts_below(indices + 1, prior, posterior) - start

    def locate(
        self, counts: NDArray[np.uint64], prior: Normal, posterior: Normal
    ) -> NDArray[np.int64]:
        """Indices of the bins that own counts under the posterior, int64 (n,)."""
        from scipy.special import ndtr, ndtri

        quantile = (counts.astype(np.float64) + 0.5) / (1 << self._precision)
        value = posterior.mean + posterior.deviation * ndtri(quantile)
        below = ndtr((value - prior.mean) / prior.deviation)
        index: NDArray[np.int64] = np.minimum(self.count - 1, self.count * below).astype(np.int64)
        return index

    def _counts_below(
        self, edges: NDArray[Any], prior: Normal, posterior: Normal
    ) -> NDArray[np.uint64]:
        from scipy.special import ndtr

        edge = prior.mean + prior.deviation * self._edges[edges]
        return nearest((1 << self._precision) * ndtr((edge - posterior.mean) / posterior.deviation))

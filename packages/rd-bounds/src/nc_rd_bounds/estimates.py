"""What samples suggest of a source that is not known in closed form: estimates, and no bounds.

Reference:
    L. F. Kozachenko, N. N. Leonenko, "Sample estimate of the entropy of a random vector", 1987.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError
from nc_core.rates import RatePoint
from nc_rd_bounds.analytic import gaussian_optimum, shannon_intercept
from nc_rd_bounds.honesty import (
    ESTIMATED_ENTROPY,
    GAUSSIAN_ENVELOPE,
    INDEPENDENT_ENVELOPE,
    NOTHING_SAID,
)

if TYPE_CHECKING:
    from nc_rd_bounds.sources.vectors import Source

__all__ = ["EntropyEstimate", "estimate_entropy", "estimated_points", "sample_count"]

_NEIGHBOUR = 3
# Directions of less than this share of the largest deviation hold rounding, not data.
_LEAST_DEVIATION = 1e-6
_MOST_REPEATED = 0.5
# With more dimensions all distances are alike, and the estimate is mostly bias.
_MOST_DIMS = 64
# Samples per dimension from which a covariance is known well enough.
_SAMPLES_PER_DIMENSION = 10
_MOST_NUMBERS = 1 << 26


@dataclass(frozen=True)
class EntropyEstimate:
    """Differential entropy estimated from samples.

    Args:
        entropy: nats, in the subspace that holds the samples.
        standard_error: of the spread over samples; the estimator's bias is not in it.
        intrinsic_dims: dimension of the subspace.
        n: number of different samples that it rests on.
    """

    entropy: float
    standard_error: float
    intrinsic_dims: int
    n: int


def sample_count(dims: int, wanted: int) -> int:
    """How many samples of that many dimensions to read: all that are wanted, if they fit."""
    return max(_SAMPLES_PER_DIMENSION, min(wanted, _MOST_NUMBERS // dims))


def estimate_entropy(samples: NDArray[np.floating], neighbour: int = _NEIGHBOUR) -> EntropyEstimate:
    """Estimate the entropy by distances to the k-th nearest neighbour.

    The samples are first brought to unit variance along their principal axes, and directions
    without variance are left out. Repeated samples are used once.

    Args:
        samples: (N, n); the time grows about as N^2 where n is above 10.
        neighbour: k.

    Raises:
        DataError: fewer than k + 2 different samples, more than half of them repeated, or more
            than 64 dimensions.
    """
    from scipy.spatial import cKDTree
    from scipy.special import digamma, gammaln

    whole = np.asarray(samples, np.float64).reshape(len(samples), -1)
    if whole.shape[1] > _MOST_DIMS:
        raise DataError(
            f"no entropy is estimated of {whole.shape[1]:,} dimensions, more than {_MOST_DIMS}"
        )
    points = np.unique(whole, axis=0)
    count = len(points)
    if count < (1 - _MOST_REPEATED) * len(whole) or count < neighbour + 2:
        raise DataError(
            f"{count:,} different samples of {len(whole):,}: a discrete source has no density"
        )
    mean = points.mean(axis=0)
    _, deviations, axes = np.linalg.svd(points - mean, full_matrices=False)
    deviations = deviations / math.sqrt(count)
    kept = deviations > _LEAST_DEVIATION * deviations[0]
    intrinsic = int(kept.sum())
    white = (points - mean) @ axes[kept].T / deviations[kept]
    distances = cKDTree(white).query(white, k=[neighbour + 1])[0][:, 0]
    logs = intrinsic * np.log(np.maximum(distances, np.finfo(np.float64).tiny))
    ball = intrinsic / 2 * math.log(math.pi) - float(gammaln(intrinsic / 2 + 1))
    entropy = (
        float(digamma(count) - digamma(neighbour))
        + ball
        + float(logs.mean())
        + float(np.log(deviations[kept]).sum())
    )
    return EntropyEstimate(entropy, float(logs.std()) / math.sqrt(count), intrinsic, count)


def estimated_points(
    source: Source, samples: NDArray[np.floating], lambs: Sequence[float], seed: int | None = None
) -> list[RatePoint]:
    """What samples suggest where nothing is known in closed form.

    For each lambda what a Gaussian of the same covariance needs (method ``gaussian-envelope``)
    and, unless the samples have no density or too many dimensions, a line of the Shannon lower
    bound (method ``shannon-estimate``).

    Args:
        source: where the samples are from.
        samples: (N, n) or (N, *shape).
        lambs: nats per unit of mean squared error, above 0.
        seed: of the samples.

    Raises:
        UsageError: a lambda that is not above 0.
    """
    whole = np.asarray(samples, np.float64).reshape(len(samples), -1)
    variances, note = _variances(whole)
    notes = [note]
    try:
        entropy = estimate_entropy(whole)
    except DataError as error:
        entropy = None
        notes.append(f"no Shannon lower bound: {error.message}")
    points = []
    for lamb in lambs:
        optimum = gaussian_optimum(variances, lamb)
        points.append(
            RatePoint(
                kind="estimate",
                method="gaussian-envelope",
                dims=source.dims,
                rate=optimum.rate,
                distortion=optimum.distortion,
                slope=lamb,
                intercept=optimum.intercept,
                n=len(whole),
                dataset=source.name,
                seed=seed,
                notes=tuple(notes),
            )
        )
        if entropy is not None:
            points.append(_shannon_line(source, entropy, lamb, seed))
    return points


def _shannon_line(
    source: Source, entropy: EntropyEstimate, lamb: float, seed: int | None
) -> RatePoint:
    intercept = shannon_intercept(entropy.entropy, lamb, source.dims, entropy.intrinsic_dims)
    notes = [ESTIMATED_ENTROPY]
    if entropy.intrinsic_dims < source.dims:
        notes.append(
            f"the samples lie in a subspace of {entropy.intrinsic_dims} of {source.dims} dimensions"
        )
    if intercept <= 0:
        notes.append(NOTHING_SAID)
    return RatePoint(
        kind="estimate",
        method="shannon-estimate",
        dims=source.dims,
        slope=lamb,
        intercept=intercept,
        intercept_error=entropy.standard_error,
        n=entropy.n,
        dataset=source.name,
        seed=seed,
        notes=tuple(notes),
    )


def _variances(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Variances along the principal axes, or of the coordinates where samples are few.

    Either gives an upper bound: coordinates taken as independent need more, not less.
    """
    count, dims = samples.shape
    if count < _SAMPLES_PER_DIMENSION * dims:
        return samples.var(axis=0), INDEPENDENT_ENVELOPE
    covariance = np.cov(samples.T, bias=True).reshape(dims, dims)
    return np.maximum(np.linalg.eigvalsh(covariance), 0.0), GAUSSIAN_ENVELOPE

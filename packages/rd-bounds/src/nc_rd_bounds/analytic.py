"""Closed forms: reverse water-filling of Gaussians, and the Shannon lower bound.

Rates are in nats per vector, distortions mean squared errors over the dimensions of a vector,
unless a name says otherwise; ``lamb`` is lambda in ``rate + lambda * distortion``.

Reference:
    T. M. Cover, J. A. Thomas, "Elements of Information Theory", section 10.3.3;
    C. E. Shannon, "Coding theorems for a discrete source with a fidelity criterion", 1959.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import UsageError
from nc_core.rates import RatePoint

if TYPE_CHECKING:
    from nc_rd_bounds.sources.vectors import Source

__all__ = [
    "GaussianOptimum",
    "even_levels",
    "gaussian_optimum",
    "reference_curve",
    "reference_points",
    "shannon_intercept",
    "variances_of",
    "water_filling",
]


@dataclass(frozen=True)
class GaussianOptimum:
    """Where the rate-distortion function of a Gaussian has slope ``-lamb``.

    Args:
        rate: nats per vector.
        distortion: mean squared error.
        intercept: ``rate + lamb * distortion``.
    """

    rate: float
    distortion: float
    intercept: float


def water_filling(
    variances: NDArray[np.floating], levels: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Summed squared error and rate of a Gaussian at given water levels.

    ``D_i = min(var_i, level)`` and ``R = sum_i ln(var_i / D_i) / 2``.

    Args:
        variances: of independent coordinates, (n,), not negative: the diagonal, or the eigenvalues
            (:func:`variances_of`), of the covariance.
        levels: (L,), not negative; a level of 0 has an infinite rate.

    Returns:
        summed squared errors, and rates in nats per vector, each float64 (L,).
    """
    spread = np.asarray(variances, np.float64)
    positive = spread[spread > 0]
    water = np.asarray(levels, np.float64)[:, np.newaxis]
    errors: NDArray[np.float64] = np.minimum(positive, water)
    with np.errstate(divide="ignore"):
        rates = 0.5 * np.sum(np.log(positive / errors), axis=1)
    return errors.sum(axis=1), rates


def even_levels(variances: NDArray[np.floating], points: int = 50) -> NDArray[np.float64]:
    """Water levels from 0 to the largest variance, both included, evenly spaced."""
    return np.linspace(0.0, float(np.max(variances)), points)


def gaussian_optimum(variances: NDArray[np.floating], lamb: float) -> GaussianOptimum:
    """The point of slope ``-lamb``: its water level is ``n / (2 lamb)``.

    Args:
        variances: as for :func:`water_filling`, all n of them.
        lamb: nats per unit of mean squared error, above 0.
    """
    dims = len(variances)
    errors, rates = water_filling(variances, np.array([dims / (2 * _positive(lamb))]))
    rate, distortion = float(rates[0]), float(errors[0]) / dims
    return GaussianOptimum(rate, distortion, rate + lamb * distortion)


def variances_of(covariance: NDArray[np.floating]) -> NDArray[np.float64]:
    """Variances along the principal axes: the eigenvalues of a covariance, largest first.

    Rotation changes no squared error, so that these decide the rate-distortion function.

    Args:
        covariance: (n, n), symmetric; or the variances of independent coordinates, (n,).

    Raises:
        UsageError: no covariance: not square, not symmetric, or not positive semidefinite.
    """
    matrix = np.asarray(covariance, np.float64)
    if matrix.ndim == 1:
        values = np.sort(matrix)[::-1]
    elif matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]:
        if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12):
            raise UsageError("a covariance must be symmetric")
        values = np.asarray(np.linalg.eigvalsh(matrix)[::-1], np.float64)
    else:
        raise UsageError(f"a covariance of shape {matrix.shape}: expected (n, n) or (n,)")
    if not np.isfinite(values).all() or values[-1] < -1e-8 * max(values[0], 0.0):
        raise UsageError("a covariance must be finite and positive semidefinite")
    return np.maximum(values, 0.0)


def shannon_intercept(entropy: float, lamb: float, dims: int, intrinsic_dims: int) -> float:
    """Intercept of the Shannon lower bound's line of slope ``-lamb``, in nats per vector.

    ``h - (m/2) ln(2 pi e E / m) + lamb E / n`` at its least, where E is the summed squared error,
    m the intrinsic dimension (that of the subspace that holds the samples) and n all dimensions.

    Args:
        entropy: differential entropy h in nats, in that subspace.
        lamb: nats per unit of mean squared error over all n dimensions, above 0.
        dims: n.
        intrinsic_dims: m, 1 to n.
    """
    level = dims / (2 * _positive(lamb))
    return entropy - intrinsic_dims / 2 * (math.log(2 * math.pi * math.e * level) - 1)


def reference_points(source: Source, lambs: Sequence[float]) -> list[RatePoint]:
    """What is known of a source in closed form, one record for each lambda.

    A Gaussian has its optimum (``analytic``); a source of known entropy a line below all codes
    (``lower``, method ``shannon``); data have nothing (see :mod:`nc_rd_bounds.estimates`).

    Raises:
        UsageError: a lambda that is not above 0.
    """
    truth = source.truth
    if truth is None:
        return []
    if truth.variances is not None:
        optima = [gaussian_optimum(truth.variances, lamb) for lamb in lambs]
        return [
            RatePoint(
                kind="analytic",
                method="water-filling",
                dims=source.dims,
                rate=optimum.rate,
                distortion=optimum.distortion,
                slope=lamb,
                intercept=optimum.intercept,
                dataset=source.name,
            )
            for lamb, optimum in zip(lambs, optima, strict=True)
        ]
    return [
        RatePoint(
            kind="lower",
            method="shannon",
            dims=source.dims,
            slope=lamb,
            intercept=shannon_intercept(truth.entropy, lamb, source.dims, truth.intrinsic_dims),
            dataset=source.name,
        )
        for lamb in lambs
    ]


def reference_curve(
    source: Source, points: int = 200
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The rate-distortion function of a Gaussian source, for drawing.

    Returns:
        mean squared errors, rising to the variance, and rates in nats per vector, falling to 0,
        each (points,); None for other sources.
    """
    variances = None if source.truth is None else source.truth.variances
    if variances is None or not (variances > 0).any():
        return None
    most = float(variances.max())
    errors, rates = water_filling(variances, np.geomspace(1e-6 * most, most, points))
    return errors / source.dims, rates


def _positive(lamb: float) -> float:
    if not (math.isfinite(lamb) and lamb > 0):
        raise UsageError(f"lambda {lamb} must be above 0")
    return lamb

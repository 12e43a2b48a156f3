"""Blahut-Arimoto: the rate-distortion function of a finite source, point by point.

One lambda gives the minimum of ``rate + lambda * distortion`` from above, and Csiszar's bound of
the same marginals certifies it from below. Rates are in nats; everything is float64.

:func:`blahut_arimoto` takes any matrix of distortions. :func:`blahut_arimoto_grid` is for squared
error on a grid, where ``exp(-lambda * distortion)`` is a product over axes: an iteration is a few
products with matrices of bins x bins, and the matrix of all pairs of cells never exists.

Reference: R. Blahut, S. Arimoto, 1972; I. Csiszar, On an extremum problem of information theory,
1974; with the starting point and stopping rule of Yang and Mandt, arXiv 2111.12166.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_rd_bounds.grid_kernel import GridKernel, logsumexp

__all__ = ["Step", "Tell", "Trajectory", "blahut_arimoto", "blahut_arimoto_grid"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """One iteration: the new conditional against the marginal before it.

    Args:
        step: from 0.
        objective: ``rate + lambda * distortion``; never below the minimum.
        distortion: mean of the source and the conditional.
        rate: nats; never below the mutual information, since the marginal is the one before.
        certified: no conditional has an objective below this, by Csiszar's bound of the best
            marginal so far: of the same source and the same alphabet of reproductions.
    """

    step: int
    objective: float
    distortion: float
    rate: float
    certified: float

    def to_json(self) -> dict[str, Any]:
        """The record as the original writes it, and the certificate."""
        return {
            "step": self.step,
            "ub": self.objective,
            "D": self.distortion,
            "R": self.rate,
            "certified": self.certified,
        }


Tell = Callable[[Step], None]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What the iterations did, and where they ended.

    Args:
        lamb: lambda, in nats per unit of distortion.
        steps: every iteration.
        converged: the objective settled, before the limit of steps.
        log_marginal: of the reproductions, in nats: the one of the last step, before its update.
        log_conditional: of reproductions (columns) given the source; None on a grid.
    """

    lamb: float
    steps: tuple[Step, ...]
    converged: bool
    log_marginal: _Floats
    log_conditional: _Floats | None = None

    @property
    def last(self) -> Step:
        """The result."""
        return self.steps[-1]


def blahut_arimoto(
    probabilities: NDArray[Any],
    distortions: NDArray[np.floating[Any]],
    lamb: float,
    *,
    steps: int = 1000,
    tolerance: float = 1e-6,
    tell: Tell | None = None,
) -> Trajectory:
    """Minimise ``rate + lamb * distortion`` for any finite source and any distortion.

    Args:
        probabilities: (X,), not negative; they are normalised.
        distortions: (X, Y), finite. Their precision is kept: as in the original, a matrix of
            float32 means that ``lamb * distortions`` is rounded to float32.
        lamb: lambda, positive.
        steps: most iterations.
        tolerance: stop when the objective falls by less than this share of itself.
        tell: called after every step.

    Example:
        >>> hamming = 1.0 - np.eye(2)
        >>> f"{blahut_arimoto(np.array([0.3, 0.7]), hamming, 2.0).last.rate:.4f}"
        '0.2455'
    """
    _check(lamb, steps)
    mass = _normalised(probabilities)
    with np.errstate(divide="ignore"):
        log_mass = np.log(mass)[:, None]
    columns = distortions.shape[1]
    log_marginal = np.log(np.full(columns, 1 / columns, distortions.dtype)).astype(np.float64)
    done: list[Step] = []
    while True:
        log_conditional = -lamb * distortions + log_marginal
        log_conditional -= logsumexp(log_conditional, axis=1)[:, None]
        joint = mass[:, None] * np.exp(log_conditional)
        rate = float(np.sum(joint * (log_conditional - log_marginal)))
        distortion = float(np.sum(joint * distortions))
        objective = rate + lamb * distortion
        log_next = logsumexp(log_mass + log_conditional, axis=0)
        certified = objective - float(np.max(log_next - log_marginal))
        done.append(Step(len(done), objective, distortion, rate, _best(done, certified)))
        if tell is not None:
            tell(done[-1])
        converged = _has_settled(done, tolerance)
        if converged or len(done) == steps:
            return Trajectory(lamb, tuple(done), converged, log_marginal, log_conditional)
        log_marginal = log_next


def blahut_arimoto_grid(
    axes: Sequence[NDArray[np.floating[Any]]],
    probabilities: NDArray[Any],
    lamb: float,
    *,
    steps: int = 1000,
    tolerance: float = 1e-6,
    start: NDArray[Any] | None = None,
    tell: Tell | None = None,
) -> Trajectory:
    """The same for mean squared error, where source and reproductions lie on one grid.

    The steps are those of :func:`blahut_arimoto` to rounding. For a histogram, or for a density
    that is known: its values on a lattice, finer than the distortion.

    Args:
        axes: places of the grid on each of n axes.
        probabilities: (len(axes[0]), ..., len(axes[n - 1])), not negative, zero where the source
            has nothing; they are normalised.
        lamb: lambda, positive: nats per unit of squared error, averaged over the n axes.
        steps: most iterations.
        tolerance: stop when the objective falls by less than this share of itself.
        start: first marginal, positive where the source is, normalised here; uniform by default.
        tell: called after every step.

    Returns:
        the trajectory; ``log_marginal`` has the shape of the grid. Probabilities and distortions
        below about 1e-150 are no more than small.
    """
    _check(lamb, steps)
    mass = _normalised(probabilities)
    if mass.shape != tuple(map(len, axes)):
        raise ValueError(f"probabilities of shape {mass.shape} on axes of {[*map(len, axes)]}")
    kernel = GridKernel(axes, lamb)
    first = np.ones(mass.shape) if start is None else np.asarray(start, np.float64)
    if np.any(first[mass > 0] <= 0):
        raise ValueError("the first marginal must be positive where the source is")
    with np.errstate(divide="ignore"):
        log_marginal = np.log(_normalised(first))
    done: list[Step] = []
    while True:
        update = kernel.update(mass, log_marginal)
        objective, distortion = update.objective, update.distortion
        rate = objective - lamb * distortion
        certified = objective - float(np.max(update.log_factor))
        done.append(Step(len(done), objective, distortion, rate, _best(done, certified)))
        if tell is not None:
            tell(done[-1])
        converged = _has_settled(done, tolerance)
        if converged or len(done) == steps:
            return Trajectory(lamb, tuple(done), converged, log_marginal)
        log_marginal = log_marginal + update.log_factor


def _has_settled(done: Sequence[Step], tolerance: float) -> bool:
    """The original's rule; an objective of 0 cannot fall."""
    objective = done[-1].objective
    if objective == 0:
        return True
    return len(done) > 1 and (done[-2].objective - objective) / objective < tolerance


def _best(done: Sequence[Step], certified: float) -> float:
    return max(done[-1].certified, certified) if done else certified


def _normalised(probabilities: NDArray[Any]) -> _Floats:
    values = np.asarray(probabilities, np.float64)
    total = float(values.sum())
    if not (np.isfinite(total) and total > 0 and values.min() >= 0):
        raise ValueError("probabilities must be finite, not negative, and not all zero")
    return values / total


def _check(lamb: float, steps: int) -> None:
    if not (np.isfinite(lamb) and lamb > 0):
        raise ValueError(f"lambda must be positive, not {lamb}")
    if steps < 1:
        raise ValueError(f"at least one step is needed, not {steps}")

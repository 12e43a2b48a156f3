"""The kernel ``exp(-lambda * squared error)`` on a grid, applied one axis after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GridKernel", "Update", "logsumexp"]

_Floats = NDArray[np.float64]

# Products of two factors of at least _NEGLIGIBLE are normal numbers, so matrix products never meet
# denormal ones, which are slow; sums of at least _SAFE do not miss what was dropped.
_NEGLIGIBLE = 1e-150
_SAFE = 1e-100
_TINY = 5e-324


@dataclass(frozen=True, eq=False)
class Update:
    """One iteration from a marginal q, with ``Z(x) = sum_y q(y) exp(-lambda rho(x, y))``.

    Args:
        objective: ``-sum_x p(x) log Z(x)``.
        distortion: of the conditional ``q(y) exp(-lambda rho(x, y)) / Z(x)``.
        log_factor: on the grid: log of ``sum_x p(x) exp(-lambda rho(x, y)) / Z(x)``, by which the
            marginal is multiplied.
    """

    objective: float
    distortion: float
    log_factor: _Floats


class GridKernel:
    """The kernel between all pairs of cells of a grid, as one symmetric matrix per axis.

    Args:
        axes: places of the grid on each axis.
        lamb: lambda, per unit of squared error averaged over axes.
    """

    def __init__(self, axes: Sequence[NDArray[np.floating[Any]]], lamb: float) -> None:
        places = [np.asarray(axis, np.float64) for axis in axes]
        self._errors = [
            np.square(place[:, None] - place[None, :]) / len(places) for place in places
        ]
        self._lamb = lamb
        self._kernels = [_without_negligible(np.exp(-lamb * error)) for error in self._errors]
        self._weighted = [
            kernel * error for kernel, error in zip(self._kernels, self._errors, strict=True)
        ]

    def update(self, mass: _Floats, log_marginal: _Floats) -> Update:
        """One iteration.

        Args:
            mass: probabilities of the source, of the grid's shape.
            log_marginal: log q, of the grid's shape.
        """
        source = mass > 0
        marginal = _without_negligible(np.exp(log_marginal))
        normaliser, error = _derive(self._kernels, self._weighted, marginal, _product, np.add)
        if normaliser[source].min() < _SAFE:
            return self._update_in_logs(mass, log_marginal)
        ratio = np.divide(mass, normaliser, out=np.zeros_like(mass), where=source)
        factor = _apply(self._kernels, ratio, _product)
        return Update(
            objective=-float(np.sum(mass[source] * np.log(normaliser[source]))),
            distortion=float(np.sum(ratio * error)),
            log_factor=np.log(np.maximum(factor, _TINY)),
        )

    def _update_in_logs(self, mass: _Floats, log_marginal: _Floats) -> Update:
        """The same where exponentials would vanish, at the cost of many more of them."""
        source = mass > 0
        with np.errstate(divide="ignore"):
            log_mass = np.log(mass)
            log_errors = [np.log(error) for error in self._errors]
        kernels = [-self._lamb * error for error in self._errors]
        weighted = [kernel + log for kernel, log in zip(kernels, log_errors, strict=True)]
        log_normaliser, log_error = _derive(
            kernels, weighted, log_marginal, _log_product, np.logaddexp
        )
        log_ratio = np.where(source, log_mass - log_normaliser, -np.inf)
        return Update(
            objective=-float(np.sum(mass[source] * log_normaliser[source])),
            distortion=float(np.sum(np.exp(log_ratio[source] + log_error[source]))),
            log_factor=_apply(kernels, log_ratio, _log_product),
        )


def logsumexp(values: _Floats, axis: int) -> _Floats:
    """``log(sum(exp(values)))`` along an axis; of nothing but ``-inf`` it is ``-inf``."""
    highest = values.max(axis=axis, keepdims=True)
    highest[np.isneginf(highest)] = 0.0
    with np.errstate(divide="ignore"):
        result: _Floats = np.log(np.exp(values - highest).sum(axis=axis)) + highest.squeeze(axis)
    return result


_Product = Callable[[_Floats, _Floats], _Floats]


def _apply(kernels: Sequence[_Floats], values: _Floats, product: _Product) -> _Floats:
    """Apply a symmetric matrix along each axis."""
    shape = values.shape
    for kernel in kernels:
        values = product(_columns(values, len(kernel)), kernel)
    return values.reshape(shape)


def _derive(
    kernels: Sequence[_Floats],
    weighted: Sequence[_Floats],
    values: _Floats,
    product: _Product,
    add: Callable[[_Floats, _Floats], _Floats],
) -> tuple[_Floats, _Floats]:
    """Apply the kernel, and the kernel times the squared error (a sum over axes: product rule)."""
    shape = values.shape
    derived: _Floats | None = None
    for kernel, with_error in zip(kernels, weighted, strict=True):
        columns = _columns(values, len(kernel))
        own = product(columns, with_error)
        if derived is not None:
            own = add(own, product(_columns(derived, len(kernel)), kernel))
        derived, values = own, product(columns, kernel)
    assert derived is not None
    return values.reshape(shape), derived.reshape(shape)


def _columns(values: _Floats, size: int) -> _Floats:
    """The first axis brought to the end; after all axes, each is where it was."""
    return values.reshape(size, -1).T


def _product(left: _Floats, right: _Floats) -> _Floats:
    return _without_negligible(left @ right)


def _log_product(left: _Floats, right: _Floats) -> _Floats:
    """A matrix product of exponentials, in logarithms, column by column to bound memory."""
    result = np.empty((len(left), right.shape[1]))
    for index, column in enumerate(right.T):
        result[:, index] = logsumexp(left + column, axis=1)
    return result


def _without_negligible(values: _Floats) -> _Floats:
    values[values < _NEGLIGIBLE] = 0.0
    return values

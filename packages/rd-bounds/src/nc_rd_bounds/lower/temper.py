"""The power of u that suits an evaluation: ``u^c`` is as valid a multiplier as u.

A network that was trained with minibatches of one size is not the best for another. Whatever the
constant c, the expectation of xi stays below the intercept, as long as c does not depend on the
samples that the bound is evaluated on. The mean of xi is concave in c: ``log C_k`` is a maximum of
functions ``log sum_i exp(a_i - c log u_i)``, which are convex, and so is ``log mean exp`` of them.
"""

from __future__ import annotations

import numpy as np
import torch

from nc_rd_bounds.lower.bound import log_mean_exp
from nc_rd_bounds.lower.climb import Search, maximise
from nc_rd_bounds.lower.data import independent_indices
from nc_rd_bounds.lower.release import TrainedMultiplier
from nc_rd_bounds.rows import flat_rows
from nc_rd_bounds.sources.vectors import Source

__all__ = ["best_power"]

_BETWEEN = (0.5, 4.0)
_TOLERANCE = 0.01
_MINIBATCHES = 32
_UNSEEN = 1 << 40  # rows of a sampler without end from here on were not trained on


def best_power(
    model: TrainedMultiplier, source: Source, *, k: int, search: Search, device: str = "cpu"
) -> float:
    """The power c, to 0.01, with the highest bound on some minibatches.

    Args:
        model: the network, and its lambda.
        source: samples apart from those of the evaluation: the training data.
        k: samples of a minibatch, as in the evaluation.
        search: how to climb; a quick one is enough.
        device: of torch.

    Raises:
        DataError: samples that cannot be read.
        WorkError: values that are not finite.
    """
    from scipy.optimize import minimize_scalar

    network, search = model.network.to(device), search.scaled(model.unit)
    indices = independent_indices(source.length, _MINIBATCHES * k, seed=0)
    if source.length is None:
        indices += _UNSEEN
    batches = [flat_rows(source, batch).to(device) for batch in indices.reshape(_MINIBATCHES, k)]
    with torch.no_grad():
        heights = [network(x) for x in batches]
    mean = float(np.mean([float(log_u.double().mean()) for log_u in heights]))

    def minus_bound(c: float) -> float:
        maxima = [
            maximise(x, c * log_u, model.lamb, search).value
            for x, log_u in zip(batches, heights, strict=True)
        ]
        return c * mean + log_mean_exp(np.array(maxima))

    found = minimize_scalar(
        minus_bound, bounds=_BETWEEN, method="bounded", options={"xatol": _TOLERANCE}
    )
    return float(found.x) if found.fun < minus_bound(1.0) else 1.0

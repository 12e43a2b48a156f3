"""The evaluator: how many bits a value costs when nothing is known but how often it occurs."""

from __future__ import annotations

import numpy as np

from nc_core.errors import DataError
from nc_core.evaluators.request import EvaluationRequest
from nc_core.rates import Measurement

__all__ = ["evaluate_entropy"]


def evaluate_entropy(request: EvaluationRequest) -> list[Measurement]:
    """Order-0 entropy of all samples together, in bits; the target of the evaluator's record.

    Args:
        request: the opened dataset, and how many of its items to use.

    Raises:
        DataError: samples that are not integers.
        UsageError: no items, or a dataset without end and no limit.
    """
    counts: dict[int, int] = {}
    for item in request.contents():
        if item.dtype.kind not in "iu":
            raise DataError(f"{request.dataset.name}: samples are {item.dtype}, not integers")
        values, occurrences = np.unique(item, return_counts=True)
        for value, count in zip(values.tolist(), occurrences.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + count
    shares = np.array(list(counts.values())) / sum(counts.values())
    entropy = float(-(shares * np.log2(shares)).sum())
    return [Measurement(name="entropy", value=entropy, unit="bit/dim", n=request.count)]

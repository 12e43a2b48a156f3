"""Compiled softmax numerators: differences to the largest logit, rounded once, through a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, int32, types

from nc_core.ans.compiled import kernel

__all__ = ["exponentiate"]


@kernel(
    types.void(
        types.Array(float64, 2, "C"),
        types.Array(float64, 1, "C"),
        float64,
        float64,
        types.Array(int32, 1, "C", readonly=True),
    )
)
def exponentiate(logits: Any, sums: Any, factor: Any, step: Any, table: Any) -> None:
    """Put the exponential of its difference to the largest in the place of each logit of a row.

    It is the table's at the nearest argument, followed along the tangent, and rounded.

    Args:
        logits: integers, (rows, keys); is overwritten with integers.
        sums: of each row's results, (rows,).
        factor: steps of the table for each unit of a logit.
        step: of the table, in natural units.
        table: exponentials; it ends with 0.
    """
    rows, keys = logits.shape
    last = np.float64(len(table) - 1)
    for row in range(rows):
        largest = logits[row, 0]
        for key in range(1, keys):
            largest = max(largest, logits[row, key])
        total = 0.0
        for key in range(keys):
            # Comparisons keep the index in range, even that of a NaN.
            argument = (largest - logits[row, key]) * factor
            argument = argument if argument < last else last
            argument = argument if argument > 0.0 else 0.0
            nearest = np.rint(argument)
            slope = 1.0 - (argument - nearest) * step
            value = np.rint(table[np.uint32(np.int32(nearest))] * slope)
            total += value
            logits[row, key] = value
        sums[row] = total

"""What the codec learns while it codes: the arguments of the compiled loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.predictive.layout import FEATURES, PAD, TOP, UNSET
from nc_core.predictive.side import Side
from nc_core.predictive.tables import LEVELS, inverse_sigmoid, levels, sigmoid

__all__ = ["new_state"]

_FIRST_SUM = 2000  # what the expected errors of a level are trusted with before any was seen


def new_state(shape: tuple[int, ...], side: Side, samples: NDArray[np.int32]) -> list[Any]:
    """Arguments ``shape`` to ``levels`` of :func:`nc_core.predictive.kernels.code`.

    Args:
        shape: (B, C, H, W).
        side: what the encoder transmits.
        samples: int32, (B * C * H * W,), read when encoding and written when decoding.
    """
    _, channels, height, width = shape
    stride = width + 2 * PAD
    size = (height + TOP + 1) * stride
    return [
        np.array([*shape, side.shift], np.int64),
        np.array(side.bounds, np.int64).ravel(),
        side.weights.astype(np.int64).ravel(),
        samples,
        np.full(channels * size, UNSET, np.int32),
        np.zeros(channels * size, np.int32),
        np.full(2 * LEVELS * channels, _FIRST_SUM, np.int64),
        np.zeros(LEVELS // 4 * 16 * channels, np.int64),
        np.zeros(FEATURES, np.int64),
        sigmoid(),
        inverse_sigmoid(),
        levels(),
    ]

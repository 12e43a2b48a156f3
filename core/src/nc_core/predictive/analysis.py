"""What the encoder chooses for an image: colour transform, bounds, prediction weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.predictive import colour
from nc_core.predictive.layout import CLASSES, FEATURES, USED
from nc_core.predictive.side import WEIGHT_LIMIT, Side, default_weights

__all__ = ["analyse"]

_SAMPLED = 40_000  # samples of a plane that the least squares look at
_ENOUGH = 40_000  # samples of a plane from which own weights pay for themselves


def analyse(blocks: NDArray[Any], sample_bits: int) -> tuple[Side, NDArray[np.int32]]:
    """Side information and the planes to code.

    Args:
        blocks: unsigned integers, (B, C, H, W).
        sample_bits: 8 or 16.
    """
    transform = _choose_transform(blocks)
    planes = np.ascontiguousarray(colour.forward(blocks, transform))
    lows, highs = planes.min((0, 2, 3)).tolist(), planes.max((0, 2, 3)).tolist()
    shift = sample_bits - 8
    weights = _weights(planes, shift)
    return Side(transform, shift, tuple(zip(lows, highs, strict=True)), weights), planes


def _choose_transform(blocks: NDArray[Any]) -> int:
    """The transform with the smaller differences of neighbours, on a part of the rows."""
    candidates = colour.candidates(blocks.shape[1])
    if len(candidates) == 1 or blocks.shape[3] < 2:
        return candidates[-1]
    rows = blocks[:, :, :: max(1, blocks.shape[0] * blocks.shape[2] // 64)]
    costs = []
    for transform in candidates:
        differences = np.abs(np.diff(colour.forward(rows, transform), axis=3))
        costs.append(float(np.log1p(differences).mean()))
    return candidates[int(np.argmin(costs))]


def _weights(planes: NDArray[np.int32], shift: int) -> NDArray[np.int16]:
    """Least squares by class, of planes that are large enough; else the default."""
    count, channels, height, width = planes.shape
    weights = default_weights(channels)
    if count * height * width < _ENOUGH or min(height, width) < 8:
        return weights
    from nc_core.predictive.kernels import normal_equations

    step = max(1, count * height * width // _SAMPLED)
    shape = np.array(planes.shape, np.int64)
    numbers, row = np.zeros(FEATURES, np.int64), np.zeros(FEATURES, np.float32)
    for plane in range(channels):
        gram = np.zeros((CLASSES, FEATURES, FEATURES), np.float32)
        for image in range(count):
            numbers[:] = 0
            normal_equations(planes.ravel(), shape, image, plane, step, shift, numbers, row, gram)
        weights[plane, :, : USED[plane]] = _solved(gram.astype(np.float64), USED[plane])
    return weights


def _solved(gram: NDArray[np.float64], used: int) -> NDArray[np.int16]:
    """Weights of each class, drawn towards those of all classes together."""
    moments, gram = gram[:, FEATURES - 1, :used], gram[:, :used, :used]
    identity = np.eye(used)
    common = np.linalg.solve(gram.sum(0) + identity, moments.sum(0))
    solved = np.empty((CLASSES, used))
    for k in range(CLASSES):
        ridge = (2.0 + 1e-3 * np.trace(gram[k]) / used) * identity
        solved[k] = common + np.linalg.solve(gram[k] + ridge, moments[k] - gram[k] @ common)
    return np.clip(np.rint(256 * solved), -WEIGHT_LIMIT, WEIGHT_LIMIT - 1).astype(np.int16)

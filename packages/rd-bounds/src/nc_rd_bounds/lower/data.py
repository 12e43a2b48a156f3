"""Minibatches of a source as flat vectors; images with their channels last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError
from nc_core.training import TrainingData
from nc_core.training.randomness import Purpose, philox
from nc_rd_bounds.rows import flat_rows
from nc_rd_bounds.sources.vectors import Source

__all__ = ["image_of", "independent_indices", "training_data"]


def image_of(source: Source) -> tuple[int, int, int]:
    """Height, width and channels of a source's images.

    Raises:
        DataError: its samples are no images.
    """
    shape = source.shape
    if source.layout == "hw":
        return (shape[0], shape[1], 1)
    if source.layout == "hwc":
        return (shape[0], shape[1], shape[2])
    if source.layout == "chw":
        return (shape[1], shape[2], shape[0])
    raise DataError(f"{source.name}: holds no images", "use a network of kind mlp")


def training_data(source: Source) -> TrainingData:
    """A source as batches to train on."""
    return TrainingData(lambda indices, _: flat_rows(source, indices), source.length)


def independent_indices(length: int | None, count: int, seed: int) -> NDArray[np.int64]:
    """Indices of samples for an evaluation: consecutive, or of one shuffled pass after another.

    Args:
        length: of the source; None for one without end, whose seed decides the samples.
        count: how many.
        seed: of the order.
    """
    if length is None:
        return np.arange(count)
    passes = [
        np.argsort(philox(seed, Purpose.EVALUATE, k).random_raw(length), kind="stable")
        for k in range(-(-count // length))
    ]
    return np.concatenate(passes)[:count]

"""Training: count the values of every position, and turn counts into integer frequencies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions.categorical import cumulative_from_weights
from nc_core.errors import DataError
from nc_core.model_file import ModelFile, write_model_file
from nc_core.protocols import Dataset
from nc_core.runs import RunDirectory
from nc_my_plugin.config import MyPluginConfig
from nc_my_plugin.data import images
from nc_my_plugin.model import FAMILY, VALUES

__all__ = ["count_values", "frequencies_from_counts", "train"]


def train(config: MyPluginConfig, run: RunDirectory, dataset: Dataset) -> ModelFile:
    """Train a model, and write its file and metrics into the run directory.

    Args:
        config: of the run.
        run: where everything goes.
        dataset: 8-bit images of one size.

    Raises:
        DataError: a dataset of other content or without images, or a file that cannot be written.
    """
    run.rewind({})  # an interrupted run is counted anew: that takes seconds
    counts = count_values(images(dataset, config.limit))
    if counts is None:
        raise DataError(f"{dataset.name}: holds no images")
    frequencies = frequencies_from_counts(counts + config.smoothing, config.precision)
    bits = (counts * (config.precision - np.log2(frequencies))).sum()
    number = int(counts[0, 0, 0].sum())
    run.log({"step": number, "train_bits_per_dim": float(bits / counts.sum())})
    return write_model_file(
        run.model_path,
        FAMILY,
        config={},
        tensors={"frequencies": frequencies},
        name=run.model_name(),
        info={"data": dataset.name, "images": number, "smoothing": config.smoothing},
    )


def count_values(pixels: Iterable[NDArray[Any]]) -> NDArray[np.int64] | None:
    """How often each position has each value.

    Args:
        pixels: images of one shape; uint8, (C, H, W).

    Returns:
        int64, (C, H, W, 256); None where there are no images.
    """
    counts = None
    for image in pixels:
        if counts is None:
            counts = np.zeros((*image.shape, VALUES), np.int64)
            positions = np.indices(image.shape)
        counts[(*positions, image)] += 1
    return counts


def frequencies_from_counts(counts: NDArray[np.int64], precision: int) -> NDArray[np.uint32]:
    """Integer frequencies in proportion to counts, at least 1; they sum to 2 ** precision.

    Args:
        counts: int64 >= 0, (..., 256); no table all 0.
        precision: bits, 8 or more.
    """
    return np.diff(cumulative_from_weights(counts, precision)).astype(np.uint32)

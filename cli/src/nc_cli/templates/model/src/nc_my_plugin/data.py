"""Images of a dataset in the shape that models see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.items import count_items
from nc_core.errors import DataError
from nc_core.protocols import Dataset

__all__ = ["images"]


def images(dataset: Dataset, limit: int | None = None) -> Iterator[NDArray[Any]]:
    """The first images, in order; each uint8, (C, H, W).

    Args:
        dataset: 8-bit images of one size.
        limit: how many; None for all.

    Raises:
        DataError: a dataset of other content.
        UsageError: a dataset without end, and no limit.
    """
    if dataset.layout == "none" or dataset.dtype != np.uint8 or None in dataset.shape:
        raise DataError(f"{dataset.name}: not 8-bit images of one size")
    for index in range(count_items(dataset, limit)):
        pixels = dataset[index][dataset.fields[0]]
        if dataset.layout == "hwc":
            yield pixels.transpose(2, 0, 1)
        else:
            yield pixels if dataset.layout == "chw" else pixels[None]

"""Measuring the model: its own code length, without a file."""

from __future__ import annotations

import numpy as np

from nc_core.errors import DataError
from nc_core.protocols import Dataset, LosslessModel
from nc_core.rates import Measurement
from nc_my_plugin.data import images

__all__ = ["code_length"]


def code_length(model: LosslessModel, dataset: Dataset, limit: int | None = None) -> Measurement:
    """Mean code length of images, in bits per dimension, with its standard error.

    Args:
        model: takes images of the dataset's size.
        dataset: 8-bit images of one size.
        limit: use only the first ones; None for all.

    Raises:
        DataError: no images, or of another size.
    """
    try:
        bits = [model.bits(image[None])[0] / image.size for image in images(dataset, limit)]
    except ValueError as error:
        raise DataError(f"{dataset.name}: does not fit model '{model.name}': {error}") from error
    if not bits:
        raise DataError(f"{dataset.name}: holds no images")
    n = len(bits)
    return Measurement(
        name="bound",
        value=float(np.mean(bits)),
        unit="bit/dim",
        standard_error=float(np.std(bits, ddof=1) / n**0.5) if n > 1 else None,
        n=n,
    )

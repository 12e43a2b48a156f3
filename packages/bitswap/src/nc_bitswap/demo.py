"""A demonstration that needs no data: images drawn from the model, coded in both orders."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.codec import ORDERS, Order
from nc_bitswap.data import ModelImages
from nc_bitswap.release import float_model, load
from nc_core.ans import Rans
from nc_core.lossless import compress_source
from nc_core.model_file import ModelFile
from nc_core.protocols import Dataset
from nc_core.rates import Rate
from nc_core.sources import ArraySource
from nc_core.staging import temporary_folder

__all__ = ["run_demo"]


def run_demo(file: ModelFile, data: Dataset | None, count: int, seed: int) -> dict[Order, Rate]:
    """Rates of verified files of some images, by the order of coding.

    Args:
        file: of a Bit-Swap model.
        data: images to code; None to draw them from the model.
        count: how many.
        seed: of what is drawn.

    Raises:
        DataError: no data, and the model file holds no real-valued weights to draw with.
        WorkError: a file does not decode to its input.
    """
    codec = load(file)
    images = (
        _drawn(file, count, seed)
        if data is None
        else ModelImages(data, codec.image_shape, codec.padding).first(count)
    )
    source = ArraySource(images, "nchw")
    rates: dict[Order, Rate] = {}
    with temporary_folder() as folder:
        for order in ORDERS:
            path = folder / f"{order}.ncz"
            rates[order] = compress_source(
                source, path, codec.with_order(order), Rans(), journal_seconds=None
            )
    return rates


def _drawn(file: ModelFile, count: int, seed: int) -> NDArray[np.uint8]:
    generator = torch.Generator().manual_seed(seed)
    images: NDArray[np.uint8] = float_model(file).sample(count, generator).numpy()
    return images

"""Integer distributions of the coder from the integers of a lowered model."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_bitswap.photo.colours import HIGHEST, LOGIT_BITS, LOWEST, MixtureParameters
from nc_bitswap.photo.lattice import column
from nc_bitswap.photo.model import LATENT_BITS, LATENT_RANGE, POSITION_BITS
from nc_core.ans.distributions import (
    AffineBins,
    DiscretizedLogistic,
    Mixture,
    PixelBins,
    concentration_value,
    scale_index,
)

__all__ = [
    "LATENT_BINS",
    "latent_logistic",
    "latent_values",
    "mixture_weights",
    "pixel_mixture",
    "pixel_symbols",
    "pixel_values",
    "standard_logistic",
]

LATENT_BINS = 2 * LATENT_RANGE << LATENT_BITS
"""Number of bins of a latent."""

_PIXEL_PRECISION = 24
# So fine that the one count which every bin has costs nothing.
_LATENT_PRECISION = 28
_WEIGHT_BITS = 14
_ALPHABETS = tuple(PixelBins(high - low + 1) for low, high in zip(LOWEST, HIGHEST, strict=True))
_LATENTS = AffineBins(
    -LATENT_RANGE << POSITION_BITS, 1 << (POSITION_BITS - LATENT_BITS), LATENT_BINS, POSITION_BITS
)  # fmt: skip
_FAR = 24 << LOGIT_BITS


def pixel_mixture(colour: int, mixture: MixtureParameters, rows: int, columns: int) -> Mixture:
    """Distributions of the symbols ``value - LOWEST[colour]`` of a plane's first pixels.

    Args:
        colour: 0, 1 or 2.
        mixture: integers.
        rows: how many of the plane are coded.
        columns: the same.

    Returns:
        Shape (B * rows * columns, 1): image after image, row after row.
    """

    def components(values: Tensor) -> NDArray[np.int64]:
        inside = values[:, :, :rows, :columns].numpy()
        return np.ascontiguousarray(np.moveaxis(inside, 1, 0)).reshape(inside.shape[1], -1, 1)

    logistics = [
        DiscretizedLogistic(means, scales, _ALPHABETS[colour], precision=_PIXEL_PRECISION)
        for means, scales in zip(components(mixture.means), components(mixture.scales), strict=True)
    ]
    return Mixture(logistics, mixture_weights(components(mixture.logits)))


def pixel_symbols(values: Tensor, colour: int) -> NDArray[np.int64]:
    """Symbols of a plane, (n, 1)."""
    return column(values.numpy().astype(np.int64) - LOWEST[colour])


def pixel_values(symbols: NDArray[np.int64], colour: int, shape: tuple[int, ...]) -> Tensor:
    """The plane of given symbols, float32."""
    return torch.from_numpy((symbols + LOWEST[colour]).astype(np.float32)).view(shape)


def mixture_weights(logits: NDArray[np.integer]) -> NDArray[np.int64]:
    """Weights 2 ** logits over their sum, as integers that sum to 2 ** 14.

    Args:
        logits: with ``LOGIT_BITS`` fractional bits, (K, ...).
    """
    distance = np.minimum(logits.max(axis=0) - logits, _FAR - 1)
    cumulative = np.cumsum(_powers()[distance], axis=0)
    total = cumulative[-1:]
    rounded = ((cumulative << _WEIGHT_BITS) + total // 2) // total
    weights: NDArray[np.int64] = np.diff(rounded, axis=0, prepend=0)
    return weights


def latent_logistic(
    means: Tensor, scales: Tensor, window: int | None = None
) -> DiscretizedLogistic:
    """Distributions of the bins of latents, in the order image, channel, row, column."""
    return DiscretizedLogistic(
        column(means.numpy()),
        column(scales.numpy()),
        _LATENTS,
        precision=_LATENT_PRECISION,
        window=window,
    )


def standard_logistic(count: int) -> DiscretizedLogistic:
    """The prior of ``count`` latents."""
    scale = np.broadcast_to(scale_index(np.ones(1)), (count, 1))
    means = np.zeros((count, 1), np.int32)
    return DiscretizedLogistic(means, scale, _LATENTS, precision=_LATENT_PRECISION)


def latent_values(symbols: NDArray[np.integer]) -> NDArray[np.float32]:
    """Centres of bins."""
    twice = 2 * symbols + 1 - LATENT_BINS
    return np.ldexp(twice.astype(np.float32), -LATENT_BITS - 1)


@cache
def _powers() -> NDArray[np.int64]:
    """2 ** (23 - d / 64) for d = 0, 1, ..., rounded."""
    last = (24 + 23) << LOGIT_BITS
    return np.rint(concentration_value(last - np.arange(_FAR))).astype(np.int64)

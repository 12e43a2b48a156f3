"""The latent variables of a batch of images, as integer distributions of symbols.

What a message holds of a level is a column of symbols, image after image, each in the order
channel, row, column. Pixels outside the images (where blocks are smaller than what the
networks take) are known to both sides, and not coded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.discretization import LatentBins
from nc_bitswap.model import HierarchicalVAE
from nc_core.ans.distributions import Bins, DiscretizedLogistic, PixelBins, Uniform
from nc_core.frame import Frame
from nc_core.protocols import Distribution

__all__ = ["BlockChain", "latents_given", "pixels_given"]

_PIXEL_PRECISION = 24
# So fine that the one count which every bin has costs nothing.
_LATENT_PRECISION = 28
# A posterior is only drawn from. Bins further away are cut off, before draws from their one
# count cost twenty bits each under the prior; the mass outside is 2 exp(-16).
_WINDOW = 16
_PIXELS = PixelBins(256)


class BlockChain:
    """A :class:`nc_core.ans.bits_back.Chain` for some blocks at once.

    Args:
        networks: a lowered :class:`HierarchicalVAE`.
        bins: of its latents.
        frame: of the blocks.
        count: how many blocks.
    """

    def __init__(
        self, networks: HierarchicalVAE, bins: LatentBins, frame: Frame, count: int
    ) -> None:
        self.depth = networks.architecture.levels
        self._networks, self._bins = networks, bins
        self._frame, self._count = frame, count
        self._latent = (count, *networks.architecture.latent_shape)

    def prior(self) -> Distribution:
        """p(z_depth): all bins have the same mass."""
        return Uniform(1 << self._bins.bits, (self._count * self._bins.dims, 1))

    def likelihood(self, level: int, above: NDArray[Any]) -> Distribution:
        """p(z_level | z_{level+1} = above)."""
        with torch.no_grad():
            means, scales = self._networks.likelihood(level, self._latents(level + 1, above))
        if level:
            return latents_given(means, scales, self._bins.distribution_bins(level, self._count))
        return pixels_given(means, scales.expand_as(means), self._frame)

    def posterior(self, level: int, below: NDArray[Any]) -> Distribution:
        """q(z_level | z_{level-1} = below)."""
        with torch.no_grad():
            values = self._images(below) if level == 1 else self._latents(level - 1, below)
            means, scales = self._networks.posterior(level, values)
        bins = self._bins.distribution_bins(level, self._count)
        return latents_given(means, scales, bins, drawn=True)

    def _images(self, column: NDArray[Any]) -> torch.Tensor:
        channels, height, width = self._frame.image[0], self._frame.height, self._frame.width
        blocks = column.astype(np.uint8).reshape(self._count, channels, height, width)
        return torch.from_numpy(self._frame.pad(blocks))

    def _latents(self, level: int, column: NDArray[Any]) -> torch.Tensor:
        values = self._bins.values(level, column.reshape(self._count, -1))
        return torch.from_numpy(values.reshape(self._latent))


def pixels_given(means: torch.Tensor, scales: torch.Tensor, frame: Frame) -> DiscretizedLogistic:
    """p(x | z_1) from integers of the networks, (..., C, H, W), as a column of pixels."""
    return DiscretizedLogistic(
        _column(frame.crop(means.numpy())),
        _column(frame.crop(scales.numpy())),
        _PIXELS,
        precision=_PIXEL_PRECISION,
    )


def latents_given(
    means: torch.Tensor, scales: torch.Tensor, bins: Bins, *, drawn: bool = False
) -> DiscretizedLogistic:
    """Latents from integers of the networks, as a column.

    Args:
        means: integers, of any shape.
        scales: of the same.
        bins: of a column of as many latents.
        drawn: it is a posterior, which symbols are only drawn from.
    """
    return DiscretizedLogistic(
        _column(means.numpy()),
        _column(scales.numpy()),
        bins,
        precision=_LATENT_PRECISION,
        window=_WINDOW if drawn else None,
    )


def _column(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(-1, 1)

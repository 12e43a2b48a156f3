"""The order of Bit-Swap for a diffusion: latents from the image up, drawn as they are needed.

The noising process is a Markov chain, so that q(x_1 ... x_T | x_0) is the product of its steps
q(x_s | x_s-1), and the chain codes as a hierarchy of latents does in Bit-Swap: pop x_1 given x_0,
push x_0 given x_1, pop x_2 given x_1, push x_1 given x_2, ... and push x_T under the prior. The
joint distribution is the same as from the top down (q(x_T | x_0), then q(x_s | x_s+1, x_0)), so
the expected length is the same bound; a decoder calls the network once for each step, as before.

References: Friso Kingma, Pieter Abbeel, Jonathan Ho, "Bit-Swap: Recursive Bits-Back Coding for
Lossless Compression with Hierarchical Latent Variables", arXiv 1905.06845; Alex Nichol, Prafulla
Dhariwal, "Improved Denoising Diffusion Probabilistic Models", arXiv 2102.09672.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions import DiscretizedGaussian
from nc_core.frame import Frame
from nc_diffusion_bb.noised_levels import NoisedLevels, pixels_given
from nc_diffusion_bb.reverse_process import ReverseProcess

__all__ = ["InterleavedChain", "image_values"]


class InterleavedChain:
    """A :class:`nc_core.ans.bits_back.Chain` for some blocks at once.

    Args:
        process: of the model.
        levels: bins of its chain.
        frame: of the blocks.
        count: how many blocks.
    """

    def __init__(
        self, process: ReverseProcess, levels: NoisedLevels, frame: Frame, count: int
    ) -> None:
        self.depth = process.steps
        self._process, self._levels, self._frame = process, levels, frame
        self._shape = (count, *frame.image)

    def prior(self) -> DiscretizedGaussian:
        """p(x_T)."""
        return self._levels.prior(int(np.prod(self._shape)))

    def likelihood(self, level: int, above: NDArray[Any]) -> DiscretizedGaussian:
        """p(x_level | x_level+1 = above); of level 0 the pixels."""
        noised = self._levels.values(level + 1, above).reshape(self._shape)
        mean, deviation = self._process.moments(level, noised)
        if level:
            return self._levels.coded(level, mean, deviation)
        deviation = np.broadcast_to(deviation, mean.shape)
        return pixels_given(self._frame.crop(mean), self._frame.crop(deviation))

    def posterior(self, level: int, below: NDArray[Any]) -> DiscretizedGaussian:
        """q(x_level | x_level-1 = below); of level 0 the pixels."""
        if level == 1:
            return self._levels.drawn(level, image_values(below, self._frame))
        return self._levels.drawn(level, self._levels.values(level - 1, below))


def image_values(column: NDArray[Any], frame: Frame) -> NDArray[np.float64]:
    """Blocks, a column of pixels, as the images that the diffusion starts from, -1 ... 1."""
    blocks = column.reshape(-1, frame.image[0], frame.height, frame.width).astype(np.uint8)
    return (frame.pad(blocks).astype(np.float64) * 2.0 - 255.0) / 255.0

"""Moments of a diffusion model, from its network in floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from nc_diffusion_bb.diffusion import GaussianDiffusion

__all__ = ["NetworkMoments"]

Array = NDArray[np.float32]


class NetworkMoments:
    """:class:`nc_diffusion_bb.original.codec.Moments` of a network and a chain.

    Args:
        network: on the CPU, not told of classes.
        diffusion: the chain, as it is respaced for coding.
        clip_denoised: the image that the network sees is limited to [-1, 1].
        use_log_variance: deviations are exp(0.5 log-variance) instead of sqrt(variance): the
            same up to rounding, but for pixels of a fixed small variance.

    Attributes:
        levels: steps of the chain.
    """

    def __init__(
        self,
        network: nn.Module,
        diffusion: GaussianDiffusion,
        *,
        clip_denoised: bool = True,
        use_log_variance: bool = False,
    ) -> None:
        self.levels = diffusion.steps
        self._network = network.eval()
        self._diffusion = diffusion
        self._clip, self._use_log = clip_denoised, use_log_variance

    @torch.inference_mode()
    def prior(self, level: int, above: Array) -> tuple[Array, Array]:
        """p(x_level | x_{level+1}), by one pass of the network."""
        p = self._diffusion.p_mean_variance(
            self._network,
            torch.from_numpy(above),
            torch.full((1,), level),
            clip_denoised=self._clip,
        )
        return self._arrays(p.mean, p.variance, p.log_variance)

    @torch.inference_mode()
    def posterior(self, level: int, data: Array, above: Array | None) -> tuple[Array, Array]:
        """q(x_level | x_{level+1}, x_0), or q(x_T | x_0), without the network."""
        image = torch.from_numpy(data)
        if above is None:
            q = self._diffusion.q_mean_variance(image, torch.full((1,), level - 1))
        else:
            q = self._diffusion.q_posterior(image, torch.from_numpy(above), torch.full((1,), level))
        return self._arrays(q.mean, q.variance, q.log_variance)

    def _arrays(self, mean: Tensor, variance: Tensor, log_variance: Tensor) -> tuple[Array, Array]:
        deviation = (0.5 * log_variance).exp() if self._use_log else variance.sqrt()
        return mean.numpy(), deviation.expand_as(mean).numpy()

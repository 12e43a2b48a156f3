"""The reverse process p(x_t-1 | x_t) of a lowered network, the same numbers on every machine.

The network gives exact integers on a grid. What follows are additions, multiplications, divisions
and square roots of float64, each rounded once in the order in which it is written, and logarithms
of the schedule, which are correctly rounded.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, sections 2 and 3.1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nc_core.exact import GridTensor, exact_float32
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.diffusion_tables import DiffusionTables
from nc_diffusion_bb.exact_log2 import log2
from nc_diffusion_bb.respacing import chosen_steps, kept_betas, network_times

__all__ = ["ReverseProcess"]


class ReverseProcess:
    """Means and deviations of every step of a chain, short or whole.

    Args:
        network: lowered; takes x, float32 (B, C, H, W), and t, float32 (1,).
        diffusion: what the network says.
        alphas_cumprod: abar of the full chain, float64, (steps,).
        spacing: which of its steps to take; see :func:`chosen_steps`.
        clip: limit the predicted image to [-1, 1].

    Attributes:
        tables: of the chain.
        steps: T, how many it has.

    Raises:
        UsageError: no such spacing.
        ValueError: no schedule.
    """

    def __init__(
        self,
        network: nn.Module,
        diffusion: DiffusionConfig,
        alphas_cumprod: NDArray[np.float64],
        spacing: str = "",
        *,
        clip: bool = True,
    ) -> None:
        chosen = chosen_steps(len(alphas_cumprod), spacing)
        self.tables = DiffusionTables.of(kept_betas(alphas_cumprod, chosen))
        self.steps = len(chosen)
        self._network, self._diffusion, self._clip = network, diffusion, clip
        rescale = diffusion.rescale_timesteps
        self._times = network_times(chosen, len(alphas_cumprod), rescale=rescale).tolist()
        self._low, self._span = _log2_deviations(self.tables, diffusion)

    def moments(
        self, t: int, x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean of x_t-1 given x_t, and log2 of its standard deviation.

        Args:
            t: step of the chain, 0 ... T - 1; the result of t = 0 is about the image itself.
            x: (B, C, H, W).

        Returns:
            float64, (B, C, H, W) and a shape that broadcasts to it.
        """
        told = self._told(t, x)
        channels = x.shape[1]
        tables = self.tables
        if self._diffusion.predict_xstart:
            image = told[:, :channels]
        else:
            noise = told[:, :channels] * tables.sqrt_recipm1_alphas_cumprod[t]
            image = x * tables.sqrt_recip_alphas_cumprod[t] - noise
        if self._clip:
            image = np.clip(image, -1.0, 1.0)
        mean = image * tables.posterior_mean_coef1[t] + x * tables.posterior_mean_coef2[t]
        if not self._diffusion.learn_sigma:
            return mean, np.full((1, 1, 1, 1), self._low[t])
        return mean, (told[:, channels:] + 1.0) * self._span[t] + self._low[t]

    def _told(self, t: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
        values = torch.from_numpy(x.astype(np.float32))
        with torch.inference_mode(), exact_float32(values.device):
            told = self._network(values, torch.tensor([self._times[t]]))
        assert isinstance(told, GridTensor)
        array: NDArray[np.float64] = told.operand.values.contiguous().numpy().astype(np.float64)
        return array


def _log2_deviations(
    tables: DiffusionTables, diffusion: DiffusionConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log2 of the smallest standard deviation of each step, and half its distance to the largest.

    A learned variance lies between them: of a raw output u it is at low + (u + 1) * span. Fixed
    variances have low only.
    """
    variances = tables.posterior_variance.copy()
    variances[0] = variances[1] if tables.steps > 1 else tables.betas[0]
    low = _half_log2(variances)
    if diffusion.learn_sigma:
        return low, (_half_log2(tables.betas) - low) / 2
    if diffusion.sigma_small:
        return low, np.zeros_like(low)
    large = _half_log2(tables.betas)
    large[0] = low[0]
    return large, np.zeros_like(low)


def _half_log2(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([log2(float(value)) for value in values]) / 2

"""What training minimises: the variational bound, squared errors, or both.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, sections 3.1 and 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from nc_diffusion_bb.diffusion import GaussianDiffusion, Network

if TYPE_CHECKING:
    from nc_diffusion_bb.config import DiffusionConfig

__all__ = ["Loss", "LossTerms", "loss_of", "training_losses"]

Loss = Literal["kl", "rescaled-kl", "mse", "rescaled-mse"]

_HYBRID_STEPS = 1000


class LossTerms(NamedTuple):
    """Losses of images, each (B,).

    Attributes:
        loss: what is minimised.
        mse: the mean squared error in it, if any.
        vb: the term of the bound that is added for the variances, if any, with its weight.
    """

    loss: Tensor
    mse: Tensor | None = None
    vb: Tensor | None = None


def loss_of(config: DiffusionConfig) -> Loss:
    """Which loss a configuration asks for."""
    if config.use_kl:
        return "rescaled-kl" if config.rescale_kl else "kl"
    return "rescaled-mse" if config.rescale_learned_sigmas else "mse"


def training_losses(
    diffusion: GaussianDiffusion,
    network: Network,
    x_start: Tensor,
    t: Tensor,
    noise: Tensor,
    y: Tensor | None = None,
    *,
    loss: Loss | None = None,
) -> LossTerms:
    """Losses at one drawn step for each image.

    - ``kl``: the bound's term in bits per dimension; ``rescaled-kl``: times T, whose mean over
      uniform steps is the bound without its prior.
    - ``mse``: squared error of the noise, or of the image if that is what is predicted. Learned
      variances add the bound's term, which sends no gradient to the means; in ``rescaled-mse``,
      the hybrid loss, with weight T / 1000.

    Args:
        diffusion: the chain.
        network: see :data:`nc_diffusion_bb.diffusion.Network`.
        x_start: images in [-1, 1], float32, (B, C, H, W).
        t: steps, int64, (B,).
        noise: standard normal, like ``x_start``.
        y: classes, int64, (B,).
        loss: which; the configuration's own if None.
    """
    loss = loss or loss_of(diffusion.config)
    x_t = diffusion.q_sample(x_start, t, noise)
    outputs = network(x_t, diffusion.network_time(t), y)
    if loss in {"kl", "rescaled-kl"}:
        term = diffusion.bound_term(outputs, x_start, x_t, t, clip_denoised=False).vb
        return LossTerms(term * diffusion.steps if loss == "rescaled-kl" else term)
    vb: Tensor | None = None
    if diffusion.config.learn_sigma:
        outputs, position = outputs.chunk(2, dim=1)
        frozen = torch.cat([outputs.detach(), position], dim=1)
        vb = diffusion.bound_term(frozen, x_start, x_t, t, clip_denoised=False).vb
        if loss == "rescaled-mse":
            vb = vb * (diffusion.steps / _HYBRID_STEPS)
    target = x_start if diffusion.config.predict_xstart else noise
    mse = ((target - outputs) ** 2).flatten(1).mean(dim=1)
    return LossTerms(mse if vb is None else mse + vb, mse, vb)

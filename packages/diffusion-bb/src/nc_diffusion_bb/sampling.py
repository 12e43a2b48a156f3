"""Drawing images: step by step through p, or by DDIM; and DDIM backwards, from image to noise.

Reference: Jonathan Ho, Ajay Jain, Pieter Abbeel, "Denoising Diffusion Probabilistic Models",
arXiv 2006.11239, algorithm 2; Jiaming Song, Chenlin Meng, Stefano Ermon, "Denoising Diffusion
Implicit Models", arXiv 2010.02502, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nc_diffusion_bb.diffusion import GaussianDiffusion, Network

__all__ = ["ancestral_step", "ddim_reverse_step", "ddim_step", "sample"]


def ancestral_step(
    diffusion: GaussianDiffusion,
    network: Network,
    x_t: Tensor,
    t: Tensor,
    noise: Tensor,
    *,
    clip_denoised: bool = True,
    y: Tensor | None = None,
) -> Tensor:
    """x_{t-1} drawn from p(x_{t-1} | x_t); at t = 0 its mean.

    Args:
        diffusion: the chain.
        network: see :data:`nc_diffusion_bb.diffusion.Network`.
        x_t: float32, (B, C, H, W).
        t: steps, int64, (B,), or (1,) for all alike.
        noise: standard normal, like ``x_t``.
        clip_denoised: whether the images seen are limited to [-1, 1].
        y: classes, int64, (B,).
    """
    seen = diffusion.p_mean_variance(network, x_t, t, clip_denoised=clip_denoised, y=y)
    return seen.mean + _unless_last(t) * torch.exp(0.5 * seen.log_variance) * noise


def ddim_step(
    diffusion: GaussianDiffusion,
    network: Network,
    x_t: Tensor,
    t: Tensor,
    noise: Tensor,
    *,
    eta: float = 0.0,
    clip_denoised: bool = True,
    y: Tensor | None = None,
) -> Tensor:
    """x_{t-1} by DDIM.

    Takes what :func:`ancestral_step` takes, and ``eta``: how much fresh noise, 0 for none, 1 for as
    much as the posterior has.
    """
    kept = diffusion.coefficient("alphas_cumprod", t)
    before = diffusion.coefficient("alphas_cumprod_prev", t)
    sigma = eta * torch.sqrt((1 - before) / (1 - kept)) * torch.sqrt(1 - kept / before)
    mean = _ddim_mean(diffusion, network, x_t, t, before, sigma, clip_denoised, y)
    return mean + _unless_last(t) * sigma * noise


def ddim_reverse_step(
    diffusion: GaussianDiffusion,
    network: Network,
    x_t: Tensor,
    t: Tensor,
    *,
    clip_denoised: bool = True,
    y: Tensor | None = None,
) -> Tensor:
    """x_{t+1} by DDIM without noise, towards the latent of an image.

    Takes what :func:`ancestral_step` takes but for the noise.
    """
    after = diffusion.coefficient("alphas_cumprod_next", t)
    return _ddim_mean(diffusion, network, x_t, t, after, 0.0, clip_denoised, y)


@torch.inference_mode()
def sample(
    diffusion: GaussianDiffusion,
    network: Network,
    x_last: Tensor,
    noise: Callable[[int], Tensor],
    *,
    eta: float | None = None,
    clip_denoised: bool = True,
    y: Tensor | None = None,
) -> Tensor:
    """Images, by T calls of the network.

    Args:
        diffusion: the chain.
        network: see :data:`nc_diffusion_bb.diffusion.Network`.
        x_last: standard normal, float32, (B, C, H, W): where the chain starts.
        noise: gives standard normal noise like ``x_last`` for a step t.
        eta: of DDIM; None for ancestral sampling.
        clip_denoised: whether the images seen are limited to [-1, 1].
        y: classes, int64, (B,).

    Returns:
        images in [-1, 1], roughly, (B, C, H, W).
    """
    step = ancestral_step if eta is None else partial(ddim_step, eta=eta)
    x = x_last
    for number in reversed(range(diffusion.steps)):
        t = torch.full((1,), number, device=x.device)
        x = step(diffusion, network, x, t, noise(number), clip_denoised=clip_denoised, y=y)
    return x


def _ddim_mean(
    diffusion: GaussianDiffusion,
    network: Network,
    x_t: Tensor,
    t: Tensor,
    goal: Tensor,
    sigma: Tensor | float,
    clip_denoised: bool,
    y: Tensor | None,
) -> Tensor:
    """The image seen and the noise in x_t, mixed anew so that abar is ``goal``."""
    seen = diffusion.p_mean_variance(network, x_t, t, clip_denoised=clip_denoised, y=y)
    direction = diffusion.predict_noise(x_t, t, seen.pred_xstart)
    rest = torch.sqrt((1 - goal - sigma**2).clamp(min=0))
    return torch.sqrt(goal) * seen.pred_xstart + rest * direction


def _unless_last(t: Tensor) -> Tensor:
    return (t != 0)[:, None, None, None]

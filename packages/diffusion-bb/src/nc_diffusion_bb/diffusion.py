"""Gaussian diffusion: noising q, its reverse p, and the variational bound of the two.

The chain has steps t = 0 ... T - 1, and x_0 is the image. Tables are float64; a coefficient is
rounded to float32 when it is used. Networks are told the step of the full chain that a step of a
respaced one stands for.

Reference: Jonathan Ho, Ajay Jain, Pieter Abbeel, "Denoising Diffusion Probabilistic Models",
arXiv 2006.11239; Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic
Models", arXiv 2102.09672.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_diffusion_bb.diffusion_tables import DiffusionTables
from nc_diffusion_bb.distributions import gaussian_kl, grey_level_log_mass
from nc_diffusion_bb.respacing import chosen_steps, network_times, respaced_betas
from nc_diffusion_bb.schedules import betas

if TYPE_CHECKING:
    from nc_diffusion_bb.config import DiffusionConfig

__all__ = ["BoundTerm", "GaussianDiffusion", "Moments", "Network", "Prediction"]

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From x_t (B, C, H, W), times as the network is told them (B or 1,) and classes (B,) or None to
(B, out, H, W)."""


class Moments(NamedTuple):
    """Of a Gaussian; float32, (B, C, H, W) or broadcasting against it."""

    mean: Tensor
    variance: Tensor
    log_variance: Tensor


class Prediction(NamedTuple):
    """Moments of p(x_{t-1} | x_t), and the image x_0 that the network sees in x_t."""

    mean: Tensor
    variance: Tensor
    log_variance: Tensor
    pred_xstart: Tensor


class BoundTerm(NamedTuple):
    """One step's term of the variational bound, bits per dimension, (B,); and the image seen."""

    vb: Tensor
    pred_xstart: Tensor


class GaussianDiffusion:
    """A chain, and what the network's outputs mean.

    Args:
        betas: of the chain's steps, float64.
        config: what the network predicts.
        timestep_map: steps of the full chain that the betas stand for; all of it if None.
        original_steps: of the full chain; as many as ``betas`` if None.

    Attributes:
        tables: the chain's coefficients.
        config, timestep_map, original_steps: as above.

    Raises:
        ValueError: betas that no chain has.
    """

    def __init__(
        self,
        betas: NDArray[np.float64],
        config: DiffusionConfig,
        *,
        timestep_map: Sequence[int] | None = None,
        original_steps: int | None = None,
    ) -> None:
        self.tables = DiffusionTables.of(betas)
        self.config = config
        self.original_steps = original_steps or len(betas)
        self.timestep_map = tuple(range(len(betas)) if timestep_map is None else timestep_map)
        rescale = config.rescale_timesteps
        times = network_times(self.timestep_map, self.original_steps, rescale=rescale)
        self._coefficients = _Coefficients(self.tables, times)

    @classmethod
    def of(
        cls, config: DiffusionConfig, respacing: str | Sequence[int] | None = None
    ) -> GaussianDiffusion:
        """The diffusion of a configuration.

        Args:
            config: its full chain, and what the network predicts.
            respacing: see :func:`nc_diffusion_bb.respacing.chosen_steps`; None for the
                configuration's own.

        Raises:
            UsageError: no such schedule or spacing.
        """
        full = betas(config.noise_schedule, config.steps)
        chosen = chosen_steps(config.steps, config.respacing if respacing is None else respacing)
        return cls(
            respaced_betas(full, chosen),
            config,
            timestep_map=chosen,
            original_steps=config.steps,
        )

    @property
    def steps(self) -> int:
        """T, of the chain itself."""
        return self.tables.steps

    def coefficient(self, name: str, t: Tensor) -> Tensor:
        """Entries of a table of :attr:`tables`, float32, to broadcast over images: (B, 1, 1, 1)."""
        return self._coefficients(name, t)

    def network_time(self, t: Tensor) -> Tensor:
        """Steps (int64, any shape) as the network sees them, float32."""
        return self._coefficients.flat("network_time", t)

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t, noised by step t and all before.

        Args:
            x_start: images in [-1, 1], float32, (B, C, H, W).
            t: int64, (B,), or (1,) for all alike, as everywhere here.
            noise: standard normal, like ``x_start``.
        """
        at = self._coefficients
        return (
            at("sqrt_alphas_cumprod", t) * x_start + at("sqrt_one_minus_alphas_cumprod", t) * noise
        )

    def q_mean_variance(self, x_start: Tensor, t: Tensor) -> Moments:
        """Of q(x_t | x_0)."""
        at = self._coefficients
        return Moments(
            at("sqrt_alphas_cumprod", t) * x_start,
            at("one_minus_alphas_cumprod", t),
            at("log_one_minus_alphas_cumprod", t),
        )

    def q_posterior(self, x_start: Tensor, x_t: Tensor, t: Tensor) -> Moments:
        """Of q(x_{t-1} | x_t, x_0), with the log-variance that is finite at t = 0."""
        at = self._coefficients
        return Moments(
            at("posterior_mean_coef1", t) * x_start + at("posterior_mean_coef2", t) * x_t,
            at("posterior_variance", t),
            at("posterior_log_variance_clipped", t),
        )

    def predict_noise(self, x_t: Tensor, t: Tensor, pred_xstart: Tensor) -> Tensor:
        """The noise that lies between an image and x_t."""
        at = self._coefficients
        rest = at("sqrt_recip_alphas_cumprod", t) * x_t - pred_xstart
        return rest / at("sqrt_recipm1_alphas_cumprod", t)

    def prediction(
        self, outputs: Tensor, x_t: Tensor, t: Tensor, *, clip_denoised: bool
    ) -> Prediction:
        """What a network's outputs for x_t say about x_{t-1}.

        Args:
            outputs: (B, C, H, W), or (B, 2C, H, W) with learned variances.
            x_t: what the network saw, (B, C, H, W).
            t: its step.
            clip_denoised: whether the image seen is limited to [-1, 1].

        Returns:
            variances broadcast against ``x_t`` unless they are learned.
        """
        at = self._coefficients
        if self.config.learn_sigma:
            outputs, position = outputs.chunk(2, dim=1)
            share = (position + 1) / 2
            log_variance = share * at("log_betas", t) + (1 - share) * at(
                "posterior_log_variance_clipped", t
            )
            variance = log_variance.exp()
        elif self.config.sigma_small:
            variance = at("posterior_variance", t)
            log_variance = at("posterior_log_variance_clipped", t)
        else:
            variance, log_variance = at("large_variance", t), at("log_large_variance", t)
        if self.config.predict_xstart:
            x_start = outputs
        else:
            x_start = (
                at("sqrt_recip_alphas_cumprod", t) * x_t
                - at("sqrt_recipm1_alphas_cumprod", t) * outputs
            )
        if clip_denoised:
            x_start = x_start.clamp(-1, 1)
        mean = self.q_posterior(x_start, x_t, t).mean
        return Prediction(mean, variance, log_variance, x_start)

    def p_mean_variance(
        self,
        network: Network,
        x_t: Tensor,
        t: Tensor,
        *,
        clip_denoised: bool,
        y: Tensor | None = None,
    ) -> Prediction:
        """Of p(x_{t-1} | x_t), by one call of the network; see :meth:`prediction`."""
        outputs = network(x_t, self.network_time(t), y)
        return self.prediction(outputs, x_t, t, clip_denoised=clip_denoised)

    def bound_term(
        self, outputs: Tensor, x_start: Tensor, x_t: Tensor, t: Tensor, *, clip_denoised: bool
    ) -> BoundTerm:
        """A step's term at one draw of x_t.

        KL of q(x_{t-1} | x_t, x_0) from p(x_{t-1} | x_t), and for t = 0 the pixels' negative
        log-likelihood; bits per dimension.

        Args:
            outputs: of the network for x_t, see :meth:`prediction`.
            x_start: images in [-1, 1], float32, (B, C, H, W).
            x_t: see :meth:`q_sample`.
            t: int64, (B,), or (1,) for all alike.
            clip_denoised: whether the image seen is limited to [-1, 1]. Bounds are published so;
                training does not.
        """
        truth = self.q_posterior(x_start, x_t, t)
        model = self.prediction(outputs, x_t, t, clip_denoised=clip_denoised)
        nats = gaussian_kl(truth.mean, truth.log_variance, model.mean, model.log_variance)
        pixels = -grey_level_log_mass(x_start, model.mean, 0.5 * model.log_variance)
        vb = _bits(torch.where((t == 0)[:, None, None, None], pixels, nats))
        return BoundTerm(vb, model.pred_xstart)

    def prior_term(self, x_start: Tensor) -> Tensor:
        """KL of q(x_T | x_0) from the standard normal distribution, bits per dimension, (B,)."""
        last = torch.full((1,), self.steps - 1, device=x_start.device)
        final = self.q_mean_variance(x_start, last)
        zero = torch.zeros((), device=x_start.device)
        return _bits(gaussian_kl(final.mean, final.log_variance, zero, zero))


class _Coefficients:
    """Tables by name as float32 tensors, gathered at steps."""

    def __init__(self, tables: DiffusionTables, times: NDArray[np.float32]) -> None:
        large = np.concatenate([tables.posterior_variance[1:2], tables.betas[1:]])
        if tables.steps == 1:
            large = tables.betas
        self._tables = {
            **vars(tables),
            "one_minus_alphas_cumprod": 1 - tables.alphas_cumprod,
            "log_betas": np.log(tables.betas),
            "large_variance": large,
            "log_large_variance": np.log(large),
            "network_time": times,
        }
        self._on_devices: dict[tuple[str, torch.device], Tensor] = {}

    def __call__(self, name: str, t: Tensor) -> Tensor:
        """Entries of steps (B,), to be broadcast over images: (B, 1, 1, 1)."""
        return self.flat(name, t)[:, None, None, None]

    def flat(self, name: str, t: Tensor) -> Tensor:
        """Entries of steps, of the shape of ``t``."""
        key = name, t.device
        if key not in self._on_devices:
            rounded = self._tables[name].astype(np.float32)
            self._on_devices[key] = torch.from_numpy(rounded).to(t.device)
        return self._on_devices[key][t]


def _bits(nats: Tensor) -> Tensor:
    """Means over all but the first dimension, in bits."""
    return nats.flatten(1).mean(dim=1) / math.log(2)

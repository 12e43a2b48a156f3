"""Coefficients of a Gaussian diffusion, computed from its betas.

All but the two logarithms come from additions, multiplications, divisions and square roots in
a fixed order, each correctly rounded, so that they are the same bits on every machine.

Reference: Jonathan Ho, Ajay Jain, Pieter Abbeel, "Denoising Diffusion Probabilistic Models",
arXiv 2006.11239, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DiffusionTables"]

Table = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DiffusionTables:
    """Read-only tables, float64, one entry for each step t = 0 ... T - 1.

    With abar the products of 1 - beta up to step t and abar_prev those up to the step before:

    Attributes:
        betas: variance of the noise that a step adds.
        alphas_cumprod: abar; of the image's variance so much is left after the step.
        alphas_cumprod_prev: abar_prev; 1 for t = 0.
        alphas_cumprod_next: abar after the next step; 0 for the last.
        sqrt_alphas_cumprod: sqrt(abar), the image's share in x_t.
        sqrt_one_minus_alphas_cumprod: sqrt(1 - abar), the noise's share.
        sqrt_recip_alphas_cumprod: sqrt(1 / abar).
        sqrt_recipm1_alphas_cumprod: sqrt(1 / abar - 1).
        posterior_variance: of q(x_{t-1} | x_t, x_0); 0 for t = 0.
        posterior_mean_coef1: share of x_0 in its mean.
        posterior_mean_coef2: share of x_t in its mean.
        log_one_minus_alphas_cumprod: log(1 - abar).
        posterior_log_variance_clipped: log of the posterior's variance; at t = 0, where that is
            0, the one of t = 1, and in a chain of one step log(beta).
    """

    betas: Table
    alphas_cumprod: Table
    alphas_cumprod_prev: Table
    alphas_cumprod_next: Table
    sqrt_alphas_cumprod: Table
    sqrt_one_minus_alphas_cumprod: Table
    sqrt_recip_alphas_cumprod: Table
    sqrt_recipm1_alphas_cumprod: Table
    posterior_variance: Table
    posterior_mean_coef1: Table
    posterior_mean_coef2: Table
    log_one_minus_alphas_cumprod: Table
    posterior_log_variance_clipped: Table

    @classmethod
    def of(cls, betas: Table) -> DiffusionTables:
        """The tables of a chain.

        Args:
            betas: float64, (T,).

        Raises:
            ValueError: there are none, or not all lie above 0 and below 1.
        """
        betas = np.array(betas, dtype=np.float64)
        if betas.ndim != 1 or not len(betas) or not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError("betas are not all above 0 and below 1")
        abar = np.cumprod(1 - betas, dtype=np.float64)
        before = np.concatenate([[1.0], abar[:-1]])
        variance = betas * (1 - before) / (1 - abar)
        floor = variance[1:2] if len(betas) > 1 else betas
        tables = cls(
            betas=betas,
            alphas_cumprod=abar,
            alphas_cumprod_prev=before,
            alphas_cumprod_next=np.concatenate([abar[1:], [0.0]]),
            sqrt_alphas_cumprod=np.sqrt(abar),
            sqrt_one_minus_alphas_cumprod=np.sqrt(1 - abar),
            sqrt_recip_alphas_cumprod=np.sqrt(1 / abar),
            sqrt_recipm1_alphas_cumprod=np.sqrt(1 / abar - 1),
            posterior_variance=variance,
            posterior_mean_coef1=betas * np.sqrt(before) / (1 - abar),
            posterior_mean_coef2=(1 - before) * np.sqrt(1 - betas) / (1 - abar),
            log_one_minus_alphas_cumprod=np.log(1 - abar),
            posterior_log_variance_clipped=np.log(np.concatenate([floor, variance[1:]])),
        )
        for table in vars(tables).values():
            table.flags.writeable = False
        return tables

    @property
    def steps(self) -> int:
        """T."""
        return len(self.betas)

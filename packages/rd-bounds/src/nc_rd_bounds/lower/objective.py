"""The function whose maximum over y normalises u: ``log C_k(y)``, in nats, of one minibatch.

``f(y) = log (1/k) sum_i exp(-lambda * mse(x_i, y)) / u(x_i)`` is the logarithm of an unnormalised
mixture of Gaussians around the samples. Squared errors are always sums of squared differences:
their expansion ``x^2 - 2 x y + y^2`` loses all digits where lambda is large.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_objective", "log_objective_at_samples", "pairwise_mse"]


def pairwise_mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error of every pair of rows: (S, n) and (k, n) to (S, k), in O(S k) memory."""
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.square_().div_(a.shape[-1])


def log_objective(y: Tensor, x: Tensor, log_u: Tensor, lamb: float) -> Tensor:
    """``f`` at one y, with gradient.

    Args:
        y: point, (n,).
        x: minibatch, (k, n).
        log_u: logarithm of u at the minibatch, (k,).
        lamb: lambda, in nats per unit of mean squared error.

    Returns:
        A scalar, in nats.
    """
    errors = (x - y).square().mean(dim=-1)
    return torch.logsumexp(-lamb * errors - log_u, dim=0) - math.log(len(x))


def log_objective_at_samples(
    x: Tensor, log_u: Tensor, lamb: float, chunk: int | None = None
) -> Tensor:
    """``f`` at every sample of the minibatch, (k,), where climbs may start.

    Args:
        x: minibatch, (k, n).
        log_u: logarithm of u at the minibatch, (k,).
        lamb: lambda.
        chunk: rows of the (k, k) matrix held at once; None for all.
    """
    parts = [
        torch.logsumexp(-lamb * pairwise_mse(rows, x) - log_u, dim=1)
        for rows in torch.split(x, chunk or len(x))
    ]
    return torch.cat(parts) - math.log(len(x))

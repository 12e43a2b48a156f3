"""Logarithms of probabilities of intervals, without cancellation in the tails."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["log_logistic_interval", "log_normal_interval"]


def log_logistic_interval(lower: Tensor, upper: Tensor) -> Tensor:
    """``log(sigmoid(upper) - sigmoid(lower))`` for lower < upper.

    Equal to ``log sigmoid(upper) + log sigmoid(-lower) + log(1 - exp(lower - upper))``, whose
    terms are exact in both tails.
    """
    return F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))


def log_normal_interval(middle: Tensor, half: Tensor) -> Tensor:
    """``log(Phi(middle + half) - Phi(middle - half))`` for half > 0, Phi the normal cumulative.

    By symmetry it is computed on the side of negative values, where logarithms of Phi are exact.
    """
    left = -middle.abs()
    upper, lower = torch.special.log_ndtr(left + half), torch.special.log_ndtr(left - half)
    logarithm: Tensor = upper + torch.log(-torch.expm1(lower - upper))
    return logarithm

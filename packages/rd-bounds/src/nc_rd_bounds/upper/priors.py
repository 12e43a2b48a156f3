"""Priors of the latents: densities, and probabilities of unit intervals for uniform posteriors."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_rd_bounds.upper.config import ModelConfig
from nc_rd_bounds.upper.deep_prior import DeepFactorized
from nc_rd_bounds.upper.flows import MaskedFlow
from nc_rd_bounds.upper.intervals import log_logistic_interval, log_normal_interval

__all__ = ["FactorizedPrior", "FlowPrior", "MixturePrior", "log_prior", "make_prior", "medians"]

_LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


@runtime_checkable
class FactorizedPrior(Protocol):
    """A prior of independent coordinates; all take latents (B, L) and return (B, L)."""

    def log_densities(self, y: Tensor) -> Tensor:
        """Log p of each coordinate in nats."""

    def log_intervals(self, y: Tensor) -> Tensor:
        """Log of the probability of [y - 1/2, y + 1/2] in nats, coordinate by coordinate."""

    def cumulative(self, y: Tensor) -> Tensor:
        """Probability of values up to each coordinate."""


class FlowPrior(nn.Module):
    """Standard normal noise sent through a masked autoregressive flow, which may be empty."""

    def __init__(self, flow: MaskedFlow) -> None:
        super().__init__()
        self.flow = flow

    def log_density(self, y: Tensor) -> Tensor:
        """Log p in nats, (B,), of latents (B, L)."""
        noise, log_determinant = self.flow(y)
        result: Tensor = log_determinant - _normal_energy(noise).sum(dim=1)
        return result


class MixturePrior(nn.Module):
    """A mixture per coordinate, of normal or logistic components.

    Args:
        dims: of the latent.
        components: of each mixture.
        normal: normal components; otherwise logistic ones.
        located: each component has its location; otherwise all lie at 0.
    """

    def __init__(self, dims: int, components: int, *, normal: bool, located: bool) -> None:
        super().__init__()
        self._normal = normal
        self.logits = nn.Parameter(torch.randn(dims, components))
        self.log_scale = nn.Parameter(torch.randn(dims, components) + 2)
        self.loc = nn.Parameter(torch.randn(dims, components)) if located else None

    def log_densities(self, y: Tensor) -> Tensor:
        """Log p of each coordinate in nats, (B, L), of latents (B, L)."""
        z, scale = self._standardised(y)
        energy = _normal_energy(z) if self._normal else z + 2 * F.softplus(-z)
        return self._mixed(-energy - torch.log(scale))

    def log_intervals(self, y: Tensor) -> Tensor:
        """Log of the probability of [y - 1/2, y + 1/2] in nats, coordinate by coordinate."""
        z, scale = self._standardised(y)
        half = 0.5 / scale
        if self._normal:
            return self._mixed(log_normal_interval(z, half))
        return self._mixed(log_logistic_interval(z - half, z + half))

    def cumulative(self, y: Tensor) -> Tensor:
        """Probability of values up to each coordinate, (B, L)."""
        z, _ = self._standardised(y)
        below = torch.special.ndtr(z) if self._normal else torch.sigmoid(z)
        return (F.softmax(_components(self.logits), dim=0) * below).sum(dim=0)

    def _standardised(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Distances from the components in their scales, (K, B, L), and the scales, (K, 1, L)."""
        scale = F.softplus(_components(self.log_scale))
        centred = y[None] if self.loc is None else y - _components(self.loc)
        return centred / scale, scale

    def _mixed(self, logs: Tensor) -> Tensor:
        weights = F.log_softmax(_components(self.logits), dim=0)
        return torch.logsumexp(weights + logs, dim=0)


def make_prior(config: ModelConfig) -> nn.Module:
    """The prior of a model whose sizes are resolved."""
    dims = config.latents
    if dims is None:
        raise ValueError("the size of the latent is not resolved")
    if config.prior == "deep":
        return DeepFactorized(dims)
    if config.prior in ("maf", "std_gaussian"):
        stacks = config.maf_stacks if config.prior == "maf" else 0
        return FlowPrior(MaskedFlow(dims, stacks, config.flow_units, config.flow_activation))
    kind, _, components = config.prior.partition("_")
    return MixturePrior(dims, int(components), normal=kind[0] == "g", located=kind[1] == "m")


def log_prior(prior: nn.Module, y: Tensor, *, intervals: bool) -> Tensor:
    """Log of the prior in nats, (B,): its density, or the probability of unit cubes around y."""
    if isinstance(prior, FactorizedPrior):
        logs = prior.log_intervals(y) if intervals else prior.log_densities(y)
        return logs.sum(dim=1)
    if intervals or not isinstance(prior, FlowPrior):
        raise TypeError(f"{type(prior).__name__} has no probabilities of intervals")
    return prior.log_density(y)


@torch.no_grad()
def medians(prior: FactorizedPrior, dims: int) -> Tensor:
    """The median of each coordinate, float64 (dims,), by bisection.

    Args:
        prior: in float64.
        dims: of the latent.
    """
    high = torch.ones(1, dims, dtype=torch.float64)
    while bool((prior.cumulative(high) < 0.5).any() | (prior.cumulative(-high) > 0.5).any()):
        high = high * 2
    low = -high
    for _ in range(200):
        middle = (low + high) / 2
        above = prior.cumulative(middle) > 0.5
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high[0]


def _normal_energy(z: Tensor) -> Tensor:
    return 0.5 * z * z + _LOG_ROOT_TAU


def _components(parameter: Tensor) -> Tensor:
    """(L, K) as (K, 1, L)."""
    return parameter.T[:, None, :]

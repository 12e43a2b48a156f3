"""Pixels and latents of a batch of images, as integer distributions of symbols.

Latents have bins of equal mass under their prior N(0, 1), which is uniform over the bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.bbans.model import TRIALS
from nc_bitswap.bbans.networks import (
    CONCENTRATION_MIDDLE,
    LATENT_BITS,
    LOG_ODDS_BITS,
    LOG_ODDS_LIMIT,
    POSITION_BITS,
    CodingNetworks,
)
from nc_core.ans.distributions import (
    Bernoulli,
    BetaBinomial,
    DiscretizedGaussian,
    EdgeBins,
    FusedDistribution,
    Uniform,
)
from nc_core.exact import curves
from nc_core.frame import Frame

__all__ = ["LATENT_PRECISION", "EqualMassBins", "VaeChain", "zero_counts"]

# The more counts the surer symbol owns, the more a head of 31 bits loses: most pixels of digits are
# all but certain, and with 24 bits they lost a tenth of a percent together.
_BINARY_PRECISION = 20
_GREY_PRECISION = 24
# So fine that the one count which every bin has costs nothing.
LATENT_PRECISION = 28
# A posterior is only drawn from, and never further out than this; the mass outside is 2e-9.
_WINDOW = 6


@dataclass(frozen=True, eq=False)
class EqualMassBins:
    """Bins of equal mass under N(0, 1), as multiples of 2 ** -20.

    Args:
        edges: inner edges, int32 (S - 1,), S a power of two.
        centres: medians of the bins, int32 (S,).

    Raises:
        ValueError: other numbers of edges and centres.
    """

    edges: NDArray[np.int32]
    centres: NDArray[np.int32]

    def __post_init__(self) -> None:
        size = len(self.centres)
        if size < 2 or size & (size - 1) or self.edges.shape != (size - 1,):
            raise ValueError(f"{len(self.edges)} edges do not part {size} bins")

    @classmethod
    def of(cls, bits: int) -> EqualMassBins:
        """2 ** bits bins."""
        halves = _normal_quantiles(2 << bits)
        return cls(halves[1::2].copy(), halves[::2].copy())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> EqualMassBins:
        """What :meth:`tensors` gave.

        Raises:
            KeyError, ValueError: something else.
        """
        return cls(*(np.asarray(tensors[name], np.int32) for name in ("edges", "centres")))

    def tensors(self) -> dict[str, NDArray[np.int32]]:
        """For a model file."""
        return {"edges": self.edges, "centres": self.centres}

    @property
    def bits(self) -> int:
        """log2 of the number of bins."""
        return len(self.centres).bit_length() - 1

    @cached_property
    def of_distributions(self) -> EdgeBins:
        """What distributions take."""
        return EdgeBins(self.edges, POSITION_BITS)

    def values(self, symbols: NDArray[Any]) -> NDArray[np.float32]:
        """The latents that bins stand for; the same shape."""
        values: NDArray[np.float32] = np.ldexp(
            self.centres[symbols].astype(np.float32), -LATENT_BITS
        )
        return values


class VaeChain:
    """A :class:`nc_core.ans.bits_back.Chain` of one level, for some blocks at once.

    Args:
        networks: lowered.
        bins: of the latents.
        frame: of the blocks.
        count: how many blocks.
    """

    depth = 1

    def __init__(
        self, networks: CodingNetworks, bins: EqualMassBins, frame: Frame, count: int
    ) -> None:
        self._networks, self._bins = networks, bins
        self._frame, self._count = frame, count

    def prior(self) -> FusedDistribution:
        """p(z): all bins have the same mass."""
        latents = self._networks.architecture.latents
        return Uniform(1 << self._bins.bits, (self._count * latents, 1))

    def posterior(self, level: int, below: NDArray[Any]) -> FusedDistribution:
        """q(z | x = below)."""
        _, height, width = self._frame.image
        shape = (self._count, 1, self._frame.height, self._frame.width)
        images = self._frame.pad(below.astype(np.uint8).reshape(shape))
        with torch.no_grad():
            pixels = torch.from_numpy(images.reshape(self._count, height * width))
            means, scales = self._networks.posterior(pixels)
        return DiscretizedGaussian(
            means.numpy().reshape(-1, 1),
            scales.numpy().reshape(-1, 1),
            self._bins.of_distributions,
            precision=LATENT_PRECISION,
            window=_WINDOW,
        )

    def likelihood(self, level: int, above: NDArray[Any]) -> FusedDistribution:
        """p(x | z = above)."""
        values = self._bins.values(above.reshape(self._count, -1))
        with torch.no_grad():
            outputs = self._networks.likelihood(torch.from_numpy(values)).numpy()
        images = outputs.reshape(self._count, -1, *self._frame.image[1:])
        planes = self._frame.crop(images)
        if self._networks.architecture.likelihood == "bernoulli":
            zeros = zero_counts()[planes.reshape(-1, 1) + LOG_ODDS_LIMIT]
            return Bernoulli(zeros, _BINARY_PRECISION)
        # The largest index of the grid is one less than the head's largest integer.
        indices = np.minimum(planes + CONCENTRATION_MIDDLE, 2 * CONCENTRATION_MIDDLE - 1)
        alpha, beta = (indices[:, plane].reshape(-1, 1) for plane in (0, 1))
        return BetaBinomial(alpha, beta, TRIALS, _GREY_PRECISION)


@lru_cache(maxsize=1)
def zero_counts() -> NDArray[np.int64]:
    """Counts of symbol 0 by log-odds of symbol 1, from the smallest on, of 2 ** 20.

    From integer arithmetic, and so the same on every machine.
    """
    step = Fraction(1, 1 << LOG_ODDS_BITS)
    start = -LOG_ODDS_LIMIT * step
    ones = curves.logistic(start, step, 2 * LOG_ODDS_LIMIT + 1)
    counts = np.array([curves.rounded(value, _BINARY_PRECISION) for value in reversed(ones)])
    kept: NDArray[np.int64] = np.clip(counts, 1, (1 << _BINARY_PRECISION) - 1)
    return kept


def _normal_quantiles(parts: int) -> NDArray[np.int32]:
    """The quantiles k / parts of N(0, 1), k = 1 .. parts - 1, as multiples of 2 ** -20."""
    upper = [NormalDist().inv_cdf(k / parts) for k in range(parts // 2 + 1, parts)]
    positive = np.rint(np.ldexp(upper, LATENT_BITS)).astype(np.int32)
    return np.concatenate([-positive[::-1], np.zeros(1, np.int32), positive])

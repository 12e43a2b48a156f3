"""Distributions with integer parameters and integer cumulative counts.

All satisfy :class:`nc_core.protocols.Distribution`; symbols are 0 .. size - 1. Constructors
check everything, so that a distribution that exists can code.
"""

from __future__ import annotations

from nc_core.ans.distributions.base import FusedDistribution
from nc_core.ans.distributions.beta_binomial import BetaBinomial
from nc_core.ans.distributions.bins import AffineBins, Bins, EdgeBins, PixelBins
from nc_core.ans.distributions.categorical import Bernoulli, Categorical
from nc_core.ans.distributions.grids import (
    concentration_index,
    concentration_value,
    position_index,
    scale_index,
    scale_value,
)
from nc_core.ans.distributions.location_scale import (
    DiscretizedGaussian,
    DiscretizedLaplace,
    DiscretizedLogistic,
    LocationScale,
)
from nc_core.ans.distributions.mixture import Mixture, weight_index
from nc_core.ans.distributions.uniform import Uniform

__all__ = [
    "AffineBins",
    "Bernoulli",
    "BetaBinomial",
    "Bins",
    "Categorical",
    "DiscretizedGaussian",
    "DiscretizedLaplace",
    "DiscretizedLogistic",
    "EdgeBins",
    "FusedDistribution",
    "LocationScale",
    "Mixture",
    "PixelBins",
    "Uniform",
    "concentration_index",
    "concentration_value",
    "position_index",
    "scale_index",
    "scale_value",
    "weight_index",
]

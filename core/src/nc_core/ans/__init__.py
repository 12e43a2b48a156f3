"""Entropy coding: messages, coders and distributions."""

from __future__ import annotations

from nc_core.ans.distributions import (
    AffineBins,
    Bernoulli,
    BetaBinomial,
    Categorical,
    DiscretizedGaussian,
    DiscretizedLaplace,
    DiscretizedLogistic,
    EdgeBins,
    Mixture,
    PixelBins,
    Uniform,
)
from nc_core.ans.message import Message
from nc_core.ans.rans import Rans
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.ans.tables import TABLES_VERSION

__all__ = [
    "TABLES_VERSION",
    "AffineBins",
    "Bernoulli",
    "BetaBinomial",
    "Categorical",
    "DiscretizedGaussian",
    "DiscretizedLaplace",
    "DiscretizedLogistic",
    "EdgeBins",
    "Message",
    "Mixture",
    "PixelBins",
    "Rans",
    "RansNumpy",
    "Uniform",
]

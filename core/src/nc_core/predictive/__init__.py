"""A plain lossless image codec: adaptive linear prediction, logistic residuals, no network."""

from __future__ import annotations

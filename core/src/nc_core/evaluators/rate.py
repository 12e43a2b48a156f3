"""The rate of a lossless model: the size of a real file, decoded and compared."""

from __future__ import annotations

import math

from nc_core.errors import UsageError
from nc_core.evaluators.metrics import RATE_METRICS
from nc_core.evaluators.request import EvaluationRequest
from nc_core.lossless import compress_source
from nc_core.models import load_coder
from nc_core.protocols import LosslessModel
from nc_core.rates import Measurement, Rate
from nc_core.sources import DatasetSource
from nc_core.staging import temporary_folder

__all__ = ["UNITS", "evaluate_rate", "rate_measurements"]

UNITS = {metric.name: metric.unit for metric in RATE_METRICS}
"""Every part of a rate record, with its unit."""


def evaluate_rate(request: EvaluationRequest) -> list[Measurement]:
    """Code a dataset into one file, decode it, compare; the target of the record ``rate``.

    Args:
        request: a lossless model and data that it can code.

    Returns:
        every part of the rate record that has a value, ``n`` being the number of items.

    Raises:
        UsageError: no model, or one that does not code losslessly.
        DataError: data that the model cannot code.
        WorkError: the file does not decode to its input.
    """
    if not isinstance(request.model, LosslessModel):
        raise UsageError("rate needs a lossless model", "choose one with --model NAME")
    source = DatasetSource(request.dataset, request.count)
    coder = load_coder(request.coder, request.plugins)
    with temporary_folder() as folder:
        rate = compress_source(
            source, folder / "data.ncz", request.model, coder,
            threads=request.threads, journal_seconds=None,
        )  # fmt: skip
    return rate_measurements(rate)


def rate_measurements(rate: Rate) -> list[Measurement]:
    """The parts of a rate record as measurements; parts without a value are left out."""
    values = {name: getattr(rate, name) for name in UNITS}
    return [
        Measurement(name=name, value=value, unit=UNITS[name], n=rate.items)
        for name, value in ((name, _number(value)) for name, value in values.items())
        if value is not None
    ]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)

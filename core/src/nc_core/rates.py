"""Rate records: which bits, in which unit, of how many items; and points of rate and distortion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

__all__ = [
    "POINT_SCHEMA",
    "RATE_SCHEMA",
    "DistortionMeasure",
    "Measurement",
    "PointKind",
    "Rate",
    "RatePer",
    "RatePoint",
    "RateUnit",
    "decibels",
]

RATE_SCHEMA = "nc.rate/1"
POINT_SCHEMA = "nc.rate-point/1"

PointKind = Literal["upper", "lower", "estimate", "analytic", "operating-point"]
RateUnit = Literal["nats", "bits"]
RatePer = Literal["vector", "dimension"]
DistortionMeasure = Literal["mse", "sse"]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a compressed file costs. All bits are counts of the finished file.

    Args:
        items: number of items (images, arrays).
        dims: samples of all items together.
        pixels: pixels of all items together; None where there are none.
        total_bits: bytes of the file x 8.
        payload_bits: words of the coder's messages.
        initial_bits: borrowed by bits-back coding and never returned; part of the payload.
        bound_bits: the model's own code length at the latents actually drawn.
        encode_seconds, decode_seconds: wall time; None where it was not measured.
        verified: the file was decoded and compared with the input.
    """

    items: int
    dims: int
    pixels: int | None
    total_bits: int
    payload_bits: int
    initial_bits: int
    bound_bits: float
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    verified: bool = False

    @property
    def header_bits(self) -> int:
        """Everything in the file that is not payload."""
        return self.total_bits - self.payload_bits

    @property
    def bits_per_dim(self) -> float:
        """Total bits per sample."""
        return self.total_bits / self.dims

    @property
    def bits_per_pixel(self) -> float | None:
        """Total bits per pixel, all channels together."""
        return None if self.pixels is None else self.total_bits / self.pixels

    @property
    def bits_per_dim_marginal(self) -> float:
        """Bits per sample without initial bits and header: the cost of one more item."""
        return (self.payload_bits - self.initial_bits) / self.dims

    @property
    def overhead_percent(self) -> float:
        """Total over bound, in percent; NaN where the bound is 0."""
        if self.bound_bits <= 0:
            return float("nan")
        return 100.0 * (self.total_bits / self.bound_bits - 1.0)

    def to_json(self) -> dict[str, Any]:
        """The record with its fixed keys; None stands for NaN, which JSON has not."""
        keys = (
            "items", "dims", "pixels", "total_bits", "payload_bits", "header_bits",
            "initial_bits", "bound_bits", "overhead_percent", "bits_per_dim", "bits_per_pixel",
            "bits_per_dim_marginal", "encode_seconds", "decode_seconds", "verified",
        )  # fmt: skip
        return {"schema": RATE_SCHEMA} | {key: _finite(getattr(self, key)) for key in keys}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number that an evaluator returns; ``standard_error`` is None where it has none."""

    name: str
    value: float
    unit: str
    standard_error: float | None = None
    n: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as plain data; None stands for NaN, which JSON has not."""
        return {key: _finite(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """A point or a line in the plane of rate and distortion, and how well it is known.

    ``lower`` is a line: every code has rate >= ``intercept - slope * distortion``. Other kinds are
    points; those that were found by minimising ``rate + slope * distortion`` have ``slope`` and
    ``intercept`` (the minimum) too.

    Args:
        kind: a bound that a model achieves (``upper``), a line below all codes (``lower``), an
            ``estimate`` that is no bound, a closed form (``analytic``), or a real codec
            (``operating-point``).
        method: what found it: ``blahut-arimoto``, ``beta-vae``, ``ntc``, ``water-filling`` ...
        dims: numbers per vector (or per image).
        rate, distortion: None for a line.
        slope: lambda, in units of rate per unit of distortion; not negative.
        intercept: of the line of slope ``-slope`` with the axis of rates.
        rate_error, distortion_error, intercept_error: standard errors; None where there is none.
        interval: two-sided confidence interval of ``intercept``.
        confidence: its level, such as 0.95.
        rate_unit, rate_per: ``nats`` or ``bits``, of a ``vector`` or of a ``dimension``.
        measure: squared error, the mean over dimensions (``mse``) or their sum (``sse``).
        value_range: smallest and largest value of the data, where distortions depend on it.
        n: samples that it rests on.
        dataset: their full name.
        seed: of the samples and of all noise.
        notes: warnings that a reader of the number must know, a line each.
    """

    kind: PointKind
    method: str
    dims: int
    rate: float | None = None
    distortion: float | None = None
    slope: float | None = None
    intercept: float | None = None
    rate_error: float | None = None
    distortion_error: float | None = None
    intercept_error: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    rate_unit: RateUnit = "nats"
    rate_per: RatePer = "vector"
    measure: DistortionMeasure = "mse"
    value_range: tuple[float, float] | None = None
    n: int | None = None
    dataset: str | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is not one of {choices}")
        if self.dims < 1:
            raise ValueError(f"dims must be positive, not {self.dims}")

    def converted(
        self,
        rate_unit: RateUnit | None = None,
        rate_per: RatePer | None = None,
        measure: DistortionMeasure | None = None,
    ) -> RatePoint:
        """The same point in other units; None leaves a unit as it is.

        A unit of rate changes slope and intercept with the rate; a unit of distortion changes the
        slope inversely, so that ``rate + slope * distortion`` remains what it is.
        """
        target = replace(
            self,
            rate_unit=rate_unit or self.rate_unit,
            rate_per=rate_per or self.rate_per,
            measure=measure or self.measure,
        )
        by = _rate_scale(self) / _rate_scale(target)
        stretch = _distortion_scale(self) / _distortion_scale(target)
        return replace(
            target,
            rate=_times(self.rate, by),
            rate_error=_times(self.rate_error, by),
            intercept=_times(self.intercept, by),
            intercept_error=_times(self.intercept_error, by),
            interval=None if self.interval is None
            else (self.interval[0] * by, self.interval[1] * by),
            slope=_times(self.slope, by / stretch),
            distortion=_times(self.distortion, stretch),
            distortion_error=_times(self.distortion_error, stretch),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The record as plain data; None stands for NaN and infinity, which JSON has not."""
        values = {key: _finite(value) for key, value in asdict(self).items()}
        return {"schema": POINT_SCHEMA} | values

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RatePoint:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: it is no such record.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(document, Mapping) or document.get("schema") != POINT_SCHEMA:
            raise ValueError(f"not a record of {POINT_SCHEMA}")
        values = {key: value for key, value in document.items() if key in known}
        for name in ("interval", "value_range", "notes"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"not a record of {POINT_SCHEMA}: {error}") from error


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": get_args(PointKind),
    "rate_unit": get_args(RateUnit),
    "rate_per": get_args(RatePer),
    "measure": get_args(DistortionMeasure),
}


def decibels(mse: float, peak: float) -> float:
    """Mean squared error as peak signal-to-noise ratio in dB; infinite for 0."""
    return math.inf if mse == 0 else 10.0 * math.log10(peak * peak / mse)


def _rate_scale(point: RatePoint) -> float:
    """Nats per vector in one unit of the point's rate."""
    return (math.log(2) if point.rate_unit == "bits" else 1.0) * (
        point.dims if point.rate_per == "dimension" else 1
    )


def _distortion_scale(point: RatePoint) -> float:
    """Summed squared error in one unit of the point's distortion."""
    return float(point.dims) if point.measure == "mse" else 1.0


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _finite(value: Any) -> Any:
    """The value; None for a number, or a pair of numbers, that is not finite."""
    parts = value if isinstance(value, tuple) else (value,)
    return None if any(isinstance(x, float) and not math.isfinite(x) for x in parts) else value

"""Rate records: which bits, in which unit, of how many items."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["RATE_SCHEMA", "Measurement", "Rate"]

RATE_SCHEMA = "nc.rate/1"


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


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""What the built-in evaluators return, with units; imports nothing heavy."""

from __future__ import annotations

from nc_core.specs import Metric

__all__ = ["CLASSICAL_METRICS", "RATE_METRICS"]

_VERIFIED = Metric("verified", "1 = decoded and equal")

RATE_METRICS = (
    Metric("items", "item"),
    Metric("dims", "dim"),
    Metric("pixels", "pixel"),
    Metric("total_bits", "bit"),
    Metric("payload_bits", "bit"),
    Metric("header_bits", "bit"),
    Metric("initial_bits", "bit"),
    Metric("bound_bits", "bit"),
    Metric("overhead_percent", "%"),
    Metric("bits_per_dim", "bit/dim"),
    Metric("bits_per_pixel", "bit/pixel"),
    Metric("bits_per_dim_marginal", "bit/dim"),
    Metric("encode_seconds", "s"),
    Metric("decode_seconds", "s"),
    _VERIFIED,
)
"""Every part of a rate record."""

CLASSICAL_METRICS = (
    Metric("total_bytes", "byte"),
    Metric("bits_per_dim", "bit/dim"),
    Metric("bits_per_pixel", "bit/pixel"),
    Metric("encode_seconds", "s"),
    Metric("decode_seconds", "s"),
    _VERIFIED,
)
"""What is measured of every classical codec, as ``CODEC.METRIC`` (``png.bits_per_dim``)."""

"""Results as the commands print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nc_core.command_line.console import print_json

if TYPE_CHECKING:
    from nc_core.rates import Measurement, Rate

__all__ = ["TITLES", "described", "print_measurements"]

TITLES = {"bit-swap": "Bit-Swap", "bb-ans": "BB-ANS"}
"""The orders of coding, and what they are called in print."""


def described(what: str, rate: Rate) -> str:
    """One line about a rate."""
    line = (
        f"{what}: {rate.total_bits // 8:,} bytes, {rate.bits_per_dim:.4f} bits per sample "
        f"(bound {rate.bound_bits / rate.dims:.4f}; {rate.initial_bits:,} initial bits), "
        f"encoded in {rate.encode_seconds:.2f} s"
    )
    return line + (f", decoded in {rate.decode_seconds:.2f} s" if rate.verified else "")


def print_measurements(measured: Sequence[Measurement], as_json: bool) -> None:
    """Print measurements, one per line or as one JSON document."""
    if as_json:
        print_json([measurement.to_json() for measurement in measured])
        return
    for one in measured:
        error = "" if one.standard_error is None else f" +- {one.standard_error:.4f}"
        click.echo(f"{one.name:<18} {one.value:.4f}{error} {one.unit}  (n = {one.n})")

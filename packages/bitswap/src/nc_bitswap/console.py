"""What the commands print: results on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nc_core.rates import Measurement, Rate

__all__ = ["TITLES", "described", "print_json", "print_measurements", "progress"]

TITLES = {"bit-swap": "Bit-Swap", "bb-ans": "BB-ANS"}
"""The orders of coding, and what they are called in print."""

_SECONDS_BETWEEN_LINES = 30.0


def described(what: str, rate: Rate) -> str:
    """One line about a rate."""
    line = (
        f"{what}: {rate.total_bits // 8:,} bytes, {rate.bits_per_dim:.4f} bits per sample "
        f"(bound {rate.bound_bits / rate.dims:.4f}; {rate.initial_bits:,} initial bits), "
        f"encoded in {rate.encode_seconds:.2f} s"
    )
    return line + (f", decoded in {rate.decode_seconds:.2f} s" if rate.verified else "")


def print_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2))


def print_measurements(measured: Sequence[Measurement], as_json: bool) -> None:
    """Print measurements, one per line or as one JSON document."""
    if as_json:
        print_json([measurement.to_json() for measurement in measured])
        return
    for one in measured:
        error = "" if one.standard_error is None else f" +- {one.standard_error:.4f}"
        click.echo(f"{one.name:<18} {one.value:.4f}{error} {one.unit}  (n = {one.n})")


@contextlib.contextmanager
def progress(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Lines on standard error while a block runs: rewritten on a terminal, rare elsewhere."""
    terminal = sys.stderr.isatty()
    last = time.monotonic()
    shown = False

    def tell(done: int, total: int) -> None:
        nonlocal last, shown
        now = time.monotonic()
        if now - last < (1.0 if terminal else _SECONDS_BETWEEN_LINES):
            return
        last, shown = now, True
        start, end = ("\r", "") if terminal else ("nc: ", "\n")
        click.echo(f"{start}{title}: {done:,} of {total:,} {unit}{end}", nl=False, err=True)

    try:
        yield tell
    finally:
        if terminal and shown:
            click.echo(err=True)

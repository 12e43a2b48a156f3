"""The type of ``--lamb``: a slope, in units of rate per unit of distortion."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["Slope"]


class Slope(click.FloatRange):
    """A finite number above 0, or from 0 on."""

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__(min=0, min_open=not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, as :class:`click.FloatRange` makes it; NaN and infinity are refused."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number", param, ctx)
        return number

"""Where a network ends: the integer parameters that distributions take.

A head is an ordinary module in training, where it returns real numbers in the network's units.
Lowered, it returns integers in the symbols' units, on the grids of :mod:`nc_core.ans`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_core.errors import UsageError
from nc_core.exact.rules import Operand
from nc_core.exact.tables import RAW_BITS, ScaleCurve, ScaleTable, scale_table
from nc_core.exact.tensor import operand_of

__all__ = ["ExactIntegerHead", "ExactLocationScaleHead", "IntegerHead", "LocationScaleHead"]
__all__ += ["ScaleMap"]

# Positions that distributions accept reach to 2 ** 30 on both sides.
_POSITION_LIMIT = 1 << 30


@dataclass(frozen=True)
class ScaleMap:
    """From a network's raw output r to a scale: low + span * f(r + shift).

    Attributes:
        curve: f: 2 ** x ("exponential"), "sigmoid" or "softplus".
        low: smallest scale, in the network's units.
        span, shift: as above.
    """

    curve: ScaleCurve = "exponential"
    low: float = 0.0
    span: float = 1.0
    shift: float = 0.0

    def __call__(self, raw: Tensor) -> Tensor:
        """Real-valued scales, differentiable."""
        argument = raw + self.shift
        if self.curve == "exponential":
            value = torch.exp2(argument)
        elif self.curve == "sigmoid":
            value = torch.sigmoid(argument)
        else:
            # softplus without the linear shortcut that functional.softplus takes above 20.
            value = -functional.logsigmoid(-argument)
        return self.low + self.span * value


class LocationScaleHead(nn.Module):
    """Mean and scale of a logistic, Gaussian or Laplace distribution for every element.

    Args:
        scale: how a scale is made of a raw output.
        gain, offset: a position m of the network is m * gain + offset in the symbols' units; a
            scale s is s * gain. For pixels seen as (x - 127.5) / 127.5 both are 127.5.
        fraction_bits: of the integer means, 1 .. 14.
        scale_shift: octaves by which the grid of scales lies higher, -8 .. 8.

    Example:
        >>> pixels = LocationScaleHead(
        ...     ScaleMap("softplus", low=2 / 255 / 8), gain=127.5, offset=127.5
        ... )
    """

    def __init__(
        self,
        scale: ScaleMap,
        *,
        gain: float = 1.0,
        offset: float = 0.0,
        fraction_bits: int = 8,
        scale_shift: int = 0,
    ) -> None:
        super().__init__()
        if not (gain > 0 and 1 <= fraction_bits <= 14 and -8 <= scale_shift <= 8):
            raise ValueError("a head has gain > 0, 1 .. 14 fractional bits, a shift of -8 .. 8")
        self.scale = scale
        self.gain, self.offset = float(gain), float(offset)
        self.fraction_bits, self.scale_shift = int(fraction_bits), int(scale_shift)

    def forward(self, mean: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale in the network's units; lowered, see :class:`ExactLocationScaleHead`.

        Args:
            mean: any shape.
            raw: a shape that broadcasts to it.
        """
        return mean, self.scale(raw)

    def to_symbols(self, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Real-valued mean and scale in the symbols' units."""
        return mean * self.gain + self.offset, scale * self.gain

    def lowered(self) -> ExactLocationScaleHead:
        """The same in exact arithmetic."""
        return ExactLocationScaleHead(self)


class ExactLocationScaleHead(nn.Module):
    """Integer means, and indices of scales; see :class:`LocationScaleHead`."""

    kind: ClassVar[str] = "location-scale"

    def __init__(self, source: LocationScaleHead) -> None:
        super().__init__()
        self.scale = source.scale
        self.gain, self.offset = source.gain, source.offset
        self.fraction_bits, self.scale_shift = source.fraction_bits, source.scale_shift
        table = self.table
        self.register_buffer("indices", torch.tensor(table.indices), persistent=False)

    @property
    def table(self) -> ScaleTable:
        """Index of the scale for each raw output."""
        scale = self.scale
        return scale_table(
            scale.curve, scale.low, scale.span, scale.shift, self.gain, self.scale_shift
        )

    def forward(self, mean: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Integer parameters in the symbols' units.

        Args:
            mean: on a grid, any shape.
            raw: on a grid, a shape that broadcasts to it.

        Returns:
            means: int32, with ``fraction_bits`` fractional bits, the shape of ``mean``.
            scales: int16, indices 0 .. 1023, the shape of ``raw``.

        Raises:
            UsageError: an input without a grid, or in units that are no real numbers.
        """
        means, raws = _real(mean, "mean"), _real(raw, "raw scale")
        # float64 holds the product of 24 by at most 29 bits; then each step is rounded once.
        gain = math.ldexp(self.gain, self.fraction_bits)
        offset = math.ldexp(self.offset, self.fraction_bits)
        positions = means.double().mul_(gain).add_(offset).round_()
        positions = positions.clamp_(-_POSITION_LIMIT, _POSITION_LIMIT).to(torch.int32)
        low = self.table.low
        arguments = raws.double().mul_(1 << RAW_BITS).round_()
        last = low + len(self.table.indices) - 1
        indices = arguments.clamp_(low, last).sub_(low).to(torch.int64)
        return positions, self.get_buffer("indices")[indices]

    def exact_tensors(self) -> dict[str, Tensor]:
        """None: the table follows from the configuration."""
        return {}

    def exact_config(self) -> dict[str, Any]:
        """Maps and grids, as JSON, with the hash of the table that they give."""
        return {
            "kind": self.kind,
            "scale": asdict(self.scale),
            "gain": self.gain,
            "offset": self.offset,
            "fraction_bits": self.fraction_bits,
            "scale_shift": self.scale_shift,
            "table": self.table.sha256,
        }


class IntegerHead(nn.Module):
    """Outputs as integers on a grid: logits, log-odds, concentrations.

    Args:
        fraction_bits: of the integers.
        limit: largest magnitude of an integer, up to 2 ** 30.
    """

    def __init__(self, fraction_bits: int = 8, limit: int = 1 << 20) -> None:
        super().__init__()
        if not (0 <= fraction_bits <= 30 and 1 <= limit <= _POSITION_LIMIT):
            raise ValueError("an integer head has 0 .. 30 fractional bits and limits to 2^30")
        self.fraction_bits, self.limit = int(fraction_bits), int(limit)

    def forward(self, values: Tensor) -> Tensor:
        """The values themselves; lowered, int32 with ``fraction_bits`` fractional bits."""
        return values

    def lowered(self) -> ExactIntegerHead:
        """The same in exact arithmetic."""
        return ExactIntegerHead(self)


class ExactIntegerHead(nn.Module):
    """Rounded and limited outputs; see :class:`IntegerHead`."""

    kind: ClassVar[str] = "integer"

    def __init__(self, source: IntegerHead) -> None:
        super().__init__()
        self.fraction_bits, self.limit = source.fraction_bits, source.limit

    def forward(self, values: Tensor) -> Tensor:
        """int32, with ``fraction_bits`` fractional bits, at most ``limit`` in magnitude."""
        scaled = _real(values, "output").double().mul_(1 << self.fraction_bits).round_()
        return scaled.clamp_(-self.limit, self.limit).to(torch.int32)

    def exact_tensors(self) -> dict[str, Tensor]:
        """None: everything is in the configuration."""
        return {}

    def exact_config(self) -> dict[str, Any]:
        """The grid, as JSON."""
        return {"kind": self.kind, "fraction_bits": self.fraction_bits, "limit": self.limit}


def _real(tensor: Tensor, name: str) -> Tensor:
    operand: Operand = operand_of(tensor, f"a head's {name}")
    if operand.grid.unit != 1:
        raise UsageError(
            f"a head's {name} comes from an input whose scale is no power of two",
            "put a layer between the input and the head",
        )
    return operand.values

"""Where data enter a network: a declared range of integers, scaled for the network."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nc_core.exact.elementwise import quantize
from nc_core.exact.grid import FLOAT32_LIMIT, Grid, dyadic
from nc_core.exact.rules import Operand
from nc_core.exact.tensor import on_grid, plain

__all__ = ["ExactInput", "Input"]


class Input(nn.Module):
    """(x - offset) / scale, for data x on a declared grid.

    In a float network it is just that. Lowered, it hands on x - offset, which is exact, and
    the layers behind it take 1 / scale into their weights; zero padding means the same in both.

    Args:
        low, high: range of x; what lies outside is limited to it.
        fraction_bits: x is a multiple of 2 ** -fraction_bits, and is rounded to one.
        offset: a multiple of 2 ** -24 that keeps x - offset within 24 bits, such as 127.5.
        scale: positive; it need not be a power of two.

    Raises:
        ValueError: x or x - offset needs more than 24 bits; low or high is off the grid.

    Example:
        >>> pixels = Input(0, 255, offset=127.5, scale=127.5)   # 0 .. 255 to -1 .. 1
        >>> latents = Input(-64, 64, fraction_bits=14)          # multiples of 2 ** -14
    """

    def __init__(
        self,
        low: float,
        high: float,
        *,
        fraction_bits: int = 0,
        offset: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not (low < high and scale > 0):
            raise ValueError("an input has low < high and scale > 0")
        self.low, self.high = float(low), float(high)
        self.fraction_bits = int(fraction_bits)
        self.offset, self.scale = float(offset), float(scale)
        self.grid = self._grid()

    def forward(self, values: Tensor) -> Tensor:
        """Scale data of any dtype and shape for the network, in float32."""
        return (values.to(torch.float32) - self.offset) / self.scale

    def lowered(self) -> ExactInput:
        """The same in exact arithmetic."""
        return ExactInput(self)

    def _grid(self) -> Grid:
        bits = max(self.fraction_bits, dyadic(self.offset)[1])
        ends = (self.low, self.high, self.low - self.offset, self.high - self.offset)
        if any((end * 2.0**self.fraction_bits) % 1 for end in ends[:2]):
            raise ValueError("low and high are multiples of 2 ** -fraction_bits")
        if max(abs(end) for end in ends) * 2.0**bits > FLOAT32_LIMIT:
            raise ValueError("inputs need more than the 24 bits that float32 holds exactly")
        limit = int(max(abs(end) for end in ends[2:]) * 2.0**bits)
        return Grid(bits, limit, 1 / Fraction(self.scale))

    def extra_repr(self) -> str:
        """One line for ``print(module)``."""
        return f"{self.low:g} .. {self.high:g}, (x - {self.offset:g}) / {self.scale:g}"


class ExactInput(nn.Module):
    """Data on their grid; see :class:`Input`."""

    kind: ClassVar[str] = "input"

    def __init__(self, source: Input) -> None:
        super().__init__()
        self.low, self.high = source.low, source.high
        self.fraction_bits, self.offset = source.fraction_bits, source.offset
        self.grid = source.grid

    def forward(self, values: Tensor) -> Tensor:
        """The data minus the offset, on the input's grid, in units of 1 / scale.

        Args:
            values: any dtype and shape; not a NaN.

        Raises:
            ValueError: a value is not a number.
        """
        numbers = plain(values).detach().to(torch.float32)
        if not bool(torch.isfinite(numbers).all()):
            raise ValueError("an input is not a finite number")
        limited = numbers.clamp(self.low, self.high)
        rounded = quantize(limited, self.fraction_bits, FLOAT32_LIMIT)
        return on_grid(Operand(rounded - self.offset, self.grid))

    def exact_tensors(self) -> dict[str, Tensor]:
        """None: everything is in the configuration."""
        return {}

    def exact_config(self) -> dict[str, Any]:
        """Range and grid, as JSON."""
        return {
            "kind": self.kind,
            "low": self.low,
            "high": self.high,
            "offset": self.offset,
            "fraction_bits": self.fraction_bits,
            "unit": str(self.grid.unit),
        }

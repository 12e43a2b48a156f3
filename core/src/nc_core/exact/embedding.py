"""Time as cosines and sines of many frequencies, computed in integers once for each time."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nc_core.exact import curves
from nc_core.exact.grid import Grid
from nc_core.exact.rules import Operand
from nc_core.exact.tensor import GridTensor, on_grid, operand_of

__all__ = ["ExactSinusoidalEmbedding", "SinusoidalEmbedding"]

_LONGEST_PERIOD = 10_000
_FRACTION_BITS = 20


class SinusoidalEmbedding(nn.Module):
    """[cos(t f_i)], then [sin(t f_i)], with f_i = 10000 ** (-2i / width), i below width / 2.

    Args:
        width: of the result; one more column of zeros if it is odd.

    Reference: Ashish Vaswani et al., "Attention Is All You Need", arXiv 1706.03762, section 3.5.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        half = width // 2
        steps = torch.arange(half, dtype=torch.float32)
        frequencies = torch.exp(-math.log(_LONGEST_PERIOD) * steps / max(half, 1))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """(B,) to (B, width), float32."""
        angles = t[:, None].float() * self.frequencies
        columns = torch.cat([angles.cos(), angles.sin()], dim=1)
        return functional.pad(columns, (0, self.width % 2)) if self.width % 2 else columns

    def lowered(self) -> ExactSinusoidalEmbedding:
        """The same in exact arithmetic."""
        return ExactSinusoidalEmbedding(self)


class ExactSinusoidalEmbedding(nn.Module):
    """Multiples of 2 ** -20, correctly rounded; see :class:`SinusoidalEmbedding`."""

    kind: ClassVar[str] = "sinusoidal-embedding"

    def __init__(self, source: SinusoidalEmbedding) -> None:
        super().__init__()
        self.width = source.width
        self.output_grid = Grid(_FRACTION_BITS, 1 << _FRACTION_BITS)

    def forward(self, t: Tensor) -> GridTensor:
        """(B,), on a grid, to (B, width).

        Raises:
            UsageError: an argument without a grid.
        """
        values, grid = operand_of(t, "a sinusoidal embedding")
        units = values.detach().double().mul(2.0**grid.fraction_bits).tolist()
        scale = grid.unit / Fraction(2) ** grid.fraction_bits
        result = np.empty((len(units), self.width), np.float32)
        for row, unit in zip(result, units, strict=True):
            row[:] = _row(self.width, int(unit) * scale)
        return on_grid(Operand(torch.from_numpy(result).to(values.device), self.output_grid))

    def exact_tensors(self) -> dict[str, Tensor]:
        """None: everything is in the configuration."""
        return {}

    def exact_config(self) -> dict[str, Any]:
        """Width and grid, as JSON."""
        return {"kind": self.kind, "width": self.width, "fraction_bits": _FRACTION_BITS}


@lru_cache(maxsize=1 << 13)
def _row(width: int, t: Fraction) -> NDArray[np.float32]:
    half = width // 2
    pairs = [
        curves.cosine_sine(frequency * t.numerator // t.denominator)
        for frequency in _frequencies(half)
    ]
    columns = [value for function in zip(*pairs, strict=True) for value in function]
    integers = [curves.rounded(value, _FRACTION_BITS) for value in columns] + [0] * (width % 2)
    return np.ldexp(np.array(integers, np.float32), -_FRACTION_BITS)


@lru_cache(maxsize=8)
def _frequencies(half: int) -> list[int]:
    return [curves.power(_LONGEST_PERIOD, Fraction(-index, half)) for index in range(half)]

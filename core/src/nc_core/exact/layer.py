"""A convolution or linear layer in integer arithmetic, at float32 speed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache, reduce
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nc_core.errors import DataError, UsageError
from nc_core.exact.arithmetic import exactly, require_exact
from nc_core.exact.elementwise import quantize
from nc_core.exact.geometry import Geometry
from nc_core.exact.grid import FLOAT32_LIMIT, Grid, shifted
from nc_core.exact.quantization import Part, largest_sums
from nc_core.exact.rules import Operand
from nc_core.exact.tensor import on_grid, operand_of

__all__ = ["ExactLayer"]


class ExactLayer(nn.Module):
    """Rounds its input to a grid, and computes what integer weights make of it without error.

    Weights and inputs are float32 numbers that are integers in units of a power of two, with sums
    below 2 ** 24 units; see :mod:`nc_core.exact.quantization`. Where it has several parts, their
    sums are added in order, each addition rounded once to float32 as IEEE prescribes.

    Args:
        geometry: the operation.
        input_grid: on which inputs are rounded; its unit is that of inputs, and the weights
            are meant for inputs in units of 1.
        parts: integer weights and biases.

    Attributes:
        relative_error: root mean square error of the layer's output, relative to the output
            itself, as measured when it was lowered; NaN for a layer that was loaded.

    Raises:
        ValueError: integers whose sums may reach 2 ** 24, or units far from 1.
    """

    kind: ClassVar[str] = "layer"

    def __init__(self, geometry: Geometry, input_grid: Grid, parts: list[Part]) -> None:
        super().__init__()
        self.geometry = geometry
        self.input_grid = input_grid
        self.parts = tuple(parts)
        self.relative_error = float("nan")
        _check(geometry, input_grid, parts)
        self.output_grid = _output_grid(input_grid, parts)
        if not self.output_grid.is_in_range:
            raise ValueError("outputs beyond the exponents of float32")
        self._is_cut = len({part.start for part in parts}) > 1
        floats = [_floats(part, input_grid.fraction_bits) for part in parts]
        # Parts that see the same inputs are outputs of one operation, if it has no groups.
        self._stacked = 1
        if not self._is_cut and geometry.groups == 1:
            self._stacked = len(parts)
            weights, biases = zip(*floats, strict=True)
            floats = [(torch.cat(weights), torch.cat(biases))]
        for index, (weight, bias) in enumerate(floats):
            # Derived from the integers: no part of a model file.
            self.register_buffer(f"weight_{index}", geometry.native(weight), persistent=False)
            self.register_buffer(f"bias_{index}", bias, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The layer's output on ``output_grid``.

        Args:
            inputs: a tensor with a grid of this layer's unit, shaped as the operation asks.

        Raises:
            UsageError: inputs without a grid, or of another unit.
        """
        values, grid = operand_of(inputs, f"a {self.geometry.operation} layer")
        device = values.device
        require_exact(device)
        if _needs_rounding(self.input_grid, grid):
            values = quantize(values, self.input_grid.fraction_bits, self.input_grid.limit)
        return on_grid(Operand(exactly(device, self._sum, values), self.output_grid))

    def _sum(self, values: Tensor) -> Tensor:
        if self._stacked > 1:
            stacked = self.geometry.apply(values, self._weight(0), self._buffers["bias_0"])
            first, *others = stacked.chunk(self._stacked, self.geometry.channel_axis)
            return reduce(torch.add, others, first)
        total: Tensor | None = None
        for index, part in enumerate(self.parts):
            taken = values
            if self._is_cut:
                size = part.stop - part.start
                taken = values.narrow(self.geometry.channel_axis, part.start, size)
            bias = self._buffers[f"bias_{index}"]
            summand = self.geometry.apply(taken, self._weight(index), bias)
            total = summand if total is None else total.add_(summand)
        assert total is not None
        return total

    def _weight(self, index: int) -> Tensor:
        return cast("Tensor", self._buffers[f"weight_{index}"])

    def largest_sums(self) -> NDArray[np.int64]:
        """For each part and output, the largest possible sum in its units; (parts, outputs)."""
        return np.stack([largest_sums(part, self.input_grid.limit) for part in self.parts])

    def exact_tensors(self) -> dict[str, Tensor]:
        """The integers: weights int16 or int32, shifts int16, biases int32."""
        tensors = {}
        for index, part in enumerate(self.parts):
            small = np.abs(part.weight).max(initial=0) < 1 << 15
            weight = part.weight.astype(np.int16 if small else np.int32)
            tensors[f"weight.{index}"] = torch.from_numpy(weight)
            tensors[f"shift.{index}"] = torch.from_numpy(part.shifts.astype(np.int16))
            tensors[f"bias.{index}"] = torch.from_numpy(part.bias.astype(np.int32))
        return tensors

    def exact_config(self) -> dict[str, Any]:
        """Geometry, input grid and the ranges of the parts, as JSON."""
        grid = self.input_grid
        return {
            "kind": self.kind,
            **self.geometry.to_config(),
            "fraction_bits": grid.fraction_bits,
            "limit": grid.limit,
            "unit": str(grid.unit),
            "ranges": [[part.start, part.stop] for part in self.parts],
        }

    @classmethod
    def from_exact(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> ExactLayer:
        """The layer that :meth:`exact_tensors` and :meth:`exact_config` describe.

        Raises:
            DataError: they describe none, or one whose sums may be inexact.
        """
        try:
            unit = str(config["unit"])
            if not re.fullmatch(r"[1-9][0-9]{0,400}(/[1-9][0-9]{0,400})?", unit):
                raise ValueError("its unit is no fraction")
            grid = Grid(int(config["fraction_bits"]), int(config["limit"]), Fraction(unit))
            parts = [
                Part(
                    int(start),
                    int(stop),
                    _integers(tensors[f"weight.{index}"]),
                    _integers(tensors[f"shift.{index}"]).astype(np.int32),
                    _integers(tensors[f"bias.{index}"]),
                )
                for index, (start, stop) in enumerate(config["ranges"])
            ]
            return cls(Geometry.from_config(dict(config)), grid, parts)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise DataError(f"a layer of the model is not as it should be: {error}") from error

    def extra_repr(self) -> str:
        """One line for ``print(module)``."""
        grid = self.input_grid
        return (
            f"{self.geometry.operation}, input {grid.limit} units of 2^{-grid.fraction_bits}, "
            f"{len(self.parts)} parts"
        )


@cache
def _needs_rounding(wanted: Grid, given: Grid) -> bool:
    if wanted.unit != given.unit:
        raise UsageError(
            f"a layer made for inputs in units of {wanted.unit} gets some in {given.unit}",
            "let each layer have one kind of input, and calibrate with it",
        )
    return not wanted.holds(given)


def _check(geometry: Geometry, grid: Grid, parts: list[Part]) -> None:
    if not parts or not 1 <= grid.limit < FLOAT32_LIMIT or not -60 <= grid.fraction_bits <= 60:
        raise ValueError("no weights, or an input grid out of range")
    outputs = len(parts[0].weight)
    for part in parts:
        shapes = part.weight.shape[:2], part.shifts.shape, part.bias.shape
        if shapes != ((outputs, part.stop - part.start), (outputs,), (outputs,)):
            raise ValueError(f"shapes of weights, shifts and biases do not fit: {shapes}")
        if not bool((np.abs(part.shifts) <= 80).all()):
            raise ValueError("shifts out of range")
        if not bool((largest_sums(part, grid.limit) < FLOAT32_LIMIT).all()):
            raise ValueError("sums may reach 2^24, beyond which float32 is inexact")
    if geometry.groups > 1 and len({(part.start, part.stop) for part in parts}) > 1:
        raise ValueError("a grouped convolution is not cut into ranges")


def _floats(part: Part, fraction_bits: int) -> tuple[Tensor, Tensor]:
    """Weights and biases as the float32 numbers that they mean; exact, being below 2 ** 24."""
    shifts = -part.shifts.reshape(-1, *[1] * (part.weight.ndim - 1))
    weight = np.ldexp(part.weight.astype(np.float32), shifts)
    bias = np.ldexp(part.bias.astype(np.float32), -part.shifts - fraction_bits)
    return torch.from_numpy(weight), torch.from_numpy(bias)


def _output_grid(input_grid: Grid, parts: list[Part]) -> Grid:
    finest = max(int(part.shifts.max(initial=0)) for part in parts)
    limits = sum(
        np.array(
            [
                shifted(int(sums), finest - int(shift))
                for sums, shift in zip(
                    largest_sums(part, input_grid.limit), part.shifts, strict=True
                )
            ],
            object,
        )
        for part in parts
    )
    # Rounded additions of parts may exceed the exact sum by less than its 2 ** -22nd part.
    largest = int(max(limits))  # type: ignore[arg-type]
    slack = shifted(largest, -22) if len(parts) > 1 else 0
    return Grid(input_grid.fraction_bits + finest, max(largest + slack, 1))


def _integers(tensor: Tensor) -> NDArray[np.int64]:
    if tensor.dtype not in (torch.int16, torch.int32):
        raise ValueError(f"weights are int16 or int32, not {tensor.dtype}")
    array: NDArray[np.int64] = tensor.cpu().numpy().astype(np.int64)
    return array

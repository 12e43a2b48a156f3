"""How many bits a layer's inputs and weights get: measured, not guessed.

Inputs and weights share the 24 bits of a sum: more bits for one leave fewer for the other, and
which split is best depends on the layer. Each candidate is tried on the inputs that the layer had
in calibration, and the one with the smallest error of the layer's output is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_core.errors import UsageError
from nc_core.exact.elementwise import quantize_reference
from nc_core.exact.geometry import Source
from nc_core.exact.grid import Grid
from nc_core.exact.layer import ExactLayer
from nc_core.exact.quantization import Part, cut, integer_parts

__all__ = ["Observed", "Precision", "build_layer"]

# An input grid reaches at least this far beyond the largest input seen in calibration ...
_LEAST_MARGIN = 1.3
# ... and no further than this: room that is never used costs bits of the weights.
_MOST_MARGIN = 2.0
_INPUT_BITS = range(7, 16)
_FIRST_BITS = 11
# Errors are measured on this many examples, or on more while they are small.
_SAMPLES = 4
_SAMPLED_NUMBERS = 1 << 16

# Pieces of this many channels or more cost hardly more time than the whole; they are worth a try
# where the error is larger than this.
_PIECE_CHANNELS = 60
_PIECES = (2, 4)
_PIECE_TOLERANCE = 2.0**-7


@dataclass(frozen=True)
class Precision:
    """What a layer may spend. None stands for what measurement finds.

    Attributes:
        input_bits: 2 .. 20, sign included; 12 suits most layers.
        depth: sets of integer weights, 1 .. 3, each finer than the one before; each costs the
            time of the layer once more.
        pieces: ranges into which the input channels are cut, each with sums of its own.
        tolerance: largest error of a layer's output, relative to the output (root mean square),
            for which one set of weights is thought good enough where ``depth`` is None.
        margin: largest input that the layer tells from larger ones, over the largest one seen in
            calibration, 1 or more. Room that is never used costs bits; by default there is 1.3 to
            2, and 1.1 is enough where calibration saw all kinds of inputs.
    """

    input_bits: int | None = None
    depth: int | None = None
    pieces: int | None = None
    tolerance: float = 2.0**-5
    margin: float | None = None

    def __post_init__(self) -> None:
        if self.input_bits is not None and not 2 <= self.input_bits <= 20:
            raise UsageError(f"inputs have 2 .. 20 bits, not {self.input_bits}")
        if self.depth is not None and not 1 <= self.depth <= 3:
            raise UsageError(f"a layer has 1 .. 3 sets of weights, not {self.depth}")
        if self.pieces is not None and self.pieces < 1:
            raise UsageError(f"a layer's inputs are cut in 1 piece or more, not {self.pieces}")
        if self.margin is not None and self.margin < 1:
            raise UsageError(f"the margin of a layer's inputs is 1 or more, not {self.margin}")


@dataclass
class Observed:
    """What a layer received in calibration, in real numbers.

    Attributes:
        peak: largest magnitude.
        samples: some of the inputs, concatenated along the batch.
    """

    peak: float = 0.0
    samples: Tensor | None = None

    def see(self, inputs: Tensor) -> None:
        """Take note of one batch of inputs."""
        self.peak = max(self.peak, float(inputs.detach().abs().max()))
        known = 0 if self.samples is None else len(self.samples)
        wanted = max(_SAMPLES, _SAMPLED_NUMBERS // max(inputs[0].numel(), 1)) - known
        fresh = inputs.detach()[: max(wanted, 0)].to(torch.float32).clone()
        if self.samples is None:
            self.samples = fresh
        elif fresh.shape[1:] == self.samples.shape[1:]:
            self.samples = torch.cat([self.samples, fresh])


def build_layer(
    source: Source, incoming: Grid, observed: Observed, precision: Precision
) -> ExactLayer:
    """The exact counterpart of a layer.

    Args:
        source: the layer in real numbers.
        incoming: the grid of its inputs.
        observed: its inputs in calibration.
        precision: what it may spend.

    Raises:
        UsageError: a grouped convolution is to be cut in pieces.
    """
    trial = _Trial(source, incoming, observed, precision)
    depth = precision.depth or 1
    plan = trial.best(precision.pieces or 1, depth)
    if precision.pieces is None and source.geometry.groups == 1:
        for pieces in _PIECES:
            wide = source.weight.shape[1] >= pieces * _PIECE_CHANNELS
            if wide and plan.error > _PIECE_TOLERANCE:
                plan = trial.best(pieces, depth)
    if precision.depth is None and plan.error > precision.tolerance:
        plan = trial.best(precision.pieces or 1, 2)
    layer = ExactLayer(source.geometry, plan.grid, plan.parts)
    layer.relative_error = plan.error
    return layer


class _Plan(NamedTuple):
    grid: Grid
    parts: list[Part]
    error: float


class _Trial:
    """Measures what a layer loses under different plans."""

    def __init__(
        self, source: Source, incoming: Grid, observed: Observed, precision: Precision
    ) -> None:
        self.source = source
        self.incoming = incoming
        # A layer that never saw anything but zeros gets a grid as if it had seen ones.
        self.peak = (observed.peak or 1.0) / float(incoming.unit)
        self.input_bits = precision.input_bits
        margin = precision.margin
        self.margins = (_LEAST_MARGIN, _MOST_MARGIN) if margin is None else (margin, margin)
        self.inputs = observed.samples
        self.exact = (
            None if self.inputs is None else self._output(self.inputs, source.weight, source.bias)
        )

    def best(self, pieces: int, depth: int) -> _Plan:
        """The plan with the smallest error for these numbers of pieces and sets of weights.

        The error falls and then rises with the bits of the input, so neighbours are tried as
        long as they are better.
        """
        if self.input_bits is not None:
            return self._plan(self.input_bits, pieces, depth)
        plan = self._plan(_FIRST_BITS, pieces, depth)
        for direction in (1, -1):
            bits = _FIRST_BITS + direction
            while bits in _INPUT_BITS:
                other = self._plan(bits, pieces, depth)
                if other.error >= plan.error:
                    break
                plan, bits = other, bits + direction
            if bits != _FIRST_BITS + 1:
                break
        return plan

    def _plan(self, input_bits: int, pieces: int, depth: int) -> _Plan:
        source = self.source
        if pieces > 1 and source.geometry.groups > 1:
            raise UsageError("the inputs of a grouped convolution are not cut in pieces")
        grid = self._grid(input_bits)
        weight = source.weight * float(grid.unit)
        ranges = cut(weight.shape[1], min(pieces, weight.shape[1]))

        def integers(bias: NDArray[np.float64]) -> list[Part]:
            return integer_parts(weight, bias, grid.fraction_bits, grid.limit, ranges, depth)

        parts = integers(source.bias)
        if self.inputs is None or self.exact is None:
            return _Plan(grid, parts, 0.0)
        # Rounded weights shift the mean of an output; its bias can take that back.
        error = self._error(grid, parts, self.inputs, self.exact)
        axes = [axis for axis in range(error.dim()) if axis != source.geometry.channel_axis]
        shift = error.mean(axes, keepdim=True) if error.numel() else error
        power = float((self.exact - self.exact.mean()).square().mean())
        # Where a layer's output is constant, errors count as they are.
        relative = math.sqrt(float((error - shift).square().mean()) / (power or 1.0))
        return _Plan(grid, integers(source.bias - shift.flatten().double().numpy()), relative)

    def _grid(self, input_bits: int) -> Grid:
        limit = (1 << (input_bits - 1)) - 1
        incoming = self.incoming
        if incoming.limit <= limit:
            return incoming
        least, most = self.margins
        finest = math.floor(math.log2(limit / (least * self.peak)))
        fraction_bits = min(finest, incoming.fraction_bits)
        reach = math.ceil(most * self.peak * 2.0**fraction_bits)
        return Grid(fraction_bits, min(limit, reach), incoming.unit)

    def _error(self, grid: Grid, parts: list[Part], inputs: Tensor, exact: Tensor) -> Tensor:
        """What integers make of the inputs, minus what the real-valued layer makes of them."""
        rounded = quantize_reference(inputs / float(grid.unit), grid.fraction_bits, grid.limit)
        weight, bias = np.zeros(self.source.weight.shape), np.zeros(self.source.bias.shape)
        for part in parts:
            columns = part.shifts.reshape(-1, *[1] * (weight.ndim - 1))
            weight[:, part.start : part.stop] += np.ldexp(part.weight, -columns)
            bias += np.ldexp(part.bias, -part.shifts - grid.fraction_bits)
        return self._output(rounded, weight, bias) - exact

    def _output(
        self, inputs: Tensor, weight: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> Tensor:
        geometry = self.source.geometry
        native = geometry.native(torch.from_numpy(weight).to(torch.float32))
        return geometry.apply(inputs, native, torch.from_numpy(bias).to(torch.float32))

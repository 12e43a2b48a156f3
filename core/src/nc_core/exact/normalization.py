"""Group normalisation, with what surrounds it in networks that are told a time or a class.

In exact arithmetic the sum and the sum of squares of a group are integers, taken without error in
any order. Mean, variance, inverse square root and the map of each channel are float64 operations,
those on each element float32 operations, every one rounded once as IEEE prescribes; SiLU is made of
the same. The result goes to a grid in the same pass over memory.

Reference: Yuxin Wu, Kaiming He, "Group Normalization", arXiv 1803.08494.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nc_core.errors import DataError, UsageError
from nc_core.exact import normalization_kernels as kernels
from nc_core.exact.elementwise import quantize_reference
from nc_core.exact.grid import Grid
from nc_core.exact.layer import ExactLayer
from nc_core.exact.memory import address
from nc_core.exact.rules import Operand, requantize
from nc_core.exact.tensor import GridTensor, on_grid, operand_of

__all__ = ["ExactGroupNorm", "GroupNorm", "NormSettings", "normalize", "normalize_reference"]

# Of the result.
_FRACTION_BITS = 14
_LIMIT = 1 << 23
_OUTPUT_GRID = Grid(_FRACTION_BITS, _LIMIT)
# Sums of squares, and numbers, stay below these.
_SUM_LIMIT = 1 << 62
_INTEGER_LIMIT = 1 << 30
_WEIGHT_BITS = 23
_LARGEST_WEIGHT = 2.0**40


class GroupNorm(nn.GroupNorm):
    """Group normalisation in float32 whatever the type of its input, which the result has again.

    Args:
        num_groups, num_channels, eps, affine: as in :class:`torch.nn.GroupNorm`.
        silu: whether SiLU is applied to the result.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        silu: bool = False,
    ) -> None:
        super().__init__(num_groups, num_channels, eps, affine)
        self.silu = silu

    def forward(
        self, input: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """Normalise, multiply by 1 + scale and add shift, and apply SiLU if asked to.

        Args:
            input: (B, channels, ...).
            scale: (B or 1, channels), or None.
            shift: the same, or None.

        Returns:
            of the shape and type of ``input``.
        """
        # Whatever can be left out is: on small maps each call costs as much as its arithmetic.
        is_float = input.dtype is torch.float32
        values = input if is_float else input.float()
        own = self._parameters
        weight, bias = own["weight"], own["bias"]
        if scale is None or shift is None:
            normal = torch.group_norm(values, self.num_groups, weight, bias, self.eps)
        else:
            affine = _conditioned(weight, bias, scale.float(), shift.float())
            normal = _normal_rows(values, self.num_groups, *affine, self.eps)
        if self.silu:
            normal = functional.silu(normal)
        return normal if is_float else normal.to(input.dtype)

    def extra_repr(self) -> str:
        """One line for ``print(module)``."""
        return super().extra_repr() + (", silu" if self.silu else "")


def _conditioned(
    weight: Tensor | None, bias: Tensor | None, scale: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor]:
    """The affine map of each example, with scale and shift in it; (B or 1, channels) both."""
    if weight is None or bias is None:
        return 1 + scale, shift
    return torch.addcmul(weight, weight, scale), torch.addcmul(bias + shift, bias, scale)


def _normal_rows(values: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Group normalisation with weights and biases (B or 1, channels), in one pass over memory."""
    if len(weight) == 1:
        return torch.group_norm(values, groups, weight[0], bias[0], eps)
    # Of one example that has all channels of all.
    rows = values.reshape(1, -1, *values.shape[2:])
    normal = torch.group_norm(rows, len(weight) * groups, weight.reshape(-1), bias.reshape(-1), eps)
    return normal.view(values.shape)


@dataclass(frozen=True)
class NormSettings:
    """What of a normalisation is no weight.

    Attributes:
        groups, channels: the first divides the second.
        epsilon: is added to variances.
        silu: whether SiLU is applied to the result.
    """

    groups: int
    channels: int
    epsilon: float
    silu: bool

    def __post_init__(self) -> None:
        if not (0 < self.groups <= self.channels and self.channels % self.groups == 0):
            raise ValueError(f"{self.channels} channels are not {self.groups} groups")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon is {self.epsilon}, not between 0 and 1")

    @classmethod
    def of(cls, module: nn.GroupNorm) -> NormSettings:
        """Of PyTorch's module, or of the one above."""
        silu = isinstance(module, GroupNorm) and module.silu
        return cls(module.num_groups, module.num_channels, float(module.eps), silu)


class ExactGroupNorm(nn.Module):
    """Group normalisation on grids; see :class:`GroupNorm`.

    Args:
        settings: of it.
        weight, bias: integers, (channels,), with their fractional bits.

    Raises:
        ValueError: numbers of another shape or range.
    """

    kind: ClassVar[str] = "group-norm"

    def __init__(
        self,
        settings: NormSettings,
        weight: tuple[NDArray[np.int32], int],
        bias: tuple[NDArray[np.int32], int],
    ) -> None:
        super().__init__()
        for integers, fraction_bits in (weight, bias):
            if integers.shape != (settings.channels,) or integers.dtype != np.int32:
                raise ValueError("a normalisation has one int32 weight and bias per channel")
            if not -60 <= fraction_bits <= 60:
                raise ValueError("fractional bits of a normalisation are out of range")
            if np.ldexp(np.abs(np.float64(integers)).max(), -fraction_bits) > _LARGEST_WEIGHT:
                raise ValueError("a weight or bias of a normalisation is far too large")
        self.settings = settings
        self._weight, self._bias = weight, bias
        self._map = (
            np.ldexp(np.float64(weight[0]), -weight[1]),
            np.ldexp(np.float64(bias[0]), -bias[1]),
        )
        self.output_grid = _OUTPUT_GRID

    def feed(self, layer: ExactLayer) -> None:
        """Place results on the input grid of the only layer that takes them.

        No number changes: the layer would do it by itself, in a pass over memory of its own.
        """
        if layer.input_grid.unit == 1 and not layer.input_grid.holds(_OUTPUT_GRID):
            self.output_grid = layer.input_grid

    @classmethod
    def of(cls, module: nn.GroupNorm) -> ExactGroupNorm:
        """The counterpart of a module with trained weights."""
        channels = module.num_channels
        weight = torch.ones(channels) if module.weight is None else module.weight
        bias = torch.zeros(channels) if module.bias is None else module.bias
        return cls(NormSettings.of(module), _integers(weight), _integers(bias))

    def forward(
        self, input: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> GridTensor:
        """Normalise, multiply by 1 + scale and add shift, and apply SiLU if so set.

        Args:
            input: on a grid, (B, channels, ...).
            scale: on a grid, (B or 1, channels), or None.
            shift: the same, or None.

        Raises:
            UsageError: an argument without a grid, or in units that are no real numbers.
            ValueError: another shape.
        """
        operand = _real(operand_of(input, "a normalisation"))
        settings = self.settings
        shape = operand.values.shape
        if len(shape) < 2 or shape[1] != settings.channels:
            raise ValueError(f"a normalisation of {settings.channels} channels got {tuple(shape)}")
        coarse = _summable(operand.grid, math.prod(shape[1:]) // settings.groups)
        values, grid = requantize(operand, coarse)
        condition = None
        if scale is not None and shift is not None:
            condition = (
                _condition(scale, shape[0], settings.channels),
                _condition(shift, shape[0], settings.channels),
            )
        on_cpu = values.device.type == "cpu"
        function = normalize if on_cpu else normalize_reference
        target = self.output_grid
        result = function(values, grid.fraction_bits, settings, self._map, condition, target)
        return on_grid(Operand(result, target))

    def exact_tensors(self) -> dict[str, Tensor]:
        """The integers of the affine map, int32."""
        return {
            "weight": torch.from_numpy(self._weight[0]),
            "bias": torch.from_numpy(self._bias[0]),
        }

    def exact_config(self) -> dict[str, Any]:
        """Settings and grids, as JSON."""
        return {
            "kind": self.kind,
            **asdict(self.settings),
            "weight_bits": self._weight[1],
            "bias_bits": self._bias[1],
        }

    @classmethod
    def from_exact(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> ExactGroupNorm:
        """What :meth:`exact_tensors` and :meth:`exact_config` describe.

        Raises:
            DataError: they describe none.
        """
        try:
            settings = NormSettings(
                int(config["groups"]),
                int(config["channels"]),
                float(config["epsilon"]),
                bool(config["silu"]),
            )
            weight, bias = (tensors[name].cpu().numpy() for name in ("weight", "bias"))
            return cls(
                settings, (weight, int(config["weight_bits"])), (bias, int(config["bias_bits"]))
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"a normalisation of the model is not as it should be: {error}"
            ) from error

    def extra_repr(self) -> str:
        """One line for ``print(module)``."""
        settings = self.settings
        return f"{settings.groups}, {settings.channels}" + (", silu" if settings.silu else "")


_Map = tuple[NDArray[np.float64], NDArray[np.float64]]
_Condition = tuple[Tensor, Tensor]


def normalize(
    values: Tensor,
    fraction_bits: int,
    settings: NormSettings,
    affine: _Map,
    condition: _Condition | None,
    target: Grid,
) -> Tensor:
    """Group normalisation on the CPU.

    Args:
        values: float32 multiples of 2 ** -fraction_bits, (B, channels, ...); squares of a group's
            integers have a sum below 2 ** 62.
        fraction_bits: of the values.
        settings: what to do.
        affine: weight and bias of each channel.
        condition: scale and shift, float32, (B or 1, channels).
        target: the grid on which results are placed, after that of the settings.

    Returns:
        float32 on the grid, in the shape and memory format of ``values``.
    """
    batch, channels = values.shape[:2]
    columns = not values.is_contiguous() and values.movedim(1, -1).is_contiguous()
    source = values if columns else values.contiguous()
    result = torch.empty_like(source)
    if not source.numel():
        return result
    positions = source.numel() // (batch * channels)
    function = kernels.normalize_columns if columns else kernels.normalize_rows
    scale, shift = condition or (_NOTHING, _NOTHING)
    rows = max(scale.shape[0], shift.shape[0])
    scale, shift = _rows(scale, rows, channels), _rows(shift, rows, channels)
    function(
        address(source),
        address(result),
        (batch, positions, channels) if columns else (batch, channels, positions),
        settings.groups,
        math.ldexp(1.0, -fraction_bits),
        settings.epsilon,
        *affine,
        address(scale),
        address(shift),
        rows,
        settings.silu,
        _rounding(target),
    )
    return result


@cache
def _rounding(target: Grid) -> tuple[float, float, float, float, float]:
    """What the kernels take to place results on a grid, after that of the settings."""
    return (
        math.ldexp(1.0, _FRACTION_BITS),
        float(_LIMIT),
        math.ldexp(1.0, target.fraction_bits - _FRACTION_BITS),
        float(target.limit),
        math.ldexp(1.0, -target.fraction_bits),
    )


def _rows(condition: Tensor, rows: int, channels: int) -> Tensor:
    """The condition of as many examples, without gaps in memory."""
    if condition.shape != (rows, channels):
        condition = condition.expand(rows, channels)
    return condition.contiguous()


_NOTHING = torch.empty(0, 1)


def normalize_reference(
    values: Tensor,
    fraction_bits: int,
    settings: NormSettings,
    affine: _Map,
    condition: _Condition | None,
    target: Grid,
) -> Tensor:
    """As :func:`normalize`, in PyTorch."""
    batch, channels = values.shape[:2]
    step = math.ldexp(1.0, -fraction_bits)
    integers = values.double().div(step).long().reshape(batch, settings.groups, -1)
    count = max(integers.shape[2], 1)
    mean = integers.sum(2).double() / count
    variance = ((integers * integers).sum(2).double() / count - mean * mean).clamp(min=0)
    inverse = 1.0 / (variance * (step * step) + settings.epsilon).sqrt()
    spread = channels // settings.groups
    weight, bias = (torch.from_numpy(part).to(values.device) for part in affine)
    gain = inverse.repeat_interleave(spread, 1) * weight
    offset = bias - (mean * step).repeat_interleave(spread, 1) * gain
    if condition is not None:
        one = 1.0 + condition[0].double()
        gain = gain * one
        offset = offset * one + condition[1].double()
    places = (batch, channels, *[1] * (values.dim() - 2))
    gain, offset = _limited(gain, kernels.GAIN_LIMIT), _limited(offset, kernels.OFFSET_LIMIT)
    results = values * gain.view(places) + offset.view(places)
    if settings.silu:
        results = _silu(results)
    results = quantize_reference(results, _FRACTION_BITS, _LIMIT)
    return quantize_reference(results, target.fraction_bits, target.limit)


def _limited(numbers: Tensor, limit: float) -> Tensor:
    return numbers.clamp(-limit, limit).float()


def _silu(values: Tensor) -> Tensor:
    limit = float(kernels.EXPONENT_LIMIT)
    exponents = values.mul(float(kernels.MINUS_LOG2_E)).clamp_(-limit, limit)
    whole = exponents.round()
    rest = exponents.sub_(whole)
    first, *others = map(float, kernels.POWER_SERIES)
    series = torch.full_like(rest, first)
    for coefficient in others:
        series = series.mul_(rest).add_(coefficient)
    powers = ((whole.int() + 127) << 23).view(torch.float32)
    return values / series.mul_(powers).add_(1)


def _condition(tensor: Tensor, batch: int, channels: int) -> Tensor:
    values = _real(operand_of(tensor, "a normalisation's conditioning")).values
    if values.shape not in {(batch, channels), (1, channels)}:
        raise ValueError(f"conditioning has the shape {tuple(values.shape)}")
    return values


def _real(operand: Operand) -> Operand:
    if operand.grid.unit != 1:
        raise UsageError(
            "a normalisation meets an input whose scale is no power of two",
            "put a convolution or linear layer between the input and the normalisation",
        )
    return operand


@cache
def _summable(grid: Grid, count: int) -> int:
    """Fractional bits that the sum of ``count`` squares has room for."""
    most = math.isqrt((_SUM_LIMIT - 1) // max(count, 1))
    return grid.within(min(most, _INTEGER_LIMIT)).fraction_bits


def _integers(tensor: Tensor) -> tuple[NDArray[np.int32], int]:
    """Numbers as integers of up to 24 bits, and their fractional bits."""
    values = tensor.detach().to("cpu", torch.float64).numpy()
    peak = float(np.abs(values).max(initial=0.0))
    bits = min(max(_WEIGHT_BITS - math.frexp(peak or 1.0)[1], -60), 60)
    return cast("NDArray[np.int32]", np.rint(np.ldexp(values, bits)).astype(np.int32)), bits

"""Elementwise operations on float32 tensors: compiled on the CPU, plain PyTorch elsewhere.

Both ways give the same numbers, bit for bit but for the sign of zero. The functions named
``*_reference`` are the plain way; tests compare.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from nc_core.exact import kernels
from nc_core.exact.memory import address
from nc_core.exact.tables import ARGUMENT_BITS, TOP, Activation, ActivationTable, activation

__all__ = [
    "add",
    "add_reference",
    "look_up",
    "look_up_reference",
    "quantize",
    "quantize_reference",
]


def quantize(values: Tensor, fraction_bits: int, limit: int) -> Tensor:
    """Round to multiples of 2 ** -fraction_bits, at most ``limit`` of them in magnitude.

    Args:
        values: float32, any shape; not a NaN.
        fraction_bits: of the result, -60 .. 60.
        limit: 1 .. 2 ** 24.

    Returns:
        float32, the same shape and memory format. Halves go to the even neighbour.
    """
    if values.device.type != "cpu":
        return quantize_reference(values, fraction_bits, limit)
    source = _dense(values)
    result = torch.empty_like(source)
    kernels.quantize(
        address(source),
        address(result),
        source.numel(),
        math.ldexp(1.0, fraction_bits),
        math.ldexp(1.0, -fraction_bits),
        float(limit),
    )
    return result


def quantize_reference(values: Tensor, fraction_bits: int, limit: int) -> Tensor:
    """As :func:`quantize`, in PyTorch."""
    integers = values.mul(math.ldexp(1.0, fraction_bits)).round_().clamp_(-limit, limit)
    return integers.mul_(math.ldexp(1.0, -fraction_bits))


def add(left: Tensor, right: Tensor, fraction_bits: int) -> Tensor:
    """Round both to multiples of 2 ** -fraction_bits and add them.

    Args:
        left: float32.
        right: float32, of a shape that broadcasts; the sum has at most 24 bits.
        fraction_bits: of the result, -60 .. 60.

    Returns:
        float32.
    """
    if left.device.type != "cpu" or not _are_alike(left, right):
        return add_reference(left, right, fraction_bits)
    result = torch.empty_like(left)
    kernels.add(
        address(left),
        address(right),
        address(result),
        left.numel(),
        math.ldexp(1.0, fraction_bits),
        math.ldexp(1.0, -fraction_bits),
    )
    return result


def add_reference(left: Tensor, right: Tensor, fraction_bits: int) -> Tensor:
    """As :func:`add`, in PyTorch."""
    factor = math.ldexp(1.0, fraction_bits)
    units = left.mul(factor).round_() + right.mul(factor).round_()
    return units.mul_(math.ldexp(1.0, -fraction_bits))


def look_up(values: Tensor, table: ActivationTable) -> Tensor:
    """A function given by its table.

    Args:
        values: float32, any shape; not a NaN.
        table: the function.

    Returns:
        float32 multiples of 2 ** -table.fraction_bits, the same shape and memory format.
    """
    if values.device.type != "cpu":
        return look_up_reference(values, table)
    source = _dense(values)
    result = torch.empty_like(source)
    kernels.look_up(
        address(source),
        address(result),
        source.numel(),
        table.floats,
        math.ldexp(1.0, ARGUMENT_BITS),
        float(table.low),
        float(table.high),
        float(TOP),
        _slope(table),
    )
    return result


def look_up_reference(values: Tensor, table: ActivationTable) -> Tensor:
    """As :func:`look_up`, in PyTorch."""
    arguments = values.mul(math.ldexp(1.0, ARGUMENT_BITS)).round_()
    inside = arguments.clamp(table.low, table.high).sub_(table.low).to(torch.int64)
    above = arguments.clamp_(table.high, TOP).sub_(table.high).mul_(_slope(table))
    return _table_on(table.name, values.device)[inside].add_(above)


@cache
def _table_on(name: Activation, device: torch.device) -> Tensor:
    return torch.tensor(activation(name).floats, device=device)


def _slope(table: ActivationTable) -> float:
    return math.ldexp(1.0, -ARGUMENT_BITS) if table.linear else 0.0


def _dense(values: Tensor) -> Tensor:
    """The values without gaps in memory, in rows or with channels last."""
    if values.is_contiguous() or _is_channels_last(values):
        return values
    return values.contiguous()


def _are_alike(left: Tensor, right: Tensor) -> bool:
    """Whether elements with one index lie at one place in memory, without gaps."""
    if left.shape != right.shape:
        return False
    in_rows = left.is_contiguous() and right.is_contiguous()
    return in_rows or (_is_channels_last(left) and _is_channels_last(right))


def _is_channels_last(values: Tensor) -> bool:
    return values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)

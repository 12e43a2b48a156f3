"""What each PyTorch function does to values on grids: the vocabulary of exact arithmetic.

A function that is not here has no exact counterpart, and using it is an error. Rules take and
return :class:`Operand`, plain values with their grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nc_core.errors import UsageError
from nc_core.exact import elementwise, tables
from nc_core.exact.grid import (
    FINEST_BITS,
    FLOAT32_LIMIT,
    ONE,
    Grid,
    common_grid,
    dyadic,
    in_range,
    shifted,
)

__all__ = ["IN_PLACE", "QUERIES", "RULES", "STRUCTURAL", "Operand", "Rule", "add", "requantize"]


class Operand(NamedTuple):
    """Values (float32, any shape) and the grid on which they lie."""

    values: Tensor
    grid: Grid


Rule = Callable[..., Any]


def requantize(operand: Operand, fraction_bits: int) -> Operand:
    """The operand, rounded where it has more fractional bits than asked for."""
    values, grid = operand
    if grid.fraction_bits <= fraction_bits:
        return operand
    coarse = _coarse(grid, fraction_bits)
    return Operand(elementwise.quantize(values, fraction_bits, coarse.limit), coarse)


_coarse = cache(Grid.at)


def add(left: Any, right: Any, *, alpha: int = 1) -> Operand:
    """The sum of two terms, exactly, on the finest grid on which the sum surely is."""
    if alpha != 1:
        raise UsageError("addition with alpha has no exact counterpart", "scale first, then add")
    return _sum(left, right, 1)


def _subtract(left: Any, right: Any, *, alpha: int = 1) -> Operand:
    if alpha != 1:
        raise UsageError("subtraction with alpha has no exact counterpart", "scale first")
    return _sum(left, right, -1)


def _sum(left: Any, right: Any, sign: int) -> Operand:
    grid = _sum_grid(_grid_of(left), _grid_of(right))
    bits = grid.fraction_bits
    if sign > 0 and isinstance(left, Operand) and isinstance(right, Operand):
        if max(left.grid.fraction_bits, right.grid.fraction_bits) > bits:
            return Operand(elementwise.add(left.values, right.values, bits), grid)
        return Operand(left.values + right.values, grid)
    return Operand(_values_at(left, bits) + sign * _values_at(right, bits), grid)


@cache
def _sum_grid(left: Grid, right: Grid) -> Grid:
    """The finest grid on which a sum of numbers on two grids surely is, after rounding to it."""
    bits = common_grid([left, right]).fraction_bits
    while (limit := left.at(bits).limit + right.at(bits).limit) > FLOAT32_LIMIT:
        bits -= 1
    return in_range(Grid(bits, limit, left.unit))


def _grid_of(term: Any) -> Grid:
    if isinstance(term, Operand):
        return term.grid
    if isinstance(term, int | float):
        numerator, fraction_bits = dyadic(term)
        return Grid(fraction_bits, abs(numerator))
    raise UsageError(
        "a tensor without a grid meets one that has a grid",
        "make it a parameter or a buffer of a module, or bring it in through exact.Input",
    )


def _values_at(term: Any, fraction_bits: int) -> Any:
    if isinstance(term, Operand):
        return requantize(term, fraction_bits).values
    units = Fraction(term) * Fraction(2) ** fraction_bits
    return math.ldexp(round(units), -fraction_bits)


def _multiply(left: Any, right: Any) -> Operand:
    if not isinstance(left, Operand):
        left, right = right, left
    if isinstance(right, int | float):
        return _scale(left, *dyadic(right))
    # The product is rounded once, which is the same everywhere; then it gets a grid.
    grid, bits = _product_grid(left.grid, _grid_of(right))
    return requantize(Operand(left.values * right.values, grid), bits)


@cache
def _product_grid(left: Grid, right: Grid) -> tuple[Grid, int]:
    """The grid of a product, and the fractional bits that it has room for."""
    limit = left.limit * right.limit
    bits = left.fraction_bits + right.fraction_bits
    grid = Grid(bits, limit + shifted(limit, -24), left.unit * right.unit)
    coarse = in_range(grid.at(min(grid.within(FLOAT32_LIMIT).fraction_bits, FINEST_BITS)))
    return grid, coarse.fraction_bits


def _scale(operand: Operand, numerator: int, fraction_bits: int) -> Operand:
    room = FLOAT32_LIMIT // max(abs(numerator), 1)
    if abs(numerator) > 1:
        operand = requantize(operand, operand.grid.within(room).fraction_bits)
    values, grid = operand
    scaled = Grid(
        grid.fraction_bits + fraction_bits, max(grid.limit * abs(numerator), 1), grid.unit
    )
    return Operand(values * math.ldexp(numerator, -fraction_bits), in_range(scaled))


def _divide(left: Any, right: Any, *, rounding_mode: str | None = None) -> Operand:
    is_power = isinstance(right, int | float) and right != 0 and abs(dyadic(right)[0]) == 1
    if not (isinstance(left, Operand) and is_power and rounding_mode is None):
        raise UsageError(
            "division has an exact counterpart for powers of two only",
            "fold the divisor into the weights of a layer",
        )
    numerator, fraction_bits = dyadic(right)
    return _scale(left, numerator, -fraction_bits)


def _negate(operand: Operand) -> Operand:
    return operand._replace(values=-operand.values)


def _absolute(operand: Operand) -> Operand:
    return operand._replace(values=operand.values.abs())


def _concatenate(function: Rule) -> Rule:
    def rule(tensors: Sequence[Any], dim: int = 0) -> Operand:
        grid = _joint_grid(*[_grid_of(tensor) for tensor in tensors])
        return Operand(function([tensor.values for tensor in tensors], dim), grid)

    return rule


@cache
def _joint_grid(*grids: Grid) -> Grid:
    return common_grid(grids)


def _clamp(operand: Operand, min: Any = None, max: Any = None) -> Operand:
    if not all(bound is None or isinstance(bound, int | float) for bound in (min, max)):
        raise UsageError("clamp takes numbers in exact arithmetic, not tensors")
    grids = [_grid_of(bound) for bound in (min, max) if bound is not None]
    if operand.grid.unit is not ONE and operand.grid.unit != 1:
        raise _not_real("clamp")
    return Operand(operand.values.clamp(min, max), common_grid([operand.grid, *grids]))


def _hardtanh(
    operand: Operand, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Operand:
    return _clamp(operand, min_val, max_val)


def _relu(operand: Operand, inplace: bool = False) -> Operand:
    return operand._replace(values=operand.values.clamp(min=0))


def _relu6(operand: Operand, inplace: bool = False) -> Operand:
    return _clamp(operand, 0, 6)


def _leaky_relu(operand: Operand, negative_slope: float = 0.01, inplace: bool = False) -> Operand:
    numerator, fraction_bits = dyadic(negative_slope)
    if numerator != 1 or fraction_bits < 1:
        raise UsageError(
            f"leaky_relu with slope {negative_slope} has no exact counterpart",
            "use a slope of 2 ** -n, such as 0.125",
        )
    values = torch.maximum(operand.values, operand.values * negative_slope)
    return Operand(values, in_range(operand.grid.at(operand.grid.fraction_bits + fraction_bits)))


def _activation(name: tables.Activation) -> Rule:
    def rule(operand: Operand) -> Operand:
        if operand.grid.unit is not ONE and operand.grid.unit != 1:
            raise _not_real(name)
        values = elementwise.look_up(operand.values, tables.activation(name))
        return Operand(values, _activation_grid(name, operand.grid))

    return rule


@cache
def _activation_grid(name: tables.Activation, argument: Grid) -> Grid:
    table = tables.activation(name)
    return Grid(table.fraction_bits, table.limit(argument.at(tables.ARGUMENT_BITS).limit))


def _not_real(name: str) -> UsageError:
    return UsageError(
        f"'{name}' meets an input whose scale is no power of two",
        "put a convolution or linear layer between the input and this function",
    )


def _elu(operand: Operand, alpha: float = 1.0, inplace: bool = False) -> Any:
    if alpha != 1:
        raise UsageError(f"elu with alpha {alpha} has no exact counterpart", "use alpha = 1")
    return _activation("elu")(operand)


def _silu(operand: Operand, inplace: bool = False) -> Any:
    return _activation("silu")(operand)


def _softplus(operand: Operand, beta: float = 1, threshold: float = 20) -> Any:
    if beta != 1:
        raise UsageError(f"softplus with beta {beta} has no exact counterpart", "use beta = 1")
    return _activation("softplus")(operand)


def _dropout(
    operand: Operand, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Operand:
    if training and p > 0:
        raise UsageError("dropout is on", "call eval() before coding")
    return operand


def _interpolate(operand: Operand, *arguments: Any, mode: str = "nearest", **options: Any) -> Any:
    if mode not in {"nearest", "nearest-exact"}:
        raise UsageError(f"interpolation by '{mode}' has no exact counterpart", "use 'nearest'")
    options = {key: value for key, value in options.items() if value is not None}
    values = functional.interpolate(operand.values, *arguments, **(options | {"mode": mode}))
    return operand._replace(values=values)


def _average_pool(
    operand: Operand,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Operand:
    kernel = _sides(kernel_size)
    area = kernel[0] * kernel[1]
    is_plain = _sides(padding) == (0, 0) and not ceil_mode and divisor_override is None
    if area & (area - 1) or _sides(stride or kernel) != kernel or not is_plain:
        raise UsageError(
            "avg_pool2d has an exact counterpart where its windows lie side by side, without "
            "padding, and a power of two of numbers is in each",
            "use a kernel of 2 or 4, and as large a stride",
        )
    grid, bits = _pooled_grid(operand.grid, area)
    values = requantize(operand, bits).values
    return Operand(functional.avg_pool2d(values, kernel), grid)


@cache
def _pooled_grid(grid: Grid, area: int) -> tuple[Grid, int]:
    """The grid of means of ``area`` numbers, and the bits that their sum has room for."""
    coarse = grid.within(FLOAT32_LIMIT // area)
    bits = coarse.fraction_bits
    return in_range(Grid(bits + area.bit_length() - 1, coarse.limit * area, grid.unit)), bits


def _sides(size: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return size[0], size[-1]


def _pad(
    operand: Operand, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Operand:
    if value:
        raise UsageError(f"padding with {value} has no exact counterpart", "pad with 0")
    return operand._replace(values=functional.pad(operand.values, pad, mode, value))


def _convert(operand: Operand, *arguments: Any, **options: Any) -> Operand:
    values = operand.values.to(*arguments, **options)
    if values.dtype != torch.float32:
        raise UsageError(f"conversion to {values.dtype} leaves exact arithmetic", "keep float32")
    return operand._replace(values=values)


def _copy(operand: Operand, *_: Any) -> Operand:
    return operand._replace(values=operand.values.clone())


def _named(owners: Iterable[Any], names: str) -> list[Any]:
    """The functions of these names that the owners have."""
    found = [getattr(owner, name, None) for name in names.split() for owner in owners]
    return [function for function in found if function is not None]


_EVERYWHERE = (torch, Tensor, functional)

# Functions that only move elements; their results share the operand's grid.
STRUCTURAL: frozenset[Rule] = frozenset(
    _named(
        _EVERYWHERE,
        "__getitem__ adaptive_max_pool2d broadcast_to channel_shuffle chunk contiguous detach "
        "expand expand_as flatten flip index_select max_pool1d max_pool2d moveaxis movedim "
        "narrow permute pixel_shuffle pixel_unshuffle ravel repeat repeat_interleave reshape "
        "reshape_as roll select split split_with_sizes squeeze swapaxes swapdims t tensor_split "
        "tile transpose unbind unflatten unsqueeze view view_as",
    )
) | {Tensor.clone, torch.clone, Tensor.cpu, Tensor.cuda}

# Functions that ask about a tensor and return no tensor.
QUERIES: frozenset[Rule] = frozenset(
    _named(
        _EVERYWHERE,
        "__format__ __len__ __repr__ data_ptr dim element_size get_device is_complex "
        "is_contiguous is_floating_point is_inference ndimension nelement numel size "
        "storage_offset stride",
    )
    + [
        attribute.__get__
        for attribute in _named(
            (Tensor,),
            "device dtype grad_fn is_cpu is_cuda is_leaf is_meta is_nested is_quantized "
            "is_sparse itemsize layout nbytes ndim requires_grad shape",
        )
    ]
)

_NAMED_RULES: dict[str, Rule] = {
    "add __add__ __radd__": add,
    "sub subtract __sub__": _subtract,
    "__rsub__ rsub": lambda left, right: _subtract(right, left),
    "mul multiply __mul__ __rmul__": _multiply,
    "div divide true_divide __truediv__": _divide,
    "neg negative __neg__": _negate,
    "abs absolute __abs__": _absolute,
    "clamp clip": _clamp,
    "hardtanh": _hardtanh,
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "silu": _silu,
    "softplus": _softplus,
    "sigmoid": _activation("sigmoid"),
    "tanh": _activation("tanh"),
    "dropout dropout1d dropout2d dropout3d feature_dropout": _dropout,
    "interpolate upsample upsample_nearest": _interpolate,
    "avg_pool2d": _average_pool,
    "pad": _pad,
    "cat concat concatenate": _concatenate(torch.cat),
    "stack": _concatenate(torch.stack),
    "to": _convert,
    "float": lambda operand: operand,
    "__deepcopy__": _copy,
}

_NAMED_IN_PLACE: dict[str, Rule] = {
    "add_ __iadd__": add,
    "sub_ subtract_ __isub__": _subtract,
    "mul_ multiply_ __imul__": _multiply,
    "div_ divide_ __itruediv__": _divide,
    "neg_": _negate,
    "clamp_ clip_": _clamp,
    "relu_": _relu,
    "elu_": _elu,
    "leaky_relu_": _leaky_relu,
    "sigmoid_": _activation("sigmoid"),
    "tanh_": _activation("tanh"),
}


def _by_function(named: dict[str, Rule]) -> dict[Rule, Rule]:
    return {
        function: rule for names, rule in named.items() for function in _named(_EVERYWHERE, names)
    }


# Functions that return a new tensor, and those that write it into their first argument.
RULES = _by_function(_NAMED_RULES)
IN_PLACE = _by_function(_NAMED_IN_PLACE)

"""Tensors that know their grid, and refuse what would leave it.

Model authors never name them: a lowered module passes them between its layers, where ordinary
``forward`` code adds, concatenates and reshapes them. Each PyTorch function on them follows a
rule of :mod:`nc_core.exact.rules`, in every method and on every branch, or raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import resolve_name

from nc_core.errors import UsageError
from nc_core.exact.grid import Grid
from nc_core.exact.rules import IN_PLACE, QUERIES, RULES, STRUCTURAL, Operand, add

__all__ = ["GridTensor", "on_grid", "operand_of", "plain"]


class GridTensor(Tensor):
    """float32 numbers on a declared grid.

    Attributes:
        operand: its values as an ordinary tensor on the same memory, and its grid.
        shares: another tensor may lie on the same memory, so that it is not written in place.
    """

    operand: Operand
    shares: bool

    @property
    def grid(self) -> Grid:
        """Where the elements lie."""
        return self.operand.grid

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        """As of any tensor; this and the next without the detour that functions take."""
        return self.operand.values.shape

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """float32."""
        return self.operand.values.dtype

    def __add__(self, other: Any) -> GridTensor:
        """The rule of sums, without that detour."""
        return on_grid(add(self.operand, other.operand if isinstance(other, GridTensor) else other))

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Apply the rule of a function.

        Raises:
            UsageError: it has none.
        """
        options = kwargs or {}
        if (rule := RULES.get(func)) is not None:
            result = rule(*_opened(args), **_opened_options(options))
            return _written(args[0], result) if options.get("inplace") else on_grid(result)
        if func in STRUCTURAL:
            return _restructured(func, args, options)
        if (rule := IN_PLACE.get(func)) is not None:
            return _written(args[0], rule(*_opened(args), **_opened_options(options)))
        if func in QUERIES:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **options)
        raise UsageError(
            f"'{_name(func)}' has no exact counterpart",
            "the documentation of nc_core.exact lists the functions that have one; others belong "
            "outside the lowered module",
        )

    def integers(self) -> Tensor:
        """The elements in units of 2 ** -grid.fraction_bits; int64, the same shape."""
        values, grid = self.operand
        return values.double().mul_(2.0**grid.fraction_bits).round_().to(torch.int64)


def on_grid(operand: Operand) -> GridTensor:
    """Declare that float32 values lie on a grid; nothing is computed or checked."""
    result: GridTensor = operand.values.as_subclass(GridTensor)
    result.operand = operand
    result.shares = False
    return result


def plain(tensor: Tensor) -> Tensor:
    """The values of a tensor as an ordinary tensor on the same memory."""
    return tensor.operand.values if isinstance(tensor, GridTensor) else tensor


def operand_of(tensor: Any, user: str) -> Operand:
    """Values and grid of what a layer receives.

    Raises:
        UsageError: it has no grid; the message names the user.
    """
    if not isinstance(tensor, GridTensor):
        raise UsageError(
            f"{user} receives a tensor without a grid",
            "bring data in through exact.Input, or as arguments of the lowered module's forward",
        )
    return tensor.operand


def _opened(arguments: Any) -> Any:
    """Arguments with operands in the place of tensors on grids, one level of lists deep too."""
    return [
        argument.operand
        if isinstance(argument, GridTensor)
        else _opened(argument)
        if type(argument) in (list, tuple)
        else argument
        for argument in arguments
    ]


def _opened_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(options, _opened(options.values()), strict=True))


def _restructured(
    func: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]
) -> Any:
    """Apply a function that moves elements; what it returns lies on the first argument's grid."""
    source = args[0]
    if not isinstance(source, GridTensor):
        raise UsageError(f"'{_name(func)}' of tensors without and with a grid is not exact")
    others = [
        plain(argument) if isinstance(argument, Tensor) else argument for argument in args[1:]
    ]
    result = func(source.operand.values, *others, **options)
    source.shares = True
    if isinstance(result, Tensor):
        return _moved(result, source.grid, func)
    return type(result)(_moved(part, source.grid, func) for part in result)


def _moved(values: Tensor, grid: Grid, func: Callable[..., Any]) -> GridTensor:
    if values.dtype != torch.float32:
        raise UsageError(f"'{_name(func)}' to {values.dtype} leaves exact arithmetic")
    result = on_grid(Operand(values, grid))
    result.shares = True
    return result


def _written(target: Any, result: Operand) -> GridTensor:
    """Write a result into the tensor that a function in place was given."""
    if not isinstance(target, GridTensor):
        raise UsageError("a tensor without a grid cannot take values that have one")
    if target.shares:
        raise UsageError(
            "an operation in place meets a tensor that may share its memory",
            "write it out of place: y = x + 1, not x += 1",
        )
    values = target.operand.values
    target.operand = Operand(values.copy_(result.values), result.grid)
    return target


def _name(func: Callable[..., Any]) -> str:
    return str(resolve_name(func) or getattr(func, "__name__", repr(func)))

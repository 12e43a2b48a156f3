"""The linear operations that have an exact counterpart, and how they meet their input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nc_core.errors import UsageError

__all__ = ["EffectiveLayer", "Geometry", "Source", "as_source", "is_layer"]

Operation = Literal["linear", "conv1d", "conv2d", "conv_transpose2d"]

_CALLS: dict[str, Callable[..., Tensor]] = {
    "linear": functional.linear,
    "conv1d": functional.conv1d,
    "conv2d": functional.conv2d,
    "conv_transpose2d": functional.conv_transpose2d,
}
_BY_RANK: dict[int, Operation] = {2: "linear", 3: "conv1d", 4: "conv2d"}


@dataclass(frozen=True)
class Geometry:
    """An operation and its arguments; lists have one number for each spatial axis.

    Weights are given as (outputs, inputs of one group, *taps) for every operation.
    """

    operation: Operation
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def apply(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The operation with weights in PyTorch's own order; see :meth:`native`."""
        call = _CALLS[self.operation]
        if self.operation == "linear":
            return call(inputs, weight, bias)
        if self.operation == "conv_transpose2d":
            return call(
                inputs,
                weight,
                bias,
                self.stride,
                self.padding,
                self.output_padding,
                self.groups,
                self.dilation,
            )
        return call(inputs, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def native(self, weight: Tensor) -> Tensor:
        """Weights (outputs, inputs, *taps) in the order that PyTorch's function takes."""
        if self.operation == "conv_transpose2d":
            return weight.transpose(0, 1).contiguous()
        return weight

    @property
    def channel_axis(self) -> int:
        """Axis of an input that the weights sum over."""
        return -1 if self.operation == "linear" else 1

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Geometry:
        """From JSON; the caller has checked nothing.

        Raises:
            KeyError, TypeError, ValueError: not what :meth:`to_config` gives.
        """
        operation = config["operation"]
        if operation not in _CALLS:
            raise ValueError(f"unknown operation {operation!r}")
        lists = ("stride", "padding", "output_padding", "dilation")
        values = {key: tuple(int(value) for value in config[key]) for key in lists}
        return cls(operation, groups=int(config["groups"]), **values)


@runtime_checkable
class EffectiveLayer(Protocol):
    """A convolution or linear layer whose weights are computed from other parameters.

    The rank of the weight says which: 2 linear, 3 conv1d, 4 conv2d. Attributes ``stride``,
    ``padding`` (default: "same"), ``dilation`` and ``groups`` are read where they exist.
    """

    def effective_weight(self) -> Tensor:
        """Real-valued weights, (outputs, inputs of one group, *taps)."""

    def effective_bias(self) -> Tensor | None:
        """Real-valued bias, (outputs,), or None."""


@dataclass(frozen=True)
class Source:
    """A real-valued layer: its geometry and its numbers.

    Attributes:
        geometry: the operation.
        weight: float64, (outputs, inputs of one group, *taps).
        bias: float64, (outputs,); zeros where the layer has none.
    """

    geometry: Geometry
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def is_layer(module: nn.Module) -> bool:
    """Whether :func:`as_source` knows a module."""
    known = nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d
    return isinstance(module, known | EffectiveLayer)


def as_source(module: nn.Module, path: str) -> Source | None:
    """A layer's geometry and numbers, or None for a module that is no such layer.

    Raises:
        UsageError: it is one, with an option that has no exact counterpart.
    """
    if isinstance(module, EffectiveLayer):
        weight, bias = module.effective_weight(), module.effective_bias()
        if weight.dim() not in _BY_RANK:
            raise UsageError(f"layer '{path}': weights of rank {weight.dim()} are not supported")
        return _source(_geometry(module, _BY_RANK[weight.dim()], weight, path), weight, bias)
    if isinstance(module, nn.Linear):
        return _source(Geometry("linear"), module.weight, module.bias)
    if isinstance(module, nn.ConvTranspose2d):
        if module.groups != 1:
            raise UsageError(f"layer '{path}': transposed convolutions have one group only")
        weight = module.weight.transpose(0, 1)
        return _source(_geometry(module, "conv_transpose2d", weight, path), weight, module.bias)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        operation: Operation = "conv1d" if isinstance(module, nn.Conv1d) else "conv2d"
        return _source(
            _geometry(module, operation, module.weight, path), module.weight, module.bias
        )
    return None


def _geometry(module: Any, operation: Operation, weight: Tensor, path: str) -> Geometry:
    taps = tuple(weight.shape[2:])
    if operation == "linear":
        return Geometry("linear")
    if getattr(module, "padding_mode", "zeros") != "zeros":
        raise UsageError(f"layer '{path}': padding by '{module.padding_mode}' is not supported")
    dilation = _per_axis(getattr(module, "dilation", 1), taps)
    padding = getattr(module, "padding", "same")
    if padding == "same":
        spans = [size * (tap - 1) for size, tap in zip(dilation, taps, strict=True)]
        if any(span % 2 for span in spans):
            raise UsageError(f"layer '{path}': 'same' padding needs an odd kernel")
        padding = tuple(span // 2 for span in spans)
    elif padding == "valid":
        padding = 0
    transposed = operation == "conv_transpose2d"
    return Geometry(
        operation,
        stride=_per_axis(getattr(module, "stride", 1), taps),
        padding=_per_axis(padding, taps),
        output_padding=_per_axis(module.output_padding, taps) if transposed else (),
        dilation=dilation,
        groups=int(getattr(module, "groups", 1)),
    )


def _per_axis(value: Any, taps: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * len(taps)
    return tuple(int(part) for part in value)


def _source(geometry: Geometry, weight: Tensor, bias: Tensor | None) -> Source:
    array = weight.detach().to("cpu", torch.float64).numpy().copy()
    if bias is None:
        return Source(geometry, array, np.zeros(len(array)))
    offsets = cast("NDArray[np.float64]", bias.detach().to("cpu", torch.float64).numpy().copy())
    return Source(geometry, array, offsets)

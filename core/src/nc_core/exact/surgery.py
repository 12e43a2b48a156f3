"""Finding and replacing what lowering changes in a tree of modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from nc_core.errors import UsageError
from nc_core.exact.elementwise import quantize
from nc_core.exact.geometry import is_layer
from nc_core.exact.grid import Grid
from nc_core.exact.normalization import ExactGroupNorm
from nc_core.exact.rules import Operand
from nc_core.exact.tensor import GridTensor, on_grid

__all__ = [
    "ExactModule",
    "InputGrids",
    "Lowerable",
    "constants",
    "counterpart",
    "modules_to_lower",
    "replace_modules",
    "set_constant",
    "set_input_grids",
]

# Modules of PyTorch whose own forward code is exact on grids, or refused there by name.
_ORDINARY = (
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.ChannelShuffle,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.ELU,
    nn.Flatten,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.MaxPool2d,
    nn.Module,
    nn.ModuleDict,
    nn.ModuleList,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ReLU,
    nn.ReLU6,
    nn.Sequential,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
    nn.Unflatten,
    nn.Upsample,
    nn.UpsamplingNearest2d,
    nn.ZeroPad2d,
)


@runtime_checkable
class ExactModule(Protocol):
    """What a lowered model keeps in its file: a module with integers and a configuration."""

    def exact_tensors(self) -> dict[str, Tensor]:
        """Integers that inference needs."""

    def exact_config(self) -> dict[str, Any]:
        """Everything else that it needs, as JSON."""


@runtime_checkable
class Lowerable(Protocol):
    """A module that knows its exact counterpart: an input, a head, a layer of a model's author.

    The counterpart is an :class:`ExactModule` without tensors, made from the module's settings
    alone. One that ends the exact path returns plain tensors.
    """

    def lowered(self) -> nn.Module:
        """The counterpart."""


class InputGrids:
    """Puts float tensors that a root's ``forward`` is called with on grids.

    Attributes:
        grids: by position ("0", "1", ...) and by name.
    """

    def __init__(self, grids: dict[str, Grid]) -> None:
        self.grids = grids

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A forward pre-hook with keywords."""
        placed = [self._placed(str(index), value) for index, value in enumerate(args)]
        return tuple(placed), {name: self._placed(name, kwargs[name]) for name in kwargs}

    def _placed(self, name: str, value: Any) -> Any:
        grid = self.grids.get(name)
        is_plain = isinstance(value, Tensor) and not isinstance(value, GridTensor)
        if grid is None or not is_plain or not value.is_floating_point():
            return value
        numbers = value.detach().to(torch.float32)
        if not bool(torch.isfinite(numbers).all()):
            raise ValueError("an input is not a finite number")
        return on_grid(Operand(quantize(numbers, grid.fraction_bits, grid.limit), grid))


def counterpart(module: nn.Module) -> nn.Module:
    """What stands for a module that is no layer of weights and has an exact counterpart."""
    if isinstance(module, nn.GroupNorm):
        return ExactGroupNorm.of(module)
    assert isinstance(module, Lowerable)
    return module.lowered()


def _has_counterpart(module: nn.Module) -> bool:
    return is_layer(module) or isinstance(module, Lowerable | nn.GroupNorm)


def modules_to_lower(root: nn.Module) -> dict[str, nn.Module]:
    """The modules that have exact counterparts of their own, by path; shared ones once.

    Raises:
        UsageError: a module of PyTorch that has none.
    """
    found: dict[str, nn.Module] = {}
    for path, module in _visited(root, "", set()):
        if _has_counterpart(module):
            found[path] = module
        elif type(module).__module__.startswith("torch.nn.") and type(module) not in _ORDINARY:
            raise UsageError(
                f"module '{path}' ({type(module).__name__}) has no exact counterpart",
                "the documentation of nc_core.exact lists those that have one",
            )
    return found


def _visited(module: nn.Module, path: str, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Every module once with its path, but not what lies inside those to be replaced."""
    if module in seen:
        return
    seen.add(module)
    yield path, module
    if _has_counterpart(module):
        return
    for name, child in module.named_children():
        yield from _visited(child, f"{path}.{name}" if path else name, seen)


def replace_modules(root: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put replacements in the place of modules, wherever in the tree they are; returns the root."""
    if root in replacements:
        return replacements[root]
    for module in list(root.modules()):
        for name, child in module._modules.items():
            if child is not None and child in replacements:
                module._modules[name] = replacements[child]
    return root


def constants(root: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """Parameters and buffers that modules use in code of their own.

    Yields:
        path, owner, name, tensor.
    """
    for path, module in _visited(root, "", set()):
        if _has_counterpart(module) or isinstance(module, ExactModule):
            continue
        own = [*module._parameters.items(), *module._buffers.items()]
        for name, tensor in own:
            if tensor is not None and name not in module._non_persistent_buffers_set:
                yield f"{path}.{name}" if path else name, module, name, tensor


def set_constant(owner: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor in the place of a parameter or buffer."""
    owner._parameters.pop(name, None)
    owner._buffers.pop(name, None)
    owner.register_buffer(name, tensor)


def set_input_grids(root: nn.Module, grids: dict[str, Grid]) -> None:
    """Let a root's ``forward`` put its float arguments on grids."""
    root.exact_inputs = InputGrids(grids)  # type: ignore[assignment]
    root.register_forward_pre_hook(root.exact_inputs, with_kwargs=True)  # type: ignore[arg-type]

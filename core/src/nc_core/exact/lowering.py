"""From an ordinary trained module to one whose results are the same everywhere."""

from __future__ import annotations

import copy
import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nc_core.errors import UsageError
from nc_core.exact.elementwise import quantize
from nc_core.exact.geometry import Source, as_source, is_layer
from nc_core.exact.grid import Grid
from nc_core.exact.planning import Observed, Precision, build_layer
from nc_core.exact.rules import Operand
from nc_core.exact.surgery import (
    constants,
    counterpart,
    modules_to_lower,
    replace_modules,
    set_constant,
    set_input_grids,
)
from nc_core.exact.tensor import GridTensor, on_grid, operand_of, plain

__all__ = ["Calibration", "lower"]

_log = logging.getLogger(__name__)

Calibration = Callable[[nn.Module], object] | Tensor | tuple[Any, ...]

# Parameters and buffers that forward code uses itself: 16 fractional bits where 24 in all allow.
_CONSTANT_BITS = 16
_NUMBER_BITS = 23


def lower(
    module: nn.Module,
    calibration: Calibration,
    *,
    precision: Precision | None = None,
    layers: Mapping[str, Precision] | None = None,
) -> nn.Module:
    """A copy of a trained module that computes with integers: the same bits on every machine.

    Convolutions and linear layers (PyTorch's own, and any that has ``effective_weight`` and
    ``effective_bias``) become :class:`ExactLayer`; modules with a method ``lowered`` become
    what it returns; activations come from integer tables; parameters and buffers that other
    modules use themselves are rounded to a grid. All other code runs as it is, on tensors that
    know their grid and refuse every function without an exact counterpart.

    Args:
        module: trained; it is not changed.
        calibration: a function that runs a module of this class on some 8 to 64 real examples,
            calling every method that coding will call; or the arguments of one call of
            ``forward``. It is called twice: on the float module, and on the lowered one, whose
            heads return real numbers until it is done.
        precision: what each layer may spend.
        layers: the same for single layers, by their path in ``module``.

    Returns:
        A module of the same class in evaluation mode, with the same methods, on the CPU.

    Raises:
        UsageError: a module or function has no exact counterpart, calibration did not reach a
            layer, or ``layers`` names one that is not there. The message names it.
    """
    run = _runner(calibration)
    root = copy.deepcopy(module).eval().to("cpu", torch.float32).requires_grad_(False)
    found = modules_to_lower(root)
    budgets = _budgets(found, precision or Precision(), layers or {})
    observed, input_grids = _observe(root, found, run)
    trials: dict[str, _Layer | _Counterpart] = {}
    for path, layer in found.items():
        source = as_source(layer, path)
        if source is not None:
            trials[path] = _Layer(source, observed[path], budgets[path])
        else:
            trials[path] = _Counterpart(layer)
    root = replace_modules(root, {found[path]: trial for path, trial in trials.items()})
    for _, owner, name, tensor in list(constants(root)):
        if tensor.is_floating_point():
            set_constant(owner, name, _constant(tensor))
    set_input_grids(root, input_grids)
    with torch.no_grad(), _naming_modules(root):
        run(root)
    exact = replace_modules(root, {trial: trial.result(path) for path, trial in trials.items()})
    if exact is not root:
        set_input_grids(exact, input_grids)
    return exact


class _Layer(nn.Module):
    """Stands for a layer until it has seen on which grid its inputs lie."""

    def __init__(self, source: Source, observed: Observed, precision: Precision) -> None:
        super().__init__()
        self._needs = (source, observed, precision)
        self._built: tuple[nn.Module, ...] = ()

    def forward(self, inputs: Tensor) -> Any:
        source, observed, precision = self._needs
        if not self._built:
            grid = operand_of(inputs, f"a {source.geometry.operation} layer").grid
            self._built = (build_layer(source, grid, observed, precision),)
        return self._built[0](inputs)

    def result(self, path: str) -> nn.Module:
        """The exact layer.

        Raises:
            UsageError: it was never called.
        """
        if not self._built:
            raise UsageError(
                f"calibration did not reach layer '{path}'",
                "call every method of the module that coding will call",
            )
        layer = self._built[0]
        _log.debug("%s: %s, relative error %.2g", path, layer, layer.relative_error)
        return layer


class _Counterpart(nn.Module):
    """Stands for an input, a head, a norm: lowered, but heads have real results in calibration."""

    def __init__(self, real: Any) -> None:
        super().__init__()
        # In a tuple, and so no child: its parameters are none of the lowered module's.
        self._pair = (counterpart(real), real)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        exact, real = self._pair
        results = exact(*args, **kwargs)
        parts = results if isinstance(results, tuple) else (results,)
        if any(isinstance(part, GridTensor) for part in parts):
            return results
        return real(*map(_real, args), **{name: _real(value) for name, value in kwargs.items()})

    def result(self, path: str) -> nn.Module:
        """The exact counterpart."""
        exact: nn.Module = self._pair[0]
        return exact


def _real(value: Any) -> Any:
    return plain(value) if isinstance(value, GridTensor) else value


def _runner(calibration: Calibration) -> Callable[[nn.Module], object]:
    if isinstance(calibration, Tensor):
        return lambda module: module(calibration)
    if isinstance(calibration, tuple):
        return lambda module: module(*calibration)
    return calibration


def _budgets(
    found: Mapping[str, nn.Module], default: Precision, layers: Mapping[str, Precision]
) -> dict[str, Precision]:
    unknown = sorted(set(layers) - set(found))
    if unknown:
        raise UsageError(
            f"no layer '{unknown[0]}' in the module",
            f"its layers: {', '.join(sorted(found))}",
        )
    return {path: layers.get(path, default) for path in found}


def _observe(
    root: nn.Module, found: Mapping[str, nn.Module], run: Callable[[nn.Module], object]
) -> tuple[dict[str, Observed], dict[str, Grid]]:
    """Run calibration in real numbers; what layers receive, and grids for the root's arguments."""
    observed = {path: Observed() for path in found}
    peaks: dict[str, float] = {}

    names = [str(name) for name in inspect.signature(root.forward).parameters]

    def root_hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for name, value in [*zip(names, args, strict=False), *kwargs.items()]:
            if isinstance(value, Tensor) and value.is_floating_point():
                peaks[name] = max(peaks.get(name, 0.0), float(value.abs().max()))

    hooks = [root.register_forward_pre_hook(root_hook, with_kwargs=True)]
    for path, layer in found.items():
        if is_layer(layer):
            hooks.append(layer.register_forward_pre_hook(_seeing(observed[path])))
    try:
        with torch.no_grad():
            run(root)
    finally:
        for hook in hooks:
            hook.remove()
    grids = {name: _number_grid(peak) for name, peak in peaks.items()}
    positions = {str(names.index(name)): grid for name, grid in grids.items() if name in names}
    return observed, grids | positions


def _seeing(observed: Observed) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    return lambda _, args: observed.see(args[0])


def _number_grid(peak: float) -> Grid:
    """The finest grid with room for twice the largest number seen."""
    bits = _NUMBER_BITS - math.frexp(2 * (peak or 1.0))[1]
    return Grid(bits, 1 << _NUMBER_BITS)


def _constant(tensor: Tensor) -> GridTensor:
    peak = float(tensor.abs().max()) if tensor.numel() else 0.0
    bits = min(_CONSTANT_BITS, _number_grid(peak).fraction_bits)
    values = quantize(tensor.detach(), bits, 1 << _NUMBER_BITS)
    limit = max(round(float(values.abs().max()) * 2.0**bits) if values.numel() else 1, 1)
    return on_grid(Operand(values, Grid(bits, limit)))


@contextmanager
def _naming_modules(root: nn.Module) -> Iterator[None]:
    """Let errors of the vocabulary say in which module they happened."""
    active: list[str] = []
    hooks = []
    for path, module in root.named_modules():
        description = f"'{path}' ({type(module).__name__})"

        def enter(_: nn.Module, __: Any, description: str = description) -> None:
            active.append(description)

        def leave(_: nn.Module, __: Any, ___: Any) -> None:
            active.pop()

        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(leave))
    try:
        yield
    except UsageError as error:
        if not active:
            raise
        raise UsageError(f"in module {active[-1]}: {error.message}", error.hint) from error
    finally:
        for hook in hooks:
            hook.remove()

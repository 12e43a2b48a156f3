"""A lowered model as integers and JSON, and back: a decoder needs no float weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from nc_core.errors import DataError
from nc_core.exact.geometry import is_layer
from nc_core.exact.grid import FLOAT32_LIMIT, Grid
from nc_core.exact.layer import ExactLayer
from nc_core.exact.normalization import ExactGroupNorm, NormSettings
from nc_core.exact.rules import Operand
from nc_core.exact.surgery import (
    ExactModule,
    InputGrids,
    Lowerable,
    constants,
    modules_to_lower,
    replace_modules,
    set_constant,
    set_input_grids,
)
from nc_core.exact.tables import SHA256
from nc_core.exact.tensor import GridTensor, on_grid

__all__ = [
    "VERSION",
    "ExactState",
    "LayerSummary",
    "digest",
    "exact_state",
    "load_exact",
    "summary",
]

VERSION = 1


class ExactState(NamedTuple):
    """What decoding needs of a lowered module.

    Attributes:
        tensors: integers, by the path of their module and their name.
        config: JSON: grids, limits and geometry of each module, hashes of tables.
    """

    tensors: dict[str, Tensor]
    config: dict[str, Any]


def exact_state(module: nn.Module) -> ExactState:
    """The integers and settings of a lowered module.

    Args:
        module: what :func:`nc_core.exact.lower` or :func:`load_exact` returned.
    """
    tensors: dict[str, Tensor] = {}
    modules: dict[str, Any] = {}
    grids: dict[str, Any] = {}
    for path, child in module.named_modules():
        if isinstance(child, ExactModule):
            modules[path] = child.exact_config()
            own = child.exact_tensors()
            tensors |= {_joined(path, name): tensor for name, tensor in own.items()}
    for path, _, _, tensor in constants(module):
        if isinstance(tensor, GridTensor):
            tensors[path] = tensor.integers().to(torch.int32)
            grids[path] = _grid_config(tensor.grid)
        else:
            tensors[path] = tensor.detach().clone()
    inputs = getattr(module, "exact_inputs", InputGrids({})).grids
    return ExactState(
        tensors,
        {
            "version": VERSION,
            "modules": modules,
            "constants": grids,
            "inputs": {name: _grid_config(grid) for name, grid in inputs.items()},
            "tables": dict(SHA256),
        },
    )


def load_exact(
    skeleton: nn.Module, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> nn.Module:
    """A lowered module again.

    Args:
        skeleton: a module built as the lowered one was, with any weights; it is taken apart.
        tensors: the integers that :func:`exact_state` returned.
        config: the settings that it returned.

    Returns:
        A module that computes the same integers.

    Raises:
        DataError: they do not fit the skeleton or each other, a sum may be inexact, or a table
            is another one here.
    """
    root = skeleton.eval().requires_grad_(False)
    modules, grids = _checked(config)
    found = modules_to_lower(root)
    _require_equal(set(found), set(modules), "modules")
    exact = {
        path: _counterpart(module, path, tensors, modules[path]) for path, module in found.items()
    }
    root = replace_modules(
        root, {found[path]: cast("nn.Module", counterpart) for path, counterpart in exact.items()}
    )
    own = list(constants(root))
    taken = {_joined(path, name) for path in exact for name in exact[path].exact_tensors()}
    _require_equal({path for path, *_ in own} | taken, set(tensors), "tensors")
    for path, owner, name, before in own:
        after = tensors[path]
        if after.shape != before.shape or after.is_floating_point():
            raise DataError(f"tensor '{path}' of the model is not as it should be")
        set_constant(owner, name, _on_grid(after, grids[path]) if path in grids else after)
    set_input_grids(root, {name: _grid(value) for name, value in config["inputs"].items()})
    return root


def digest(state: ExactState) -> str:
    """SHA-256 of everything in a state; equal digests mean equal results on every input."""
    tensors, config = state
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        little = array.astype(array.dtype.newbyteorder("<"))
        total.update(f"\0{name}\0{little.dtype.str}{list(little.shape)}\0".encode())
        total.update(little.tobytes())
    return total.hexdigest()


class LayerSummary(NamedTuple):
    """What a layer got.

    Attributes:
        path: in the module.
        operation: "conv2d", "linear", ...
        input_bits: of its inputs, sign included.
        weight_bits: of the largest weight of each output, sign included; the mean over outputs
            of all sets of weights together.
        parts: sets of weights and pieces of the input.
        fill: largest possible sum over 2 ** 24; below 1.
        relative_error: of its output in calibration; NaN for a loaded model.
    """

    path: str
    operation: str
    input_bits: int
    weight_bits: float
    parts: int
    fill: float
    relative_error: float


def summary(module: nn.Module) -> list[LayerSummary]:
    """What each layer of a lowered module got, in the order of the modules."""
    return [
        LayerSummary(
            path,
            layer.geometry.operation,
            layer.input_grid.limit.bit_length() + 1,
            _weight_bits(layer),
            len(layer.parts),
            float(layer.largest_sums().max()) / FLOAT32_LIMIT,
            layer.relative_error,
        )
        for path, layer in module.named_modules()
        if isinstance(layer, ExactLayer)
    ]


def _weight_bits(layer: ExactLayer) -> float:
    first, last = layer.parts[0], layer.parts[-1]
    largest = np.abs(first.weight).reshape(len(first.weight), -1).max(axis=1, initial=1)
    finer = (last.shifts - first.shifts) if last.start == first.start else 0
    return float(np.mean(np.log2(np.maximum(largest, 1)) + 1 + finer))


def _checked(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if config.get("version") != VERSION:
        raise DataError(
            f"exact model of version {config.get('version')!r}; this program reads {VERSION}"
        )
    try:
        tables = dict(config["tables"])
        modules, grids, inputs = (dict(config[key]) for key in ("modules", "constants", "inputs"))
        for grid in [*grids.values(), *inputs.values()]:
            _grid(grid)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the model's configuration is not as it should be: {error}") from error
    for name, sha256 in tables.items():
        if SHA256.get(name) != sha256:
            raise DataError(f"the model was made with another table of '{name}'")
    return modules, grids


def _counterpart(
    module: nn.Module, path: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> ExactModule:
    kind = config.get("kind")
    if is_layer(module) and kind == ExactLayer.kind:
        return ExactLayer.from_exact(_below(path, tensors), config)
    if isinstance(module, nn.GroupNorm) and kind == ExactGroupNorm.kind:
        norm = ExactGroupNorm.from_exact(_below(path, tensors), config)
        if norm.settings != NormSettings.of(module):
            raise DataError(f"module '{path}' of the model has other settings than the program's")
        return norm
    if not isinstance(module, Lowerable):
        raise DataError(f"module '{path}' of the model is of another kind than the program's")
    counterpart = cast("ExactModule", module.lowered())
    # Through JSON, in which tuples are lists.
    if json.loads(json.dumps(counterpart.exact_config())) != json.loads(json.dumps(config)):
        raise DataError(f"module '{path}' of the model has other settings than the program's")
    return counterpart


def _below(path: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{path}." if path else ""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _require_equal(expected: set[str], given: set[str], what: str) -> None:
    if expected != given:
        name = min(expected ^ given)
        where = "the program" if name in expected else "the model file"
        raise DataError(f"{what} of model and program differ: only {where} has '{name}'")


def _grid_config(grid: Grid) -> dict[str, int]:
    return {"fraction_bits": grid.fraction_bits, "limit": grid.limit}


def _grid(config: Mapping[str, Any]) -> Grid:
    grid = Grid(int(config["fraction_bits"]), int(config["limit"]))
    is_known = -60 <= grid.fraction_bits <= 60 and 1 <= grid.limit <= FLOAT32_LIMIT
    if not (is_known and grid.is_in_range):
        raise ValueError(f"{grid} is out of range")
    return grid


def _on_grid(integers: Tensor, config: Mapping[str, Any]) -> GridTensor:
    grid = _grid(config)
    if integers.numel() and int(integers.to(torch.int64).abs().max()) > grid.limit:
        raise DataError("a constant of the model is beyond its limit")
    return on_grid(Operand(integers.double().mul_(2.0**-grid.fraction_bits).float(), grid))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

"""Checkpoints: one safetensors file, with everything that is no tensor as JSON in its header.

Any nesting of dicts, lists and tuples of tensors and plain values, such as the state of an
optimiser, comes back as it was. No pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from nc_core.errors import DataError
from nc_core.files import atomic_write, describe_os_error

__all__ = ["load_checkpoint", "save_checkpoint"]

_KEY = "nc"
_SCHEMA = "nc.checkpoint/1"


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        DataError: it cannot be written.
        TypeError: ``state`` holds something that is neither tensor nor plain value.
    """
    tensors: dict[str, Tensor] = {}
    document = {"schema": _SCHEMA, "state": _encode(state, "", tensors)}
    data = safetensors.torch.save(tensors, {_KEY: json.dumps(document)})
    with atomic_write(path) as file:
        file.write(data)


def load_checkpoint(
    path: Path, *, hint: str = "remove it to resume from the one before it"
) -> dict[str, Any]:
    """Read a checkpoint; tensors are on the CPU.

    Args:
        path: of the file.
        hint: what to do about a damaged one.

    Raises:
        DataError: missing, damaged or of another schema.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            raise DataError(f"{path}: not a checkpoint ({_SCHEMA})")
        state: dict[str, Any] = _decode(document["state"], tensors)
    except OSError as error:
        raise describe_os_error(error, path) from error
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"{path}: damaged checkpoint", hint) from error
    return state


def _encode(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Plain JSON for a node; its tensors go into ``tensors`` by their path."""
    if isinstance(node, Tensor):
        name = path.removesuffix("/")
        if name in tensors:
            raise ValueError(f"two entries of a checkpoint are called {name}")
        # A copy, since one file cannot hold two tensors that share memory (tied weights).
        tensors[name] = node.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(node, Mapping):
        for key in node:
            if type(key) not in (str, int):
                raise TypeError(f"{path}: a key of type {type(key).__name__} in a checkpoint")
        return {"dict": [[key, _encode(v, f"{path}{key}/", tensors)] for key, v in node.items()]}
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [_encode(value, f"{path}{i}/", tensors) for i, value in enumerate(node)]}
    if node is None or type(node) in (bool, int, float, str):
        return node
    raise TypeError(f"{path}: a checkpoint cannot hold a {type(node).__name__}")


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, value),) = node.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _decode(child, tensors) for key, child in value}
    children = [_decode(child, tensors) for child in value]
    return tuple(children) if kind == "tuple" else children

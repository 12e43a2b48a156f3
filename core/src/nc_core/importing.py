"""Foreign checkpoints: read without running their code, and compared in words.

A checkpoint is a ``state_dict`` saved by ``torch.save``, of which only tensors and plain containers
are ever unpickled, or the same tensors in a ``.safetensors`` file.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nc_core.errors import DataError
from nc_core.files import describe_os_error

__all__ = ["differences", "few", "load_pickle", "read_state_dict"]

# What torch's reader runs into in files of other kinds.
_NOT_A_CHECKPOINT = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
_MOST_NAMED = 3


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``state_dict`` by name, in float32 whatever they are stored as.

    Args:
        path: a pickle of torch, or a file whose name ends in ``.safetensors``.

    Raises:
        DataError: missing, damaged, or something else.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return {key: value.float() for key, value in load_file(path).items()}
        except OSError as error:
            raise describe_os_error(error, path) from error
        except SafetensorError as error:
            raise DataError(f"{path}: not a whole safetensors file ({error})") from error
    loaded = load_pickle(path)
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise DataError(f"{path}: not a state_dict, which maps names to tensors")
    return {str(key): value.detach().float() for key, value in loaded.items()}


def load_pickle(path: Path) -> Any:
    """What a file of ``torch.save`` holds; only tensors and plain containers are ever unpickled.

    Raises:
        DataError: missing, damaged, or holding something else.
    """
    try:
        with warnings.catch_warnings():  # what torch thinks of a file's age is nobody's concern
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise describe_os_error(error, path) from error
    except _NOT_A_CHECKPOINT as error:
        raise DataError(
            f"{path}: not a checkpoint that can be read safely",
            "save it again with torch.save(model.state_dict(), path)",
        ) from error


def differences(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """What differs between two mappings of names to shapes, in one line; empty if nothing does.

    Example:
        >>> differences({"a": (2,)}, {"a": (3,), "b": (1,)})
        "has an unknown 'b'; 'a' has the shape (3,), not (2,)"
    """
    lines = [f"lacks '{key}'" for key in sorted(expected.keys() - found.keys())]
    lines += [f"has an unknown '{key}'" for key in sorted(found.keys() - expected.keys())]
    lines += [
        f"'{key}' has the shape {found[key]}, not {expected[key]}"
        for key in sorted(expected.keys() & found.keys())
        if expected[key] != found[key]
    ]
    return few(lines, "; ")


def few(texts: Sequence[str], separator: str = ", ") -> str:
    """The first few texts in one line, and how many more there are."""
    more = len(texts) - _MOST_NAMED
    text = separator.join(texts[:_MOST_NAMED])
    return f"{text}{separator}and {more} more" if more > 0 else text

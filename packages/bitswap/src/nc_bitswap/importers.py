"""Checkpoints of the original implementation (``fhkingma/bitswap``).

They are ``state_dict`` pickles named ``nz{levels}``; their keys and shapes say which model they
belong to. Bins of the latents are not in them: they come from the original's bin files, or are
derived again from training images.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_bitswap.discretization import LatentBins
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_core.errors import DataError
from nc_core.files import describe_os_error

__all__ = ["architecture_of", "import_bins", "import_checkpoint"]

_LAYER = re.compile(r"(infer_res0|infer_res1|deepinfer_res)\..*\.res(\d+)layer(\d+)\.conv1\.v")
_IMAGE_SIDE = 32
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
_MOST_DIFFERENCES = 3


def import_checkpoint(path: Path) -> HierarchicalVAE:
    """The model of an original checkpoint (a pickle, or the same tensors as ``.safetensors``).

    Raises:
        DataError: unreadable, or not a checkpoint of this model family; the message says how it
            differs.
    """
    weights = _read(path)
    model = HierarchicalVAE(architecture_of(weights, str(path)))
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    if expected != found:
        raise DataError(f"{path}: {_differences(expected, found)}")
    model.load_state_dict(weights)
    return model.eval()


def architecture_of(weights: Mapping[str, Tensor], file: str) -> Architecture:
    """The shape of the model that a ``state_dict`` belongs to.

    Raises:
        DataError: none that this package knows.
    """
    try:
        hidden, squeezed = weights["infer_in.1.v"].shape[:2]
        latent_channels, _, kernel_size = weights["infer_mu.v"].shape[:3]
        constant = weights.get("gen_std")
        sides = (_IMAGE_SIDE, _IMAGE_SIDE) if constant is None else tuple(constant.shape[1:])
        height, width = sides
    except (KeyError, ValueError) as error:
        raise DataError(f"{file}: not a Bit-Swap checkpoint (no 'infer_in.1.v')") from error
    layers = [match for key in weights if (match := _LAYER.fullmatch(key))]
    levels = 1 + len([key for key in weights if re.fullmatch(r"deepinfer_mu\.\d+\.0\.v", key)])
    processing = sum(match[1] == "infer_res0" for match in layers)
    return Architecture(
        channels=squeezed // 4,
        height=height,
        width=width,
        levels=levels,
        latent_channels=latent_channels,
        hidden=hidden,
        processing=processing,
        blocks=len(layers) - processing,
        kernel_size=kernel_size,
        conditional_scale=constant is None,
    )


def import_bins(edges: Path, centres: Path) -> LatentBins:
    """Bins from the original's ``..._zendpoints{q}.pt`` and ``..._zcentres{q}.pt``.

    Their lower levels are stored as tables: exactly those bins, for models that were made with
    others than of equal width as well.

    Raises:
        DataError: unreadable, or not of the shapes (levels, dims, 2^q - 1) and (levels, dims, 2^q).
    """
    tables = [_tensor(path) for path in (edges, centres)]
    levels, dims, size = tables[1].shape if tables[1].ndim == 3 else (0, 0, 0)
    bits = size.bit_length() - 1
    if size != 1 << bits or tables[0].shape != (levels, dims, size - 1) or not levels:
        raise DataError(f"{edges}, {centres}: not the bins of one model")
    lower = [(tables[0][level], tables[1][level]) for level in range(levels - 1)]
    return LatentBins.from_edges(bits, lower, dims)


def _tensor(path: Path) -> NDArray[np.float64]:
    loaded = _load_pickle(path)
    if not isinstance(loaded, Tensor):
        raise DataError(f"{path}: holds no tensor")
    return loaded.double().numpy()


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except OSError as error:
            raise describe_os_error(error, path) from error
        except SafetensorError as error:
            raise DataError(f"{path}: not a whole safetensors file ({error})") from error
    loaded = _load_pickle(path)
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise DataError(f"{path}: not a state_dict, which maps names to tensors")
    return {str(key): value.float() for key, value in loaded.items()}


def _load_pickle(path: Path) -> Any:
    """What a checkpoint holds; only tensors and plain containers are ever unpickled."""
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


def _differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What differs between two mappings of names to shapes, in one line."""
    lines = [f"lacks '{key}'" for key in sorted(expected.keys() - found.keys())]
    lines += [f"has an unknown '{key}'" for key in sorted(found.keys() - expected.keys())]
    lines += [
        f"'{key}' has the shape {found[key]}, not {expected[key]}"
        for key in sorted(expected.keys() & found.keys())
        if expected[key] != found[key]
    ]
    more = len(lines) - _MOST_DIFFERENCES
    text = "; ".join(lines[:_MOST_DIFFERENCES])
    return f"{text}; and {more} more" if more > 0 else text

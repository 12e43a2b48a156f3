"""Model files: from a trained model to what a decoder needs, and back.

A file holds the integer networks and the bins of the latents, and below ``float/`` the weights
that they were made from, for those who train on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nc_bitswap.chain import Padding
from nc_bitswap.codec import BitswapCodec
from nc_bitswap.discretization import LatentBins
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_core.errors import DataError
from nc_core.exact import exact_state, load_exact, lower
from nc_core.model_file import EXTRAS, ModelFile, write_model_file

__all__ = ["FAMILY", "float_model", "latent_bins", "load", "lower_model", "write_model"]

FAMILY = "bitswap"
_NETWORKS, _BINS = "networks.", "bins."
_CALIBRATION_IMAGES = 64


def lower_model(model: HierarchicalVAE, images: NDArray[np.uint8]) -> HierarchicalVAE:
    """The model in exact arithmetic: ``posterior`` and ``likelihood`` return integers.

    Args:
        model: trained; not changed.
        images: for calibration, (n, C, H, W); the first 64 are used.
    """
    inputs = torch.from_numpy(np.ascontiguousarray(images[:_CALIBRATION_IMAGES]))

    def calibrate(module: nn.Module) -> None:
        assert isinstance(module, HierarchicalVAE)
        noise = module.noise(len(inputs), generator=torch.Generator().manual_seed(0))
        below = inputs.float()
        for level in range(1, module.architecture.levels + 1):
            means, scales = module.posterior(level, below)
            below = means + scales * noise[level - 1]
            module.likelihood(level - 1, below)

    lowered = lower(model, calibrate)
    assert isinstance(lowered, HierarchicalVAE)
    return lowered


def write_model(
    path: Path,
    model: HierarchicalVAE,
    bins: LatentBins,
    images: NDArray[np.uint8],
    *,
    padding: Padding = "zero",
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
    keep_floats: bool = True,
) -> ModelFile:
    """Lower a trained model and write its file.

    Args:
        path: ends in ``.safetensors``.
        model: trained.
        bins: of its latents.
        images: for calibration, (n, C, H, W).
        padding: what surrounds blocks that are smaller than the model's images.
        name: what to call it; by default the file's name.
        info: to keep with it: recipe, steps, licence.
        keep_floats: whether the weights that training needs go into the file too.

    Raises:
        DataError: the file cannot be written.
    """
    state = exact_state(lower_model(model, images))
    tensors = {f"{_NETWORKS}{key}": tensor.numpy() for key, tensor in state.tensors.items()}
    tensors |= {f"{_BINS}{key}": array for key, array in bins.tensors().items()}
    if keep_floats:
        weights = model.state_dict().items()
        tensors |= {f"{EXTRAS}{key}": value.cpu().numpy() for key, value in weights}
    config = {
        "architecture": asdict(model.architecture),
        "padding": padding,
        "networks": state.config,
    }
    return write_model_file(path, FAMILY, config, tensors, name=name, info=info)


def load(file: ModelFile) -> BitswapCodec:
    """The lossless model of a model file.

    Raises:
        DataError: it is no model of this family, or made for other tables.
    """
    tensors = file.tensors()
    try:
        with torch.random.fork_rng(devices=[]):  # its initial weights are overwritten
            skeleton = HierarchicalVAE(Architecture(**file.config["architecture"]))
        padding: Padding = file.config["padding"]
        bins = LatentBins.from_tensors(_below(tensors, _BINS))
        networks = {
            key: torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
            for key, array in _below(tensors, _NETWORKS).items()
        }
        exact = load_exact(skeleton, networks, file.config["networks"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"model '{file.name}': not a model of family '{FAMILY}'") from error
    assert isinstance(exact, HierarchicalVAE)
    return BitswapCodec(file.name, file.id, exact, bins, padding)


def float_model(file: ModelFile) -> HierarchicalVAE:
    """The model in floating point, for training on, sampling and evaluation.

    Raises:
        DataError: the file holds integers only.
    """
    with torch.random.fork_rng(devices=[]):
        model = HierarchicalVAE(Architecture(**file.config["architecture"]))
    weights = {key: torch.from_numpy(np.array(array)) for key, array in file.extras().items()}
    if not weights:
        raise DataError(
            f"model '{file.name}': holds the integers for coding only",
            "models written by 'nc run bitswap train' hold the real-valued weights as well",
        )
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"model '{file.name}': its real-valued weights do not fit it") from error
    return model.eval()


def latent_bins(file: ModelFile) -> LatentBins:
    """The bins of a model's latents.

    Raises:
        DataError: it is no model of this family.
    """
    try:
        return LatentBins.from_tensors(_below(file.tensors(), _BINS))
    except (KeyError, ValueError) as error:
        raise DataError(f"model '{file.name}': not a model of family '{FAMILY}'") from error


def _below(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        key.removeprefix(prefix): array for key, array in tensors.items() if key.startswith(prefix)
    }

"""Model files: from a trained model to what a decoder needs, and back.

A file holds the integer networks and the bins of the latents, and below ``float/`` the weights
that they were made from, for those who train on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nc_bitswap.codec import BitswapCodec
from nc_bitswap.discretization import LatentBins
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_core.exact import lower
from nc_core.frame import PADDINGS, Padding
from nc_core.model_file import ModelFile, write_model_file
from nc_core.network_files import (
    load_networks,
    load_weights,
    network_tensors,
    refusing,
    tensors_of,
)

__all__ = ["FAMILY", "float_model", "latent_bins", "load", "lower_model", "write_model"]

FAMILY = "bitswap"
_BINS = "bins."
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

    Raises:
        DataError: the file cannot be written.
    """
    tensors, networks = network_tensors(lower_model(model, images), model)
    tensors |= {f"{_BINS}{key}": array for key, array in bins.tensors().items()}
    config = {
        "architecture": asdict(model.architecture),
        "padding": padding,
        "networks": networks,
    }
    return write_model_file(path, FAMILY, config, tensors, name=name, info=info)


def load(file: ModelFile) -> BitswapCodec:
    """The lossless model of a model file.

    Raises:
        DataError: it is no model of this family, or made for other tables.
    """
    with refusing(file, FAMILY):
        networks = load_networks(file, HierarchicalVAE, _build)
        bins = LatentBins.from_tensors(tensors_of(file, _BINS))
        padding = file.config["padding"]
        shape = networks.architecture
        if padding not in PADDINGS:
            raise ValueError(f"no padding {padding!r}")
        if (bins.levels, bins.dims) != (shape.levels, math.prod(shape.latent_shape)):
            raise ValueError("its bins are of other latents")
    return BitswapCodec(file.name, file.id, networks, bins, padding)


def float_model(file: ModelFile) -> HierarchicalVAE:
    """The model in floating point, for training on, sampling and evaluation.

    Raises:
        DataError: it is no model of this family, or holds integers only.
    """
    return load_weights(file, FAMILY, HierarchicalVAE, _build)


def latent_bins(file: ModelFile) -> LatentBins:
    """The bins of a model's latents.

    Raises:
        DataError: it is no model of this family.
    """
    with refusing(file, FAMILY):
        return LatentBins.from_tensors(tensors_of(file, _BINS))


def _build(architecture: Mapping[str, Any]) -> HierarchicalVAE:
    return HierarchicalVAE(Architecture(**architecture))

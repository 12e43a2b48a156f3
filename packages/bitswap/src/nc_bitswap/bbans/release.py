"""Model files of VAEs: from a trained model to what a decoder needs, and back.

A file holds the integer networks and the bins of the latents, and below ``float/`` the weights
that they were made from.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nc_bitswap.bbans.chain import EqualMassBins
from nc_bitswap.bbans.codec import BbansCodec
from nc_bitswap.bbans.model import Architecture, Vae
from nc_bitswap.bbans.networks import CodingNetworks, folded
from nc_core.exact import lower
from nc_core.model_file import ModelFile, write_model_file
from nc_core.network_files import (
    load_networks,
    load_weights,
    network_tensors,
    refusing,
    tensors_of,
)

__all__ = ["BIN_BITS", "FAMILY", "float_model", "load", "lower_model", "write_model"]

FAMILY = "bbans"
# More bins do not lower the rate; each bit of them adds one initial bit per latent.
BIN_BITS = 10
CALIBRATION_IMAGES = 256
_BINS = "bins."


def lower_model(vae: Vae, images: NDArray[np.uint8]) -> CodingNetworks:
    """The networks in exact arithmetic: ``posterior`` and ``likelihood`` return integers.

    Args:
        vae: trained; not changed.
        images: for calibration, (n, 1, H, W), of pixels that the VAE takes.
    """
    vae = copy.deepcopy(vae).cpu().eval()
    pixels = torch.from_numpy(np.array(images).reshape(len(images), -1))
    noise = torch.randn(
        (len(pixels), vae.architecture.latents), generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        means, deviations = vae.posterior(pixels)
        latents = means + noise * deviations

    def calibrate(module: nn.Module) -> None:
        assert isinstance(module, CodingNetworks)
        module.posterior(pixels)
        module.likelihood(latents)

    lowered = lower(folded(vae), calibrate)
    assert isinstance(lowered, CodingNetworks)
    return lowered


def write_model(
    path: Path,
    vae: Vae,
    images: NDArray[np.uint8],
    *,
    bin_bits: int = BIN_BITS,
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> ModelFile:
    """Lower a trained VAE and write its file.

    Args:
        path: ends in ``.safetensors``.
        vae: trained.
        images: for calibration, (n, 1, H, W), of pixels that the VAE takes.
        bin_bits: log2 of the latents' bins.
        name: what to call it; by default the file's name.
        info: to keep with it: recipe, data, licence.

    Raises:
        DataError: the file cannot be written.
    """
    tensors, networks = network_tensors(lower_model(vae, images), vae)
    tensors |= {f"{_BINS}{k}": array for k, array in EqualMassBins.of(bin_bits).tensors().items()}
    config = {"architecture": asdict(vae.architecture), "networks": networks}
    return write_model_file(path, FAMILY, config, tensors, name=name, info=info)


def load(file: ModelFile) -> BbansCodec:
    """The lossless model of a model file.

    Raises:
        DataError: it is no model of this family, or made for other tables.
    """
    with refusing(file, FAMILY):
        networks = load_networks(
            file, CodingNetworks, lambda sizes: CodingNetworks(Architecture(**sizes))
        )
        bins = EqualMassBins.from_tensors(tensors_of(file, _BINS))
    return BbansCodec(file.name, file.id, networks, bins)


def float_model(file: ModelFile) -> Vae:
    """The VAE in floating point, for evaluation and training.

    Raises:
        DataError: it is no model of this family, or holds integers only.
    """
    return load_weights(file, FAMILY, Vae, lambda sizes: Vae(Architecture(**sizes)))

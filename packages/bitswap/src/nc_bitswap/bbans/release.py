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
from nc_core.errors import DataError
from nc_core.exact import exact_state, load_exact, lower
from nc_core.model_file import EXTRAS, ModelFile, write_model_file

__all__ = ["BIN_BITS", "FAMILY", "float_model", "load", "lower_model", "write_model"]

FAMILY = "bbans"
# More bins do not lower the rate; each bit of them adds one initial bit per latent.
BIN_BITS = 10
CALIBRATION_IMAGES = 256
_NETWORKS, _BINS = "networks.", "bins."


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
    state = exact_state(lower_model(vae, images))
    tensors = {f"{_NETWORKS}{key}": tensor.numpy() for key, tensor in state.tensors.items()}
    tensors |= {f"{_BINS}{k}": array for k, array in EqualMassBins.of(bin_bits).tensors().items()}
    tensors |= {f"{EXTRAS}{key}": value.cpu().numpy() for key, value in vae.state_dict().items()}
    config = {"architecture": asdict(vae.architecture), "networks": state.config}
    return write_model_file(path, FAMILY, config, tensors, name=name, info=info)


def load(file: ModelFile) -> BbansCodec:
    """The lossless model of a model file.

    Raises:
        DataError: it is no model of this family, or made for other tables.
    """
    tensors = file.tensors()
    try:
        with torch.random.fork_rng(devices=[]):  # its initial weights are overwritten
            skeleton = CodingNetworks(Architecture(**file.config["architecture"]))
        bins = EqualMassBins.from_tensors(_below(tensors, _BINS))
        networks = {
            key: torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
            for key, array in _below(tensors, _NETWORKS).items()
        }
        exact = load_exact(skeleton, networks, file.config["networks"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"model '{file.name}': not a model of family '{FAMILY}'") from error
    assert isinstance(exact, CodingNetworks)
    return BbansCodec(file.name, file.id, exact, bins)


def float_model(file: ModelFile) -> Vae:
    """The VAE in floating point, for evaluation and training.

    Raises:
        DataError: the file holds integers only.
    """
    weights = {key: torch.from_numpy(np.array(array)) for key, array in file.extras().items()}
    if not weights:
        raise DataError(
            f"model '{file.name}': holds the integers for coding only",
            "models written by 'nc run bitswap train' hold the real-valued weights as well",
        )
    with torch.random.fork_rng(devices=[]):
        vae = Vae(Architecture(**file.config["architecture"]))
    try:
        vae.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"model '{file.name}': its real-valued weights do not fit it") from error
    return vae.eval()


def _below(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        key.removeprefix(prefix): array for key, array in tensors.items() if key.startswith(prefix)
    }

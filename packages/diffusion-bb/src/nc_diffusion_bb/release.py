"""Model files: from a trained network to what a decoder needs, and back.

A file holds the integer network and the full chain's noise levels, and below ``float/`` the weights
that it was made from, for evaluation, sampling and training on. A class-conditional network codes
nothing: its file holds weights alone, below ``weights/``, which are part of the model's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError
from nc_core.model_file import ModelFile, write_model_file
from nc_core.network_files import (
    load_networks,
    load_weights,
    network_tensors,
    refusing,
    tensors_of,
)
from nc_diffusion_bb.codec import DiffusionCodec
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.diffusion_tables import DiffusionTables
from nc_diffusion_bb.lowering import fuse, lower_unet
from nc_diffusion_bb.schedules import betas
from nc_diffusion_bb.unet import Architecture, UNet

__all__ = ["FAMILY", "float_model", "load", "write_model"]

FAMILY = "diffusion-bb"
_SCHEDULE = "alphas_cumprod"
_WEIGHTS = "weights/"
_TUPLES = ("attention_factors", "multipliers")


def write_model(
    path: Path,
    unet: UNet,
    diffusion: DiffusionConfig,
    images: NDArray[np.uint8],
    *,
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> ModelFile:
    """Lower a trained network and write its file.

    Args:
        path: ends in ``.safetensors``.
        unet: trained. One that is told classes goes into the file as it is, always.
        diffusion: what its outputs mean.
        images: for calibration, uint8, (n, C, H, W).
        name: what to call it; by default the file's name.
        info: to keep with it: recipe, steps, licence.

    Raises:
        DataError: the file cannot be written.
    """
    config = {"architecture": asdict(unet.architecture), "diffusion": diffusion.model_dump()}
    if unet.architecture.classes is None:
        tensors, config["networks"] = network_tensors(lower_unet(unet, diffusion, images), unet)
    else:
        weights = unet.state_dict().items()
        tensors = {f"{_WEIGHTS}{key}": value.cpu().numpy() for key, value in weights}
    chain = DiffusionTables.of(betas(diffusion.noise_schedule, diffusion.steps))
    tensors[_SCHEDULE] = np.asarray(chain.alphas_cumprod, np.float64)
    return write_model_file(path, FAMILY, config, tensors, name=name, info=info)


def load(file: ModelFile) -> DiffusionCodec:
    """The lossless model of a model file.

    Raises:
        DataError: it is no model of this family, made for other tables, or class-conditional.
    """
    with refusing(file, FAMILY):
        if "networks" not in file.config:
            raise DataError(
                "class-conditional, it evaluates and samples but does not compress",
                "train one without classes to compress with it",
            )
        diffusion = _diffusion(file)
        schedule = file.tensors()[_SCHEDULE]
        _check_schedule(schedule, diffusion)
        network = load_networks(file, UNet, _build)
        fuse(network)
        return DiffusionCodec(file.name, file.id, network, diffusion, schedule)


def float_model(file: ModelFile) -> tuple[UNet, DiffusionConfig]:
    """The network in floating point, and what its outputs mean.

    Raises:
        DataError: it is no model of this family, or holds integers only.
    """
    with refusing(file, FAMILY):
        diffusion = _diffusion(file)
    alone = None if "networks" in file.config else tensors_of(file, _WEIGHTS)
    return load_weights(file, FAMILY, UNet, _build, alone), diffusion


def _diffusion(file: ModelFile) -> DiffusionConfig:
    return DiffusionConfig.model_validate(file.config["diffusion"])


def _check_schedule(schedule: NDArray[Any], diffusion: DiffusionConfig) -> None:
    if schedule.dtype != np.float64 or schedule.shape != (diffusion.steps,):
        raise ValueError(f"its noise levels are not {diffusion.steps} numbers of 64 bits")
    if not bool(((schedule > 0) & (schedule < 1)).all() and (np.diff(schedule) < 0).all()):
        raise ValueError("its noise does not grow from step to step")


def _build(architecture: Mapping[str, Any]) -> UNet:
    sizes = dict(architecture)
    return UNet(Architecture(**sizes | {name: tuple(sizes[name]) for name in _TUPLES}))

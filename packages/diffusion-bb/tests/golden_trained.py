"""The small trained network of the golden data, and what the original found with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.unet import Architecture, UNet


@dataclass
class TrainedModel:
    """A grey 16x16 model, its images and the original's results."""

    network: UNet
    config: DiffusionConfig
    diffusion: GaussianDiffusion
    arrays: dict[str, NDArray[Any]]
    record: dict[str, Any]


def golden_trained(shared: Path, name: str = "trained_m16") -> TrainedModel:
    """The model of that name; its weights are stored as fp16 and used as fp32."""
    folder = shared / "golden" / "diffusion-bb"
    record = json.loads((folder / f"{name}.json").read_text())
    unet, chain = record["unet"], dict(record["diffusion"])
    respacing = chain.pop("timestep_respacing")
    network = UNet(
        Architecture(
            image_size=16,
            in_channels=unet["in_channels"],
            width=unet["model_channels"],
            out_channels=unet["out_channels"],
            blocks=unet["num_res_blocks"],
            attention_factors=tuple(unet["attention_resolutions"]),
            multipliers=tuple(unet["channel_mult"]),
            heads=unet["num_heads"],
            scale_shift=unet["use_scale_shift_norm"],
            dropout=unet["dropout"],
        )
    )
    weights = load_file(folder / f"{name}.safetensors")
    network.load_state_dict({key: tensor.float() for key, tensor in weights.items()})
    config = DiffusionConfig(**chain)
    arrays = dict(np.load(folder / f"{name}.npz"))
    return TrainedModel(network, config, GaussianDiffusion.of(config, respacing), arrays, record)

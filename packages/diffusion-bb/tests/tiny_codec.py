"""A codec on a small network with weights that a rule gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_fill import fill_weights, images
from nc_core.model_file import read_model_file
from nc_diffusion_bb.codec import DiffusionCodec
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.release import load, write_model
from nc_diffusion_bb.unet import Architecture, UNet

STEPS = 12
SHAPE = (1, 8, 8)


def write_tiny_model(
    path: Path, tag: str = "codec", steps: int = STEPS, **diffusion: object
) -> Path:
    """The model file of a network for grey images of 8x8, with a short chain."""
    config = DiffusionConfig(steps=steps, **diffusion)
    network = UNet(
        Architecture(
            image_size=8, in_channels=1, width=32, out_channels=2 if config.learn_sigma else 1,
            blocks=1, attention_factors=(2,), multipliers=(1, 1),
        )
    )  # fmt: skip
    fill_weights(network, tag)
    write_model(path, network, config, images("calibration", (8, *SHAPE)))
    return path


def tiny_codec(folder: Path, **diffusion: Any) -> DiffusionCodec:
    """The codec of such a model."""
    path = folder / "tiny.safetensors"
    if not path.exists():
        write_tiny_model(path, **diffusion)
    return load(read_model_file(path))


def smooth_images(count: int, side: int = 8) -> NDArray[np.uint8]:
    """Grey ramps in different directions; uint8, (count, 1, side, side)."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack(
        [
            (rows * (5 + 3 * n) + columns * (17 - 2 * n) + 40 * n).astype(np.uint8)[None]
            for n in range(count)
        ]
    )

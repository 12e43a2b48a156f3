"""From the settings of a network to its shape."""

from __future__ import annotations

from nc_core.errors import UsageError
from nc_diffusion_bb.config import ModelConfig
from nc_diffusion_bb.unet import Architecture

__all__ = ["USUAL_MULTIPLIERS", "architecture_of"]

USUAL_MULTIPLIERS = {32: (1, 2, 2, 2), 64: (1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4)}
"""Of each level's channels, by image size, in the original."""


def architecture_of(model: ModelConfig, *, learn_sigma: bool) -> Architecture:
    """The shape of the network that settings describe.

    Args:
        model: settings.
        learn_sigma: of the diffusion: the network says variances too.

    Raises:
        UsageError: settings of no network; the message says which.
    """
    multipliers = model.multipliers or USUAL_MULTIPLIERS.get(model.image_size)
    if multipliers is None:
        sizes = ", ".join(map(str, USUAL_MULTIPLIERS))
        raise UsageError(
            f"images of {model.image_size} need model.multipliers; only {sizes} have usual ones",
            "--set model.multipliers=[1,2,2]",
        )
    uneven = [side for side in model.attention if side < 1 or model.image_size % side]
    if uneven:
        raise UsageError(
            f"model.attention: {uneven[0]} does not divide the image size, {model.image_size}"
        )
    try:
        return Architecture(
            image_size=model.image_size,
            in_channels=model.channels,
            width=model.width,
            out_channels=model.channels * (2 if learn_sigma else 1),
            blocks=model.blocks,
            attention_factors=tuple(model.image_size // side for side in model.attention),
            multipliers=multipliers,
            heads=model.heads,
            heads_upsample=model.heads_upsample,
            scale_shift=model.scale_shift,
            dropout=model.dropout,
            classes=model.classes,
            resample_convolution=model.resample_convolution,
        )
    except ValueError as error:
        raise UsageError(f"no such network: {error}") from error

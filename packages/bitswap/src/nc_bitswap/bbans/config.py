"""Configuration of the VAEs of BB-ANS and of their training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nc_bitswap.config import DataConfig
from nc_core.config import Config
from nc_core.sizes import MOST_PIXELS, MOST_WIDTH
from nc_core.training.settings import FitConfig

__all__ = ["BbansConfig", "VaeConfig"]


class VaeConfig(Config):
    """Shape of a VAE; see :class:`nc_bitswap.bbans.model.Architecture`.

    Attributes:
        likelihood: of a pixel: ``bernoulli`` for 0 and 1, ``beta-binomial`` for 0 ... 255.
        height, width: of the images, which have one channel.
        hidden: units of each hidden layer.
        latents: dimensions of the latent.
    """

    likelihood: Literal["bernoulli", "beta-binomial"] = "beta-binomial"
    height: int = Field(default=28, ge=1, le=MOST_PIXELS)
    width: int = Field(default=28, ge=1, le=MOST_PIXELS)
    hidden: int = Field(default=200, ge=1, le=MOST_WIDTH)
    latents: int = Field(default=50, ge=1, le=MOST_WIDTH)


class BbansConfig(Config):
    """Everything that decides a training run.

    Attributes:
        family: which family a recipe is of.
        data: what to train and to evaluate on. A Bernoulli likelihood takes grey levels x of
            0 ... 255 too: each access draws 1 with probability x / 255 anew.
        model: its shape.
        learning_rate: of Adam, the same at all steps.
        bins: log2 of the latents' bins in the exported model.
        training: the loop.
    """

    family: Literal["bbans"] = "bbans"
    data: DataConfig = DataConfig()
    model: VaeConfig = VaeConfig()
    learning_rate: float = Field(default=5e-4, gt=0)
    bins: int = Field(default=10, ge=4, le=14)
    training: FitConfig = FitConfig(
        duration="20 epochs", batch_size=100, seed=17, clip_norm=None, keep_checkpoints=2
    )

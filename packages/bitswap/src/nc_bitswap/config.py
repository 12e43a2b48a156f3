"""Configuration of models and training: what recipes and ``--set`` are checked against."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nc_core.config import Config
from nc_core.sizes import (
    MOST_CHANNELS,
    MOST_LAYERS,
    MOST_LEVELS,
    MOST_PIXELS,
    MOST_WIDTH,
)
from nc_core.training.settings import EmaConfig, FitConfig

__all__ = [
    "BinsConfig",
    "BitswapConfig",
    "DataConfig",
    "ModelConfig",
    "RateSchedule",
]


class DataConfig(Config):
    """Names of datasets, as ``--dataset`` takes them.

    Attributes:
        train: images to train on. Those larger than the model's are cropped at random.
        test: images for evaluation. Those larger are cropped in the middle.
    """

    train: str = "mnist:train"
    test: str = "mnist:test"


class ModelConfig(Config):
    """Shape of the hierarchical VAE; see :class:`nc_bitswap.model.Architecture`.

    Attributes:
        channels, height, width: of the images; height and width even.
        levels: of latents (the paper's nz, or L).
        latent_channels: of every latent.
        hidden: channels of hidden layers (the original's ``width``).
        processing: ResNet layers of kernel size 5 next to the image.
        blocks: other ResNet layers, dealt out to the levels.
        kernel_size: of all convolutions but the 5x5 ones; odd.
        conditional_scale: whether the pixels' scales depend on the lowest latent.
        dropout: probability inside ResNet layers.
        padding: what surrounds images that are smaller than the model's.
    """

    channels: int = Field(default=1, ge=1, le=MOST_CHANNELS)
    height: int = Field(default=32, ge=2, le=MOST_PIXELS, multiple_of=2)
    width: int = Field(default=32, ge=2, le=MOST_PIXELS, multiple_of=2)
    levels: int = Field(default=2, ge=1, le=MOST_LEVELS)
    latent_channels: int = Field(default=1, ge=1, le=MOST_WIDTH)
    hidden: int = Field(default=64, ge=1, le=MOST_WIDTH)
    processing: int = Field(default=4, ge=0, le=MOST_LAYERS)
    blocks: int = Field(default=8, ge=0, le=MOST_LAYERS)
    kernel_size: Literal[1, 3, 5, 7] = 3
    conditional_scale: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    padding: Literal["zero", "edge"] = "zero"


class RateSchedule(Config):
    """Learning rate of Adam: multiplied by ``decay`` before each step while above ``floor``.

    Attributes:
        start: before the first step.
        decay: factor per step.
        floor: the last rate is the first one that is not above it.
        delay: steps without decay at the beginning.
    """

    start: float = Field(default=2e-3, gt=0)
    decay: float = Field(default=0.9995, gt=0, le=1)
    floor: float = Field(default=5e-4, ge=0)
    delay: int = Field(default=0, ge=0)


class BinsConfig(Config):
    """Discretisation of the latents, which the exported model codes with.

    Attributes:
        bits: log2 of the bins of every latent dimension.
        strategy: of the bins below the top level: equal width, or equal mass of the samples.
        samples_per_bin: drawn from the prior down, and as many from training images up.
    """

    bits: int = Field(default=10, ge=4, le=12)
    strategy: Literal["uniform", "quantile"] = "uniform"
    samples_per_bin: int = Field(default=30, ge=1)


class BitswapConfig(Config):
    """Everything that decides a training run.

    Attributes:
        family: which family a recipe is of.
        data: what to train and to evaluate on.
        model: its shape.
        free_bits: bits per latent level and channel that cost nothing in training.
        learning_rate: its schedule.
        warm_up_batches: batches that the data-dependent initialisation sees, all at once.
        bins: of the exported model.
        training: the loop. The average of parameters has the original's swapped coefficients
            by default, with which it is all but the parameters themselves.
    """

    family: Literal["bitswap"] = "bitswap"
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    free_bits: float = Field(default=1.0, ge=0)
    learning_rate: RateSchedule = RateSchedule()
    warm_up_batches: int = Field(default=25, ge=1)
    bins: BinsConfig = BinsConfig()
    training: FitConfig = FitConfig(
        duration="1000 epochs",
        batch_size=128,
        seed=99,
        clip_norm=1.0,
        ema=EmaConfig(decay=0.999, form="swapped"),
        evaluate_every="5 epochs",
        evaluate_at_start=True,
        keep_checkpoints=2,
    )

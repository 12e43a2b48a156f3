"""Configuration of the training of ``bitswap-photo``: what its recipes are checked against."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from nc_core.config import Config
from nc_core.sizes import MOST_LATTICES, MOST_LAYERS, MOST_WIDTH
from nc_core.training.settings import EmaConfig, FitConfig, duration_steps

__all__ = [
    "BaseConfig",
    "LatticesConfig",
    "PhotoConfig",
    "PhotoDataConfig",
    "PhotoModelConfig",
    "PhotoRates",
]

# Sides of a base are multiples of this; see nc_bitswap.photo.model, which needs torch.
_BASE_MULTIPLE = 4


class PhotoDataConfig(Config):
    """Names of datasets, as ``--dataset`` takes them: 8-bit images of any size, colour or grey.

    Attributes:
        train: photographs to train on; crops of them are rescaled, turned and made noisy.
        test: photographs for evaluation, as they are.
        test_limit: how many of them are used, the first ones.
    """

    train: str = "folder:train"
    test: str = "folder:test"
    test_limit: int = Field(default=24, ge=1)


class PhotoModelConfig(Config):
    """Sizes of the networks; see :class:`nc_bitswap.photo.model.Architecture`.

    Attributes:
        widths: channels of each lattice's networks, finest first.
        blocks: residual blocks per phase.
        hidden: channels of the hidden layer of each colour.
        mixtures: logistics in the mixture of a pixel.
        base_width: channels of the networks of the base.
        latents: channels of the latents.
    """

    widths: tuple[Annotated[int, Field(ge=1, le=MOST_WIDTH)], ...] = Field(
        default=(48, 32, 32), min_length=1, max_length=MOST_LATTICES
    )
    blocks: int = Field(default=2, ge=0, le=MOST_LAYERS)
    hidden: int = Field(default=32, ge=1, le=MOST_WIDTH)
    mixtures: int = Field(default=3, ge=1, le=MOST_WIDTH)
    base_width: int = Field(default=48, ge=1, le=MOST_WIDTH)
    latents: int = Field(default=8, ge=1, le=MOST_WIDTH)


class LatticesConfig(Config):
    """Training of the lattices, finest first; ``training.batch_size`` is the crops of each.

    Attributes:
        crop: side of the crops in pixels of the image, of which lattice l sees every 2^l-th.
        every: steps between two updates.
        clip_norm: largest norm of the gradient of one lattice.
        predictor_crops: crops that the linear predictors of each are fitted to at the start.
    """

    crop: tuple[int, ...] = (64, 96, 160)
    every: tuple[int, ...] = (1, 2, 4)
    clip_norm: float = Field(default=1.0, gt=0)
    predictor_crops: int = Field(default=160, ge=1)

    @field_validator("every")
    @classmethod
    def _positive(cls, every: tuple[int, ...]) -> tuple[int, ...]:
        if min(every, default=1) < 1:
            raise ValueError("numbers of steps are 1 or more")
        return every


class BaseConfig(Config):
    """Training of the base, the two-level Bit-Swap model.

    Attributes:
        crop: side of the crops in pixels of the image.
        every: steps between two updates.
        batch_size: crops per update, of all processes together.
        clip_norm: largest norm of the gradient.
    """

    crop: int = Field(default=160, ge=1)
    every: int = Field(default=1, ge=1)
    batch_size: int = Field(default=6, ge=1)
    clip_norm: float = Field(default=0.5, gt=0)


class PhotoRates(Config):
    """Learning rates of Adam: a linear rise, a constant peak, half a cosine down to the end.

    A resumed run with another ``training.duration`` goes on at the rates of that duration.

    Attributes:
        lattices, base: peaks.
        warm_up: steps of the rise.
        constant: share of the duration after which rates fall.
        floor: lowest rate as a share of the peak.
    """

    lattices: float = Field(default=2e-3, gt=0)
    base: float = Field(default=1e-3, gt=0)
    warm_up: int = Field(default=200, ge=1)
    constant: float = Field(default=0.3, ge=0, lt=1)
    floor: float = Field(default=1e-3, ge=0, le=1)


class PhotoConfig(Config):
    """Everything that decides a training run of ``bitswap-photo``.

    Attributes:
        family: which family a recipe is of.
        data: what to train and to evaluate on.
        model: sizes of its networks.
        initial: model to start from: a model file, a run directory or a checkpoint. None starts
            from random weights and fitted predictors.
        lattices, base: their training.
        learning_rate: of both.
        training: the loop. Durations are in steps, and gradients are limited per level.
    """

    family: Literal["bitswap-photo"] = "bitswap-photo"
    data: PhotoDataConfig = PhotoDataConfig()
    model: PhotoModelConfig = PhotoModelConfig()
    initial: str | None = None
    lattices: LatticesConfig = LatticesConfig()
    base: BaseConfig = BaseConfig()
    learning_rate: PhotoRates = PhotoRates()
    training: FitConfig = FitConfig(
        duration=10_000,
        batch_size=4,
        seed=0,
        clip_norm=None,
        ema=EmaConfig(decay=0.999, warm_up=True),
        evaluate_every=1000,
        checkpoint_every=200,
        keep_checkpoints=2,
    )

    @field_validator("lattices")
    @classmethod
    def _fit_the_model(cls, lattices: LatticesConfig, info: ValidationInfo) -> LatticesConfig:
        model = info.data.get("model")
        if model is None:  # it is faulty itself
            return lattices
        levels = len(model.widths)
        for name, values in (("crop", lattices.crop), ("every", lattices.every)):
            if len(values) != levels:
                raise ValueError(f"{name} has {len(values)} numbers for {levels} lattices")
        for level, side in enumerate(lattices.crop):
            _check_crop(f"crop of lattice {level}", side, 2 << level)
        return lattices

    @field_validator("base")
    @classmethod
    def _fit_the_levels(cls, base: BaseConfig, info: ValidationInfo) -> BaseConfig:
        model = info.data.get("model")
        if model is not None:
            _check_crop("crop", base.crop, _BASE_MULTIPLE << len(model.widths))
        return base

    @field_validator("training")
    @classmethod
    def _suit_the_levels(cls, training: FitConfig) -> FitConfig:
        if training.clip_norm is not None:
            raise ValueError("clip_norm is set per level: lattices.clip_norm, base.clip_norm")
        if training.precision != "32-true":
            raise ValueError("precision is 32-true: grey levels need float32")
        for name in ("duration", "log_every", "evaluate_every", "checkpoint_every"):
            if (value := getattr(training, name)) is not None:
                try:
                    duration_steps(value, None)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
        return training


def _check_crop(what: str, side: int, multiple: int) -> None:
    if side < multiple or side % multiple:
        raise ValueError(f"{what}: {side} pixels are no multiple of {multiple}")

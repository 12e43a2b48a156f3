"""Configuration of models, diffusion and training: what recipes and ``--set`` are checked against.

The names of the original's keys stand in the documentation's table beside these.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from nc_core.config import Config
from nc_core.training.settings import FitConfig

__all__ = [
    "DataConfig",
    "DiffusionConfig",
    "ModelConfig",
    "OptimizerConfig",
    "TrainConfig",
]


def _spelt(spacing: Any) -> Any:
    """A spacing that YAML read as a number or a list, as the text that was meant."""
    if isinstance(spacing, list | tuple):
        return ",".join(map(str, spacing))
    return str(spacing) if type(spacing) is int else spacing


Spacing = Annotated[str, BeforeValidator(_spelt)]
"""Steps of a chain, see :func:`nc_diffusion_bb.respacing.chosen_steps`."""

Rate = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(Config):
    """Names of datasets, as ``--dataset`` takes them.

    Images come in the model's size; see :mod:`nc_diffusion_bb.data`.

    Attributes:
        train: images to train on.
        test: images for evaluation.
    """

    train: str = "cifar10:train"
    test: str = "cifar10:test"


class ModelConfig(Config):
    """Shape of the network; see :class:`nc_diffusion_bb.unet.Architecture`.

    Attributes:
        channels: of the images.
        image_size: height and width of the images.
        width: base channels (the original's ``num_channels``); a multiple of 32.
        multipliers: channels of each level over ``width``; None for those that the original has
            for images of 32, 64 and 256.
        blocks: residual blocks per level (``num_res_blocks``).
        attention: image sizes at which there is attention (``attention_resolutions``).
        heads: of every attention (``num_heads``).
        heads_upsample: of attention on the way up; -1 for as many.
        scale_shift: the time scales and shifts what it conditions (``use_scale_shift_norm``).
        dropout: probability inside residual blocks.
        classes: number of classes that the model is told of; None for none.
        resample_convolution: levels are joined by convolutions.
        gradient_checkpointing: blocks compute their forward pass again in the backward pass.
    """

    channels: int = Field(default=3, ge=1, le=4)
    image_size: int = Field(default=32, ge=4, le=1024)
    width: int = Field(default=128, ge=32, le=1024, multiple_of=32)
    multipliers: tuple[int, ...] | None = None
    blocks: int = Field(default=3, ge=1, le=16)
    attention: tuple[int, ...] = (16, 8)
    heads: int = Field(default=4, ge=1, le=64)
    heads_upsample: int = Field(default=-1, ge=-1, le=64)
    scale_shift: bool = True
    dropout: float = Field(default=0.0, ge=0, lt=1)
    classes: int | None = Field(default=None, ge=1, le=100_000)
    resample_convolution: bool = True
    gradient_checkpointing: bool = False


class DiffusionConfig(Config):
    """The noising process, what the network predicts, and which loss trains it.

    Attributes:
        steps: of the full chain.
        noise_schedule: how fast noise grows.
        respacing: steps of the chain that is trained; empty for all.
        learn_sigma: the network says the variance too, between two bounds.
        sigma_small: with a fixed variance: the smaller bound instead of the larger.
        predict_xstart: the network predicts the image, not the noise.
        rescale_timesteps: the network is told times from 0 to 1000.
        use_kl: train with the variational bound.
        rescale_learned_sigmas: otherwise: squared error, and the bound for the variance alone,
            weighted by steps / 1000 (hybrid loss).
        rescale_kl: multiply the bound's terms by the number of steps.
    """

    steps: int = Field(default=4000, ge=1, le=100_000)
    noise_schedule: Literal["cosine", "linear"] = "cosine"
    respacing: Spacing = ""
    learn_sigma: bool = True
    sigma_small: bool = False
    predict_xstart: bool = False
    rescale_timesteps: bool = True
    use_kl: bool = True
    rescale_learned_sigmas: bool = True
    rescale_kl: bool = True


class OptimizerConfig(Config):
    """AdamW, and what surrounds it.

    Attributes:
        learning_rate: at the first step.
        anneal_steps: steps over which the rate falls linearly to 0; 0 for a constant rate.
        weight_decay: of AdamW.
        microbatch: images whose gradients are taken at once; 0 for the whole batch. Gradients of
            microbatches add up, as in the original.
        ema_rates: of the averages of parameters. Those of the first are evaluated and become the
            run's model; those of each other become ``model-RATE.safetensors`` beside it.
        sampler: how steps of the chain are drawn.
        half_precision: convolutions of the network compute in 16 bits.
        loss_scale_growth: of float16's loss scale, in octaves per good step.
    """

    learning_rate: float = Field(default=1e-4, gt=0)
    anneal_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    microbatch: int = Field(default=0, ge=0)
    ema_rates: tuple[Rate, ...] = (0.9999,)
    sampler: Literal["uniform", "loss-second-moment"] = "loss-second-moment"
    half_precision: Literal["none", "float16", "bfloat16"] = "none"
    loss_scale_growth: float = Field(default=1e-3, ge=0)


class TrainConfig(Config):
    """Everything that decides a training run.

    Attributes:
        data: what to train and to evaluate on.
        model: the network.
        diffusion: the chain and the loss.
        optimizer: how the loss is minimised.
        evaluation_images: images whose bound is evaluated during training.
        evaluation_respacing: steps of the chain for that.
        training: the loop.
        initial: model whose weights training starts from (``--initial``); None for random ones.
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    evaluation_images: int = Field(default=64, ge=1)
    evaluation_respacing: Spacing = "vlb100"
    training: FitConfig = FitConfig(
        duration="500000 steps",
        batch_size=128,
        seed=0,
        clip_norm=None,
        ema=None,
        log_every=10,
        evaluate_every="10000 steps",
        checkpoint_every="10000 steps",
        keep_checkpoints=2,
    )
    initial: str | None = None

"""Configuration of the upper bound: data, model, objective and training."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from nc_core.config import Config
from nc_core.errors import DataError, UsageError
from nc_core.lookup import did_you_mean
from nc_core.training.settings import FitConfig
from nc_rd_bounds.config import DataConfig, ElementwiseActivation, Width

__all__ = ["Activation", "ModelConfig", "UpperConfig"]

Activation = Literal[
    "none", "relu", "relu6", "leaky_relu", "softplus", "softsign", "tanh", "sigmoid", "selu",
    "elu", "silu", "gelu", "gdn", "igdn",
]  # fmt: skip

_MIXTURE = re.compile(r"[gl][ms]m_([1-9]\d{0,3})")
_WITHOUT_INTERVALS = ("maf", "std_gaussian")
_PRIORS = ("deep", *_WITHOUT_INTERVALS, "gmm_1", "gsm_2", "lmm_2", "lsm_2")


def _check_prior(name: str) -> str:
    if name not in ("deep", *_WITHOUT_INTERVALS) and not _MIXTURE.fullmatch(name):
        raise ValueError(
            f"no prior '{name}'{did_you_mean(name, _PRIORS)}; known: deep, maf, std_gaussian, and "
            "gmm_K, gsm_K, lmm_K, lsm_K with K components"
        )
    return name


PriorName = Annotated[str, AfterValidator(_check_prior)]


class ModelConfig(Config):
    """Shape of a beta-VAE for vectors.

    Attributes:
        dims: numbers per vector; None: as many as the data have.
        latents: dimensions of the latent; None: as many as ``dims``.
        encoder_units, decoder_units: widths of hidden layers; empty for one affine layer.
            ``decoder_units`` None: no decoder, the latent is the reconstruction.
        encoder_activation, decoder_activation: of hidden layers.
        posterior: of the latent: diagonal ``gaussian``, ``iaf`` (flows after it), or ``uniform``
            of width 1 around the encoder's output (nonlinear transform coding).
        prior: of the latent: ``deep`` (factorised, learned), ``maf`` (flow), ``std_gaussian``, or
            a mixture of K per dimension: ``gmm_K`` of normal, ``lmm_K`` of logistic components;
            ``gsm_K`` and ``lsm_K`` with all locations 0.
        flow_units, flow_activation: of every MADE of flows; the paper's default is linear.
        maf_stacks: flow layers of the prior ``maf``.
        iaf_stacks: flow layers of the posterior ``iaf``.
        standardise: networks see the data less their mean, over their deviation, per dimension,
            both measured before the first step. The paper does not, but data of any scale then
            train alike.
    """

    dims: Width | None = None
    latents: Width | None = None
    encoder_units: tuple[Width, ...] = ()
    decoder_units: tuple[Width, ...] | None = ()
    encoder_activation: Activation = "softplus"
    decoder_activation: Activation = "softplus"
    posterior: Literal["gaussian", "iaf", "uniform"] = "gaussian"
    prior: PriorName = "deep"
    flow_units: tuple[Width, ...] = (10, 10)
    flow_activation: ElementwiseActivation = "none"
    maf_stacks: int = Field(default=0, ge=0, le=100)
    iaf_stacks: int = Field(default=0, ge=0, le=100)
    standardise: bool = False

    @field_validator("prior")
    @classmethod
    def _has_intervals(cls, prior: str, info: ValidationInfo) -> str:
        if info.data.get("posterior") == "uniform" and prior in _WITHOUT_INTERVALS:
            raise ValueError(
                "it has no probabilities of intervals, which a uniform posterior needs; choose "
                "deep, gmm_K, gsm_K, lmm_K or lsm_K"
            )
        return prior

    @field_validator("encoder_activation", "decoder_activation")
    @classmethod
    def _fits_all_layers(cls, activation: str, info: ValidationInfo) -> str:
        units = info.data.get(f"{str(info.field_name).split('_')[0]}_units") or ()
        if activation in ("gdn", "igdn") and len(set(units)) > 1:
            raise ValueError(
                "all hidden layers share one, so their widths must be equal, not "
                + ", ".join(map(str, units))
            )
        return activation

    def resolved(self, dims: int, data: str) -> ModelConfig:
        """The same shape with the sizes that depend on the data.

        Args:
            dims: numbers per vector of the data.
            data: their name, for messages.

        Raises:
            DataError: the model is of other data.
            UsageError: a latent of another size without a decoder.
        """
        if self.dims not in (None, dims):
            raise DataError(f"{data}: vectors of {dims} numbers; the model takes {self.dims}")
        latents = self.latents or dims
        if self.decoder_units is None and latents != dims:
            raise UsageError(
                f"model.latents: without a decoder there are {dims} latents, as many as numbers "
                f"per vector, not {latents}",
                "--set model.latents=null",
            )
        return self.model_copy(update={"dims": dims, "latents": latents})


class UpperConfig(Config):
    """Everything that decides a training run.

    Attributes:
        data: what to train and to evaluate on.
        model: its shape.
        lamb: lambda, the weight of the mean squared error against the rate in its unit.
        unit: of the rate.
        per_dimension: rate per dimension of the data instead of per vector.
        learning_rate: of Adam at the start; 0.2, 0.04 and 0.008 of it from 1/2, 3/4 and 7/8 of
            the run on.
        validation_batches: batches of evaluation data at each evaluation, always the same.
        training: the loop.
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    lamb: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    unit: Literal["nats", "bits"] = "nats"
    per_dimension: bool = False
    learning_rate: float = Field(default=5e-4, gt=0, allow_inf_nan=False)
    validation_batches: int = Field(default=10, ge=1)
    training: FitConfig = FitConfig(
        duration=100_000,
        batch_size=1024,
        seed=0,
        clip_norm=None,
        log_every=1000,
        evaluate_every=1000,
        checkpoint_every=1000,
        keep_checkpoints=2,
    )

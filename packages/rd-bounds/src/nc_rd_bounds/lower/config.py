"""Configuration of the lower bound: data, network, inner maximisation and training."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nc_core.config import Config
from nc_core.training.settings import FitConfig
from nc_rd_bounds.config import DataConfig, ElementwiseActivation, Width

__all__ = ["AnnealConfig", "ClimbConfig", "EvaluationConfig", "LowerConfig", "NetworkConfig"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class NetworkConfig(Config):
    """The network ``log u``.

    Attributes:
        kind: ``mlp`` for vectors, ``cnn`` for images.
        units: widths of hidden layers; of a CNN channels of the convolutions come first.
        kernels: sides of a CNN's kernels; its convolutions have stride 2.
        activation: after each of them.
    """

    kind: Literal["mlp", "cnn"] = "mlp"
    units: tuple[Width, ...] = (200, 200, 200)
    kernels: tuple[Annotated[int, Field(ge=1, le=99)], ...] = ()
    activation: ElementwiseActivation = "selu"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "mlp" and self.kernels:
            raise ValueError("kernels are a CNN's: set network.kind=cnn, or leave them out")
        if self.kind == "cnn" and not 0 < len(self.kernels) <= len(self.units):
            raise ValueError("a CNN needs kernels, and at least as many units")
        return self


class ClimbConfig(Config):
    """The inner maximisation; see :class:`nc_rd_bounds.lower.climb.Search`.

    Attributes:
        start: from the best samples (``quick``) or from all (``exhaustive``).
        topn: how many, if quick.
        steps: most steps of a climb.
        lr: step size of Adam, in units of the data; of their mean deviation if they are
            standardised.
        tol: where a climb ends, in nats.
        chunk: climbs at once; None for what suits the memory.
    """

    start: Literal["quick", "exhaustive"] = "quick"
    topn: int = Field(default=10, ge=1)
    steps: int = Field(default=1000, ge=0)
    lr: Positive = 1e-2
    tol: float = Field(default=1e-6, ge=0, allow_inf_nan=False)
    chunk: int | None = Field(default=None, ge=1)


class AnnealConfig(Config):
    """Growth of lambda from the first target to the last.

    Attributes:
        targets: a model is kept when lambda reaches one of them.
        ready: steps at the start and at the end with constant lambda.
    """

    targets: tuple[Positive, ...] = Field(min_length=2)
    ready: int = Field(default=50, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(low >= high for low, high in pairwise(self.targets)):
            raise ValueError("targets must increase")
        return self


class EvaluationConfig(Config):
    """How the bound of a trained network is measured.

    Attributes:
        k: samples of a minibatch; None: as in training. The more, the tighter the bound.
        minibatches: M, samples of xi per seed; twice as many minibatches are drawn.
        refine: go on from the highest ends of climbs by mean shift.
        temper: raise u to the power that is best on training data; see
            :mod:`nc_rd_bounds.lower.temper`.
    """

    k: int | None = Field(default=None, ge=1)
    minibatches: int = Field(default=15, ge=1)
    refine: bool = False
    temper: bool = False


class LowerConfig(Config):
    """Everything that decides a training run.

    Attributes:
        data: what to train and to evaluate on.
        lamb: lambda, in nats per vector and unit of mean squared error.
        anneal: how lambda grows instead; None: it does not.
        network: its shape.
        standardise: the network sees vectors less their mean, over their deviation, per dimension,
            and climbs step in units of the mean deviation; for data of any scale.
        climb: the inner maximisation.
        minibatches: M, of ``training.batch_size`` samples each, in one step.
        learning_rate: of Adam at the start.
        decay: 0.2, 0.04 and 0.008 of it from 1/2, 3/4 and 7/8 of the run on.
        beta: weight of history in the moving average of alpha.
        max_delta: most that the estimate of log E[C_k] changes in a step, in nats.
        evaluation: of the trained network.
        initial: model file or run directory whose weights to start from; None: random ones.
        training: the loop; ``batch_size`` is k.
    """

    data: DataConfig = DataConfig()
    lamb: Positive = 1.0
    anneal: AnnealConfig | None = None
    network: NetworkConfig = NetworkConfig()
    standardise: bool = False
    climb: ClimbConfig = ClimbConfig()
    minibatches: int = Field(default=2, ge=1)
    learning_rate: Positive = 1e-4
    decay: bool = False
    beta: float = Field(default=0.2, ge=0, lt=1)
    max_delta: Positive = 1.0
    evaluation: EvaluationConfig = EvaluationConfig()
    initial: str | None = None
    training: FitConfig = FitConfig(
        duration=10_000,
        batch_size=1024,
        seed=0,
        clip_norm=100.0,
        log_every=1,
        evaluate_every=None,
        checkpoint_every=500,
        keep_checkpoints=2,
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.standardise and self.network.kind != "mlp":
            raise ValueError("only vectors are standardised: set standardise=false for a CNN")
        return self

"""Training of beta-VAEs: the task that the loop of core runs, and what a run leaves.

Metrics, ``train`` or ``evaluate`` being the record's phase, are ``loss``, ``rate`` and ``mse`` in
the units of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from nc_core.runs import RunDirectory
from nc_core.training import (
    FitResult,
    Hardware,
    TrainingData,
    current_shard,
    drawn_alike,
    fit,
    seeded,
    sum_over_processes,
)
from nc_core.training.meters import widest_float
from nc_core.training.schedule import Schedule
from nc_core.training.task import Metrics, Task
from nc_rd_bounds.adam import Adam
from nc_rd_bounds.rows import flat_rows
from nc_rd_bounds.schedule import decayed
from nc_rd_bounds.sources.vectors import Source, chosen_rows
from nc_rd_bounds.upper.config import UpperConfig
from nc_rd_bounds.upper.model import Objective, VectorVae
from nc_rd_bounds.upper.release import write_model

__all__ = ["UpperTask", "build_model", "last_step", "train"]

_NAMES = ("loss", "rate", "mse")
_MEASURED_BATCHES = 20


def build_model(config: UpperConfig, source: Source) -> VectorVae:
    """A new model for vectors of a source, with weights that the configuration's seed decides.

    Raises:
        DataError, UsageError: the configuration is for other vectors.
    """
    resolved = config.model.resolved(source.dims, source.name)
    with seeded(config.training.seed):
        return VectorVae(resolved)


def last_step(config: UpperConfig, training: Source) -> int:
    """How many steps a training run has.

    Raises:
        UsageError: a duration in epochs of a source without end.
    """
    length = training.length
    epoch = None if length is None else length // config.training.batch_size
    return Schedule.of(config.training, epoch).last


class UpperTask(Task):
    """Minimises rate + lambda * distortion at one draw of the latents.

    Args:
        config: of the run.
        model: to train.
        evaluation: where validation batches come from, always the same.
    """

    def __init__(self, config: UpperConfig, model: VectorVae, evaluation: Source) -> None:
        self.module = model
        self._config, self._model = config, model
        self._objective = Objective.of(config, model.dims)
        count = config.validation_batches * config.training.batch_size
        self._validation = flat_rows(evaluation, chosen_rows(evaluation, count, 0))

    def start(self, batches: Iterator[Tensor]) -> None:
        """Measure what data are standardised by."""
        if self._model.config.standardise:
            self._model.standardise(torch.cat([next(batches) for _ in range(_MEASURED_BATCHES)]))

    def optimizer(self) -> Optimizer:
        """Adam as TensorFlow has it."""
        return Adam(self._model.parameters(), lr=self._config.learning_rate)

    def step(self, batch: Tensor, k: int) -> Mapping[str, Tensor]:
        """Loss, rate and distortion of vectors, (B, n)."""
        shard = current_shard()
        with drawn_alike(self._config.training.seed, k):
            whole = self._noise(len(batch) * shard.world, batch.device)
        noise = whole[shard.rank * len(batch) :][: len(batch)]
        return self._objective(self._model(batch, noise))

    def after_step(self, k: int) -> None:
        """Keep autoregressive networks autoregressive."""
        self._model.apply_masks()

    def evaluate(self) -> Metrics:
        """Means over the validation rows, with new noise each time."""
        device = next(self._model.parameters()).device
        shard = current_shard()
        batches = torch.split(self._validation, self._config.training.batch_size)
        sums = torch.zeros(len(_NAMES), device=device, dtype=widest_float(device))
        for x in batches[shard.rank :: shard.world]:
            found = self._objective(self._model(x.to(device)))
            sums += len(x) * torch.stack([found[name] for name in _NAMES])
        means = sum_over_processes(sums) / len(self._validation)
        return dict(zip(_NAMES, means.tolist(), strict=True))

    def _noise(self, count: int, device: torch.device) -> Tensor:
        return self._model.posterior.noise(count, self._model.latents, device)


def train(
    config: UpperConfig,
    run: RunDirectory,
    training: Source,
    evaluation: Source,
    *,
    hardware: Hardware | None = None,
    loggers: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Train a model; its file in the run directory is replaced at every evaluation.

    As in the original it is the last state that counts, not the best on validation data.

    Args:
        config: of the run.
        run: where everything goes.
        training: what to train on.
        evaluation: rows of the same shape, for validation.
        hardware: what to train on.
        loggers: ``tensorboard``, ``wandb``.
        progress: called with (steps done, steps in all).

    Raises:
        DataError, UsageError: the configuration is for other vectors.
        NcError: as :func:`nc_core.training.fit`; WorkError where the loss is no longer finite.
    """
    model = build_model(config, training)
    last = last_step(config, training)
    about = {"recipe": run.about.get("recipe"), "evaluation": evaluation.name}

    def export(path: Path) -> None:
        write_model(path, model, config, name=run.model_name(), info=about)

    return fit(
        UpperTask(config, model, evaluation),
        TrainingData(lambda indices, _: flat_rows(training, indices), training.length),
        config.training,
        run,
        hardware=hardware,
        learning_rate=lambda k: decayed(config.learning_rate, k, last),
        export=export,
        loggers=loggers,
        progress=progress,
    )

"""What training of all families has in common: the call of core's loop, and evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_core.runs import RunDirectory
from nc_core.training import (
    FitResult,
    Hardware,
    TrainingData,
    current_shard,
    fit,
    seeded,
    sum_over_processes,
)
from nc_core.training.meters import widest_float
from nc_core.training.settings import FitConfig
from nc_core.training.task import Task, UpdatingTask

if TYPE_CHECKING:
    from nc_bitswap.families import AnyConfig

__all__ = ["Images", "TrainingOptions", "WriteModel", "image_batches", "mean_terms", "train_model"]


class TrainingOptions(TypedDict, total=False):
    """How to train, whatever is trained.

    Attributes:
        hardware: what to train on.
        loggers: ``tensorboard``, ``wandb``.
        progress: called with (steps done, steps in all).
        name: of the model; by default the run directory's.
    """

    hardware: Hardware | None
    loggers: Sequence[str]
    progress: Callable[[int, int], None] | None
    name: str | None


class Images(Protocol):
    """Images as arrays of 8-bit samples."""

    def __len__(self) -> int: ...

    @property
    def count(self) -> int | None:
        """Number of images; None for a sampler without end."""

    def load(
        self, indices: NDArray[np.int64], generator: np.random.Generator | None = None
    ) -> NDArray[np.uint8]:
        """Images with these indices, (n, ...)."""


class WriteModel(Protocol):
    """Writes the model as it is now."""

    def __call__(self, path: Path, *, name: str, info: Mapping[str, Any]) -> object:
        """Write the model file ``path``."""


def image_batches(images: Images) -> TrainingData:
    """Images as batches to train on."""

    def load(indices: NDArray[np.int64], generator: np.random.Generator) -> Tensor:
        return torch.from_numpy(images.load(indices, generator))

    return TrainingData(load, images.count)


def mean_terms(
    images: Images,
    terms_of: Callable[[Tensor], Sequence[Tensor]],
    *,
    count: int,
    settings: FitConfig,
    device: torch.device,
) -> list[float]:
    """Means of some terms over all images, which the processes share among them.

    Args:
        images: to evaluate.
        terms_of: the terms' means over a batch of images, scalars.
        count: of the terms.
        settings: images of a batch, and the seed of the noise.
        device: where batches go.
    """
    size, shard = settings.batch_size, current_shard()
    sums = torch.zeros(count, device=device, dtype=widest_float(device))
    for batch in range(shard.rank, math.ceil(len(images) / size), shard.world):
        indices = np.arange(batch * size, min((batch + 1) * size, len(images)))
        pixels = torch.from_numpy(images.load(indices)).to(device)
        # The noise of an image does not depend on which process evaluates it.
        with seeded(settings.seed, batch):
            terms = terms_of(pixels)
        sums += len(indices) * torch.stack(list(terms)).to(sums.dtype)
    means: list[float] = (sum_over_processes(sums) / len(images)).tolist()
    return means


def train_model(
    config: AnyConfig,
    run: RunDirectory,
    task: Task | UpdatingTask,
    data: TrainingData,
    write: WriteModel,
    *,
    monitor: str | None = None,
    learning_rate: Callable[[int], float] | None = None,
    hardware: Hardware | None = None,
    loggers: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    name: str | None = None,
) -> FitResult:
    """Train a model; its file appears in the run directory.

    Args:
        config: of the run.
        run: where everything goes.
        task: what is trained.
        data: what to train on.
        write: writes the model file.
        monitor: metric whose best evaluations the file is of; None for the last one.
        learning_rate: of step k; None for the optimiser's own.
        hardware: what to train on.
        loggers: ``tensorboard``, ``wandb``.
        progress: called with (steps done, steps in all).
        name: of the model; by default the run directory's.

    Raises:
        NcError: as :func:`nc_core.training.fit`.
    """
    info = {"recipe": run.about.get("recipe"), "data": config.data.train}

    def export(path: Path) -> None:
        write(path, name=name or run.model_name(), info=info)

    return fit(
        task,
        data,
        config.training,
        run,
        hardware=hardware,
        learning_rate=learning_rate,
        monitor=monitor,
        export=export,
        loggers=loggers,
        progress=progress,
    )

"""Training of the VAEs of BB-ANS: the task that the loop of core runs, and what a run leaves.

Metrics are in bits per pixel: ``elbo``, of one draw of the latent for every image, which is the sum
of ``x/reconstruction`` and ``z1/KL``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam, Optimizer

from nc_bitswap.bbans.config import BbansConfig
from nc_bitswap.bbans.data import VaeImages
from nc_bitswap.bbans.model import Architecture, Terms, Vae
from nc_bitswap.bbans.release import CALIBRATION_IMAGES, write_model
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
from nc_core.training.task import Metrics, Task

__all__ = ["BbansTask", "build_model", "train"]

_NAMES = ("elbo", "x/reconstruction", "z1/KL")


def build_model(config: BbansConfig) -> Vae:
    """A new VAE, with weights that the configuration's seed decides."""
    with seeded(config.training.seed):
        return Vae(Architecture(**config.model.to_json()))


class BbansTask(Task):
    """Minimises the negative ELBO at one draw of the latents.

    Args:
        config: of the run.
        vae: to train.
        test: images for evaluation.
    """

    def __init__(self, config: BbansConfig, vae: Vae, test: VaeImages) -> None:
        self.module = vae
        self._config, self._vae, self._test = config, vae, test

    def optimizer(self) -> Optimizer:
        """Adam."""
        return Adam(self._vae.parameters(), lr=self._config.learning_rate)

    def step(self, batch: Tensor, k: int) -> Mapping[str, Tensor]:
        """The loss of a batch, uint8 (B, dims), in bits per pixel, and its terms."""
        shard = current_shard()
        with drawn_alike(self._config.training.seed, k):
            whole = self._noise(len(batch) * shard.world, batch.device)
        terms = self._vae(batch, whole[shard.rank * len(batch) :][: len(batch)])
        loss = terms.information.mean() / self._vae.architecture.dims
        return {"loss": loss, **dict(zip(_NAMES, self._means(terms), strict=True))}

    def evaluate(self) -> Metrics:
        """Means over all test images."""
        size, shard = self._config.training.batch_size, current_shard()
        device = next(self._vae.parameters()).device
        sums = torch.zeros(len(_NAMES), device=device, dtype=widest_float(device))
        for batch in range(shard.rank, math.ceil(len(self._test) / size), shard.world):
            indices = np.arange(batch * size, min((batch + 1) * size, len(self._test)))
            pixels = torch.from_numpy(self._test.load(indices)).to(device)
            # The noise of an image does not depend on which process evaluates it.
            with seeded(self._config.training.seed, batch):
                terms = self._vae(pixels, self._noise(len(indices), device))
            sums += len(indices) * torch.stack(self._means(terms)).to(sums.dtype)
        means = sum_over_processes(sums) / len(self._test)
        return dict(zip(_NAMES, means.tolist(), strict=True))

    def _noise(self, count: int, device: torch.device) -> Tensor:
        return torch.randn((count, self._vae.architecture.latents), device=device)

    def _means(self, terms: Terms) -> list[Tensor]:
        parts = (terms.information, terms.reconstruction, terms.divergence)
        return [bits.detach().mean() / self._vae.architecture.dims for bits in parts]


def train(
    config: BbansConfig,
    run: RunDirectory,
    train_images: VaeImages,
    test_images: VaeImages,
    *,
    hardware: Hardware | None = None,
    loggers: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    name: str | None = None,
) -> FitResult:
    """Train a VAE; its file in the run directory is replaced at every evaluation.

    As in the original it is the last state that counts, not the best on the test images.

    Args:
        config: of the run.
        run: where everything goes.
        train_images: what to train on.
        test_images: for evaluation.
        hardware: what to train on.
        loggers: ``tensorboard``, ``wandb``.
        progress: called with (steps done, steps in all).
        name: of the model; by default the run directory's.

    Raises:
        NcError: as :func:`nc_core.training.fit`.
    """
    vae = build_model(config)

    def load(indices: NDArray[np.int64], generator: np.random.Generator) -> Tensor:
        return torch.from_numpy(train_images.load(indices, generator))

    def export(path: Path) -> None:
        write_model(
            path,
            vae,
            train_images.first(CALIBRATION_IMAGES),
            bin_bits=config.bins,
            name=name or run.path.name,
            info=_info(config, run),
        )

    return fit(
        BbansTask(config, vae, test_images),
        TrainingData(load, train_images.count),
        config.training,
        run,
        hardware=hardware,
        export=export,
        loggers=loggers,
        progress=progress,
    )


def _info(config: BbansConfig, run: RunDirectory) -> dict[str, Any]:
    return {"recipe": run.about.get("recipe"), "data": config.data.train}

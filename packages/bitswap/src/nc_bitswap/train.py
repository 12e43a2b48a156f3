"""Training: the task that the loop of core runs, and what a finished run leaves.

Metrics have the original's names, ``train`` or ``evaluate`` being the record's phase, and are
in bits per dimension of the model's (padded) images: ``elbo``; ``x/reconstruction``; for each
level ``z1/encoder``, ``z1/decoder`` and their difference ``z1/KL``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam, Optimizer

from nc_bitswap.config import BitswapConfig, RateSchedule
from nc_bitswap.data import ModelImages
from nc_bitswap.discretization import find_bins
from nc_bitswap.layers import data_dependent_init
from nc_bitswap.model import Architecture, HierarchicalVAE, LossTerms
from nc_bitswap.release import write_model
from nc_bitswap.training import TrainingOptions, image_batches, mean_terms, train_model
from nc_core.runs import RunDirectory
from nc_core.sheets import image_sheet
from nc_core.training import FitResult, current_shard, drawn_alike, seeded
from nc_core.training.task import Metrics, Task

__all__ = ["BitswapTask", "build_model", "learning_rate", "train"]

MONITOR = "elbo"
_SAMPLES = 64
_RECONSTRUCTED = 32

_log = logging.getLogger(__name__)


def build_model(config: BitswapConfig) -> HierarchicalVAE:
    """A new model, with weights that the configuration's seed decides."""
    names = {field.name for field in fields(Architecture)}
    shape = {key: value for key, value in config.model.to_json().items() if key in names}
    with seeded(config.training.seed):
        return HierarchicalVAE(Architecture(**shape), config.model.dropout)


def learning_rate(schedule: RateSchedule) -> Callable[[int], float]:
    """The rate of step k = 0, 1, ...: decayed before each step, until it is not above the floor."""
    most = 0
    if schedule.decay < 1 and schedule.start > schedule.floor:
        most = (
            math.ceil(math.log(schedule.floor / schedule.start) / math.log(schedule.decay))
            if schedule.floor > 0
            else 1 << 62
        )

    def rate(k: int) -> float:
        return schedule.start * schedule.decay ** min(max(k + 1 - schedule.delay, 0), most)

    return rate


class BitswapTask(Task):
    """Minimises the negative ELBO, with some bits per level and channel free.

    Args:
        config: of the run.
        model: to train.
        test: images for evaluation.
    """

    def __init__(self, config: BitswapConfig, model: HierarchicalVAE, test: ModelImages) -> None:
        self.module = model
        self._config, self._model, self._test = config, model, test
        self._dims = model.architecture.dims

    def start(self, batches: Iterator[Tensor]) -> None:
        """Initialise every convolution from some batches, all in one pass."""
        first = torch.cat([next(batches) for _ in range(self._config.warm_up_batches)])
        with data_dependent_init(self._model):
            terms = self._model(first)
        bits = float(terms.information().mean()) / self._dims
        _log.info("initialised from %d images: %.4f bits per dimension", len(first), bits)

    def optimizer(self) -> Optimizer:
        """Adam."""
        return Adam(self._model.parameters(), lr=self._config.learning_rate.start)

    def step(self, batch: Tensor, k: int) -> Mapping[str, Tensor]:
        """The loss of a batch, uint8 (B, C, H, W), in bits per dimension, and its terms."""
        terms = self._model(batch, self._noise(len(batch), k, batch.device))
        loss = terms.objective(self._config.free_bits) / self._dims
        return {"loss": loss, **self._metrics(terms)}

    def evaluate(self) -> Metrics:
        """Means over all test images, samples and reconstructions."""
        device = next(self._model.parameters()).device
        names = self._metric_names()
        means = mean_terms(
            self._test,
            lambda images: list(self._metrics(self._model(images)).values()),
            count=len(names),
            settings=self._config.training,
            device=device,
        )
        return {**dict(zip(names, means, strict=True)), **self._sheets(device)}

    def _noise(self, count: int, k: int, device: torch.device) -> list[Tensor]:
        """The part of this process of the noise for the batch of all processes."""
        shard = current_shard()
        with drawn_alike(self._config.training.seed, k):
            whole = self._model.noise(count * shard.world, device)
        return [level[shard.rank * count :][:count] for level in whole]

    def _metric_names(self) -> list[str]:
        levels = range(1, self._model.architecture.levels + 1)
        parts = ("encoder", "decoder", "KL")
        return [
            "elbo", "x/reconstruction", *(f"z{level}/{part}" for level in levels for part in parts)
        ]  # fmt: skip

    def _metrics(self, terms: LossTerms) -> dict[str, Tensor]:
        """Means over a batch, in bits per dimension, by name."""
        encoder, decoder = terms.encoder.sum(dim=2), terms.decoder.sum(dim=2)
        values = [terms.information(), -terms.reconstruction]
        for level in range(self._model.architecture.levels):
            of_level = encoder[:, level], decoder[:, level]
            values += [*of_level, of_level[0] - of_level[1]]
        means = [bits.detach().mean() / self._dims for bits in values]
        return dict(zip(self._metric_names(), means, strict=True))

    def _sheets(self, device: torch.device) -> dict[str, NDArray[np.uint8]]:
        samples = self._model.sample(_SAMPLES).cpu().numpy()
        originals = self._test.first(_RECONSTRUCTED)
        copies = self._model.reconstruct(torch.from_numpy(originals).to(device)).cpu().numpy()
        pairs = np.stack([originals, copies], axis=1).reshape(-1, *originals.shape[1:])
        return {"x_sample": image_sheet(samples), "x_reconstruct": image_sheet(pairs)}


def train(
    config: BitswapConfig,
    run: RunDirectory,
    train_images: ModelImages,
    test_images: ModelImages,
    **options: Unpack[TrainingOptions],
) -> FitResult:
    """Train a model; its file appears in the run directory at every best evaluation.

    Args:
        config: of the run.
        run: where everything goes.
        train_images: what to train on, of the model's shape.
        test_images: for evaluation.
        **options: how to train.

    Raises:
        NcError: as :func:`nc_core.training.fit`.
    """
    model = build_model(config)

    def write(path: Path, **about: Any) -> None:
        bins = config.bins
        generator = torch.Generator(next(model.parameters()).device)
        generator.manual_seed(config.training.seed)
        latent_bins = find_bins(
            model,
            train_images.first(bins.samples_per_bin << bins.bits),
            bins.bits,
            strategy=bins.strategy,
            generator=generator,
            samples_per_bin=bins.samples_per_bin,
        )
        write_model(
            path,
            model,
            latent_bins,
            train_images.first(64),
            padding=config.model.padding,
            **about,
        )

    return train_model(
        config,
        run,
        BitswapTask(config, model, test_images),
        image_batches(train_images),
        write,
        monitor=MONITOR,
        learning_rate=learning_rate(config.learning_rate),
        **options,
    )

"""Training of the VAEs of BB-ANS: the task that the loop of core runs, and what a run leaves.

Metrics are in bits per pixel: ``elbo``, of one draw of the latent for every image, which is the sum
of ``x/reconstruction`` and ``z1/KL``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from nc_bitswap.bbans.config import BbansConfig
from nc_bitswap.bbans.data import VaeImages
from nc_bitswap.bbans.model import Architecture, Terms, Vae
from nc_bitswap.bbans.release import CALIBRATION_IMAGES, write_model
from nc_bitswap.training import TrainingOptions, image_batches, mean_terms, train_model
from nc_core.runs import RunDirectory
from nc_core.training import FitResult, current_shard, drawn_alike, seeded
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
        device = next(self._vae.parameters()).device

        def terms_of(pixels: Tensor) -> list[Tensor]:
            return self._means(self._vae(pixels, self._noise(len(pixels), device)))

        settings = self._config.training
        means = mean_terms(
            self._test, terms_of, count=len(_NAMES), settings=settings, device=device
        )
        return dict(zip(_NAMES, means, strict=True))

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
    **options: Unpack[TrainingOptions],
) -> FitResult:
    """Train a VAE; its file in the run directory is replaced at every evaluation.

    As in the original it is the last state that counts, not the best on the test images.

    Args:
        config: of the run.
        run: where everything goes.
        train_images: what to train on.
        test_images: for evaluation.
        **options: how to train.

    Raises:
        NcError: as :func:`nc_core.training.fit`.
    """
    vae = build_model(config)

    def write(path: Path, **about: Any) -> None:
        images = train_images.first(CALIBRATION_IMAGES)
        write_model(path, vae, images, bin_bits=config.bins, **about)

    task, data = BbansTask(config, vae, test_images), image_batches(train_images)
    return train_model(config, run, task, data, write, **options)

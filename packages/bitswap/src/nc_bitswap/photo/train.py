"""Training of ``bitswap-photo``: the task that the loop of core runs, and what a run leaves.

Metrics are in bits per sample of the image (three samples a pixel): those of ``lattice0``,
``lattice1``, ... and of the ``base`` add up to ``elbo`` in evaluations, and to ``loss`` in
training, on crops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from nc_bitswap.photo.config import PhotoConfig, PhotoRates
from nc_bitswap.photo.data import Photographs, random_planes
from nc_bitswap.photo.evaluate import level_bits
from nc_bitswap.photo.levels import Level, Levels, levels_of
from nc_bitswap.photo.model import PhotoModel
from nc_bitswap.photo.predictors import (
    fit_in_integers,
    fit_predictors,
    predictors,
    round_predictors,
)
from nc_bitswap.photo.release import architecture_of, crops, initial_model, write_model
from nc_bitswap.training import TrainingOptions, train_model
from nc_core.errors import UsageError
from nc_core.runs import RunDirectory
from nc_core.training import FitResult, TrainingData, seeded
from nc_core.training.randomness import Purpose, philox
from nc_core.training.settings import duration_steps
from nc_core.training.task import Metrics, UpdatingTask

__all__ = ["PhotoTask", "build_model", "rate_factor", "train", "training_data"]

MONITOR = "elbo"


def build_model(config: PhotoConfig) -> PhotoModel:
    """A new model, with weights that the configuration's seed decides; its predictors are fixed."""
    with seeded(config.training.seed):
        model = PhotoModel(architecture_of(config.model.to_json()))
    for layer in predictors(model):
        layer.requires_grad_(False)
    return model


def rate_factor(rates: PhotoRates, steps: int) -> Callable[[int], float]:
    """What the peaks of the rates are multiplied with at step k = 0, 1, ... of so many."""
    constant = rates.constant * steps

    def factor(k: int) -> float:
        rise = min(1.0, (k + 1) / rates.warm_up)
        fall = min(max(k - constant, 0) / (steps - constant), 1.0)
        return rise * (rates.floor + (1 - rates.floor) * (1 + math.cos(math.pi * fall)) / 2)

    return factor


def training_data(config: PhotoConfig, photographs: Photographs) -> TrainingData:
    """Planes of random crops by level, of those levels that a step updates."""
    levels, size = levels_of(config), config.training.batch_size

    def load(indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        step, world = int(indices[0]) // size, size // len(indices)
        return {
            level.name: random_planes(
                photographs, _part(level, world), level.crop, level.stride, generator
            ).contiguous(memory_format=torch.channels_last)
            for level in levels
            if level.is_due(step)
        }

    return TrainingData(load)


class PhotoTask(UpdatingTask):
    """Minimises the bits of every level, each by its own optimiser.

    Args:
        config: of the run.
        model: to train.
        photographs: to fit linear predictors to.
        test: photographs for evaluation.
    """

    def __init__(
        self, config: PhotoConfig, model: PhotoModel, photographs: Photographs, test: Photographs
    ) -> None:
        self.module = model
        self._config, self._model = config, model
        self._photographs, self._test = photographs, test
        steps = duration_steps(config.training.duration, None)
        self._factor = rate_factor(config.learning_rate, steps)

    def start(self, batches: Iterator[Any]) -> None:
        """Take the initial model's weights, or fit the linear predictors of every lattice."""
        initial = self._config.initial
        if initial is not None:
            self._model.load_state_dict(self._checked(initial_model(initial)).state_dict())
        else:
            self._fit_predictors()
        # Training sees the predictors that the model file holds.
        round_predictors(self._model)
        if not fit_in_integers(self._model):
            raise UsageError(
                "linear predictors are too large for integers: they saw too few pixels",
                "--set lattices.predictor_crops=1000 fits them to more",
            )

    def setup(self, fabric: Fabric) -> None:
        """Give every level its optimiser."""
        self._fabric = fabric
        self._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._levels = Levels(self._model, levels_of(self._config), fabric)

    def update(self, batch: dict[str, Tensor], k: int) -> Mapping[str, Tensor]:
        """Update the levels whose turn it is."""
        factor = self._factor(k)
        rate = torch.tensor(self._config.learning_rate.lattices * factor)
        return self._levels.update(batch, factor) | {"learning_rate": rate}

    def evaluate(self) -> Metrics:
        """Bits per sample of the test photographs, in all and of each level."""
        limit = min(self._config.data.test_limit, len(self._test))
        pictures = (self._test.picture(index) for index in range(limit))
        bits = level_bits(self._model, pictures, self._test.name, self._fabric)
        names = [level.name for level in levels_of(self._config)]
        return {MONITOR: sum(bits), **dict(zip(names, bits, strict=True))}

    def state_dict(self) -> Mapping[str, Any]:
        """That of the optimisers."""
        return self._levels.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._levels.load_state_dict(dict(state))

    def _fit_predictors(self) -> None:
        config = self._config
        generator = np.random.Generator(philox(config.training.seed, Purpose.START))
        for index, level in enumerate(levels_of(config)[:-1]):
            lattice = self._model.lattice(index)
            count = config.lattices.predictor_crops
            planes = random_planes(self._photographs, count, level.crop, level.stride, generator)
            fit_predictors(lattice, planes)

    def _checked(self, initial: PhotoModel) -> PhotoModel:
        wanted, found = self._model.architecture, initial.architecture
        if wanted != found:
            raise UsageError(
                f"{self._config.initial}: a model of other sizes, {found}, not {wanted}",
                "change the settings below model to its sizes, such as --set model.widths=[48,32]",
            )
        return initial


def train(
    config: PhotoConfig,
    run: RunDirectory,
    train_images: Photographs,
    test_images: Photographs,
    **options: Unpack[TrainingOptions],
) -> FitResult:
    """Train a model; its file appears in the run directory at every best evaluation.

    Args:
        config: of the run.
        run: where everything goes.
        train_images: what to train on and to calibrate the integer networks with.
        test_images: for evaluation.
        **options: how to train.

    Raises:
        NcError: as :func:`nc_core.training.fit`.
    """
    model = build_model(config)
    calibration = crops(train_images)

    def write(path: Path, **about: Any) -> None:
        plain = PhotoModel(model.architecture)
        plain.load_state_dict(model.state_dict())
        write_model(path, plain, calibration, keep_floats=True, **about)

    return train_model(
        config,
        run,
        PhotoTask(config, model, train_images, test_images),
        training_data(config, train_images),
        write,
        monitor=MONITOR,
        **options,
    )


def _part(level: Level, world: int) -> int:
    """Crops per update of one of several processes."""
    if level.count % world:
        group = "base" if level.name == "base" else "training"
        raise UsageError(
            f"{level.count} crops of {level.name} cannot be divided among {world} processes",
            f"--set {group}.batch_size={level.count + -level.count % world}",
        )
    return level.count // world

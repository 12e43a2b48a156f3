"""Training: the task that the loop of core runs, and what a finished run leaves.

Metrics of the phase ``train`` have the original's names, losses being multiplied by the weights of
the drawn steps: ``loss``; with squared errors ``mse`` and ``vb``; each of them for the quartiles
of the chain, ``loss_q0`` ... ``loss_q3``; ``grad_norm``; ``lg_loss_scale`` in float16; ``samples``.
An evaluation has ``vlb``, the bound in bits per dimension. ``progress.csv`` and ``log.txt`` have
the former as tables, seldom more than half a minute old.

``model.safetensors`` has the averages of the first of ``optimizer.ema_rates``, and
``model-RATE.safetensors`` those of each other rate, at the same steps.

Draws of a step are those of the batch of all processes, of which each takes the rows of its own
images: so they do not depend on how many processes there are.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from nc_core.errors import UsageError
from nc_core.runs import RunDirectory
from nc_core.training import (
    FitConfig,
    FitResult,
    Hardware,
    TrainingData,
    current_shard,
    drawn_alike,
    fit,
    seeded,
    sum_over_processes,
)
from nc_core.training.ema import Ema
from nc_core.training.meters import widest_float
from nc_core.training.schedule import Schedule
from nc_core.training.task import Metrics, UpdatingTask
from nc_diffusion_bb.config import TrainConfig
from nc_diffusion_bb.data import Images
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.half_precision import DTYPES, LossScale, MasterWeights
from nc_diffusion_bb.losses import training_losses
from nc_diffusion_bb.networks import architecture_of
from nc_diffusion_bb.progress_table import kept_progress
from nc_diffusion_bb.release import write_model
from nc_diffusion_bb.timestep_samplers import DrawnSteps, timestep_sampler
from nc_diffusion_bb.unet import UNet
from nc_diffusion_bb.vlb import NoiseStream, Terms, fill_terms

__all__ = ["DiffusionTask", "build_network", "check", "loop_settings", "train"]

MONITOR = "vlb"
_CALIBRATED = 512
_QUARTILES = 4
_MOST_AT_ONCE = 64
_LOSSES = [[loss, *(f"{loss}_q{i}" for i in range(_QUARTILES))] for loss in ("loss", "mse", "vb")]
_KEYS = ("step", "samples", *chain(*_LOSSES), "grad_norm", "lg_loss_scale")

Batch = tuple[Tensor, Tensor | None]
"""Images, uint8, (B, C, H, W), and their classes, int64, (B,)."""


class Draw(NamedTuple):
    """What is drawn for the batch of all processes.

    Attributes:
        steps: of the images, on the CPU.
        noise: like the images, on their device.
    """

    steps: DrawnSteps
    noise: Tensor

    def rows(self, first: int, end: int) -> Draw:
        """Of some of the images."""
        t, weights = self.steps
        return Draw(DrawnSteps(t[first:end], weights[first:end]), self.noise[first:end])


def build_network(config: TrainConfig) -> UNet:
    """A new network, with weights that the configuration's seed decides.

    Raises:
        UsageError: settings of no network.
    """
    shape = architecture_of(config.model, learn_sigma=config.diffusion.learn_sigma)
    with seeded(config.training.seed):
        return UNet(shape, gradient_checkpointing=config.model.gradient_checkpointing)


def loop_settings(config: TrainConfig) -> FitConfig:
    """The loop's settings: training ends at the latest when the learning rate is 0.

    Raises:
        UsageError: settings that belong into the section ``optimizer`` here.
    """
    settings = config.training
    if settings.ema is not None:
        raise UsageError("training.ema: averages are made here by optimizer.ema_rates")
    if settings.precision == "16-mixed":
        raise UsageError(
            "training.precision: float16 is computed here with a loss scale of its own",
            "--set optimizer.half_precision=float16",
        )
    # What limits the gradient is the task, which owns its whole update.
    return settings.model_copy(update={"clip_norm": None})


def check(config: TrainConfig) -> None:
    """Refuse settings that cannot be trained, before anything is written.

    Raises:
        UsageError: settings of no network, of no chain, or in the wrong section.
    """
    loop_settings(config)
    architecture_of(config.model, learn_sigma=config.diffusion.learn_sigma)
    for respacing in (None, config.evaluation_respacing):
        GaussianDiffusion.of(config.diffusion, respacing)


class DiffusionTask(UpdatingTask):
    """Minimises the bound, squared errors of the noise, or both, at one drawn step per image.

    Args:
        config: of the run.
        network: to train.
        images: for evaluation.
        schedule: says after which steps there is a record.
    """

    module: UNet

    def __init__(
        self, config: TrainConfig, network: UNet, images: Images, schedule: Schedule
    ) -> None:
        self.module = network
        self._config, self._images, self._schedule = config, images, schedule
        self._diffusion = GaussianDiffusion.of(config.diffusion)
        self._evaluated = GaussianDiffusion.of(config.diffusion, config.evaluation_respacing)
        self._sampler = timestep_sampler(config.optimizer.sampler, self._diffusion.steps)
        is_float16 = config.optimizer.half_precision == "float16"
        self._scale = LossScale(config.optimizer.loss_scale_growth) if is_float16 else None

    def setup(self, fabric: Fabric) -> None:
        """Make optimiser and averages, and the network that computes."""
        settings = self._config.optimizer
        self._fabric = fabric
        self._averages = {rate: Ema(self.module, rate) for rate in settings.ema_rates}
        self._optimizer = AdamW(
            self.module.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=settings.weight_decay,
        )
        self._weights = MasterWeights(self.module, DTYPES[settings.half_precision])
        self._network: Any = fabric.setup(self._weights.network)

    def update(self, batch: Batch, k: int) -> Mapping[str, Tensor]:
        """Do step k with this process's images."""
        images, classes = batch
        draw = self._drawn(images, k)
        first = current_shard().rank * len(images)
        losses = self._backward(images, classes, draw.rows(first, first + len(images)))
        whole = _of_all_processes(torch.stack([*losses.values()])).cpu()
        losses = dict(zip(losses, whole, strict=True))
        if losses["loss"].isfinite().all():
            self._sampler.update(draw.steps.t, losses["loss"])
        metrics = self._weighted_means(losses, draw.steps)
        norm = self._step(k)
        if norm is not None:
            metrics["grad_norm"] = norm
        if self._schedule.is_log(k + 1):
            metrics |= self._counters(k)
        return metrics

    def evaluate(self) -> Metrics:
        """The mean bound of the evaluation's images, which the processes share among them."""
        device = next(self.module.parameters()).device
        count = self._images.count
        wanted = self._config.evaluation_images
        indices = np.arange(wanted if count is None else min(wanted, count))
        size = min(_MOST_AT_ONCE, self._config.training.batch_size)
        shard = current_shard()
        total = torch.zeros((), dtype=widest_float(device), device=device)
        with self.averaged():
            for first in range(shard.rank * size, len(indices), shard.world * size):
                total += float(self._bounds(indices[first : first + size], device).sum())
        return {MONITOR: float(sum_over_processes(total)) / len(indices)}

    def averaged(self, rate: float | None = None) -> AbstractContextManager[None]:
        """Inside the block the network has averages as its parameters, if there are any.

        Args:
            rate: of the averages; by default the first.
        """
        if not self._averages:
            return nullcontext()
        return self._averages[next(iter(self._averages)) if rate is None else rate].applied()

    def state_dict(self) -> Mapping[str, Any]:
        """Optimiser, averages, what the sampler has learned, and the loss scale."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "averages": {str(rate): ema.state_dict() for rate, ema in self._averages.items()},
            "sampler": self._sampler.state_dict(),
            "loss_scale": None if self._scale is None else self._scale.exponent,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._optimizer.load_state_dict(state["optimizer"])
        for rate, ema in self._averages.items():
            ema.load_state_dict(state["averages"][str(rate)])
        self._sampler.load_state_dict(state["sampler"])
        if self._scale is not None:
            self._scale.exponent = state["loss_scale"]

    def _drawn(self, images: Tensor, k: int) -> Draw:
        """Steps and noise for the batch of all processes, of which ``images`` are one's own."""
        whole = len(images) * current_shard().world
        with drawn_alike(self._config.training.seed, k):
            steps = self._sampler.draw(whole)
            noise = torch.randn((whole, *images.shape[1:]), device=images.device)
        return Draw(steps, noise)

    def _backward(self, images: Tensor, classes: Tensor | None, draw: Draw) -> dict[str, Tensor]:
        """Gradients of the mean loss of every microbatch, added up; losses without weights."""
        self._weights.clear_gradients()
        scale = 1.0 if self._scale is None else self._scale.factor
        size = self._config.optimizer.microbatch or len(images)
        found: list[dict[str, Tensor]] = []
        for first in range(0, len(images), size):
            end = first + size
            (t, weights), noise = draw.rows(first, end)
            with self._fabric.no_backward_sync(self._network, enabled=end < len(images)):
                terms = training_losses(
                    self._diffusion,
                    self._network,
                    images[first:end].float() / 127.5 - 1,
                    t.to(images.device),
                    noise,
                    None if classes is None else classes[first:end],
                )
                self._fabric.backward((terms.loss * weights.to(images.device)).mean() * scale)
            parts = terms._asdict().items()
            found.append({name: part.detach() for name, part in parts if part is not None})
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    def _step(self, k: int) -> Tensor | None:
        """Update the parameters; the gradient's norm, or None where the step is skipped."""
        finite = self._weights.take_gradients(1.0 if self._scale is None else self._scale.factor)
        norm: Tensor | None = None
        if finite:
            limit = self._config.training.clip_norm or math.inf
            norm = nn.utils.clip_grad_norm_(self.module.parameters(), limit)
            for group in self._optimizer.param_groups:
                group["lr"] = self._learning_rate(k)
            self._optimizer.step()
            for ema in self._averages.values():
                ema.update(k)
            self._weights.publish()
        if self._scale is not None:
            self._scale.adjust(finite=finite)
        return norm

    def _learning_rate(self, k: int) -> float:
        settings = self._config.optimizer
        left = max(1 - k / settings.anneal_steps, 0.0) if settings.anneal_steps else 1.0
        return settings.learning_rate * left

    def _weighted_means(self, losses: Mapping[str, Tensor], steps: DrawnSteps) -> dict[str, Tensor]:
        """Means over the batch of all processes, and over each quartile of the chain in it."""
        quartiles = _QUARTILES * steps.t // self._diffusion.steps
        metrics: dict[str, Tensor] = {}
        for name, values in losses.items():
            weighted = values * steps.weights
            metrics[name] = weighted.mean()
            for quartile in sorted(set(quartiles.tolist())):
                metrics[f"{name}_q{quartile}"] = weighted[quartiles == quartile].mean()
        return metrics

    def _counters(self, k: int) -> dict[str, Tensor]:
        """What is no mean: the state after step k."""
        counters = {
            "samples": float((k + 1) * self._config.training.batch_size),
            "learning_rate": self._learning_rate(k),
        }
        if self._scale is not None:
            counters["lg_loss_scale"] = self._scale.exponent
        return {name: torch.tensor(value) for name, value in counters.items()}

    def _bounds(self, indices: NDArray[np.int64], device: torch.device) -> NDArray[np.float64]:
        """The bound of every image, bits per dimension."""
        terms = Terms.empty(len(indices), self._evaluated.steps, device)
        noise = NoiseStream(self._config.training.seed, 0, indices.tolist(), self._images.shape)
        fill_terms(
            terms,
            self.module,
            self._evaluated,
            self._images.load(indices),
            noise,
            classes=self._images.labels(indices),
        )
        return terms.totals()


def _of_all_processes(values: Tensor) -> Tensor:
    """(n, B) of this process to (n, world * B), in the order of the whole batch's images."""
    shard = current_shard()
    whole = values.new_zeros((len(values), shard.world, values.shape[1]))
    whole[:, shard.rank] = values
    return sum_over_processes(whole).flatten(1)


def _batches(images: Images) -> TrainingData:
    def load(indices: NDArray[np.int64], generator: np.random.Generator) -> Batch:
        labels = images.labels(indices)
        pixels = torch.from_numpy(images.load(indices))
        return pixels, None if labels is None else torch.from_numpy(labels)

    return TrainingData(load, images.count)


def train(
    config: TrainConfig,
    run: RunDirectory,
    train_images: Images,
    test_images: Images,
    *,
    initial: UNet | None = None,
    hardware: Hardware | None = None,
    loggers: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Train a model; its files appear in the run directory at every best evaluation.

    Args:
        config: of the run.
        run: where everything goes.
        train_images: what to train on, of the model's shape.
        test_images: for evaluation.
        initial: whose weights to start from; None for random ones.
        hardware: what to train on.
        loggers: ``tensorboard``, ``wandb``.
        progress: called with (steps done, steps in all).

    Raises:
        NcError: as :func:`nc_core.training.fit`; UsageError for settings of no network or chain.
    """
    settings = loop_settings(config)
    network = build_network(config)
    if initial is not None:
        network.load_state_dict(initial.state_dict())
    data = _batches(train_images)
    epoch = None if data.length is None else data.length // settings.batch_size
    schedule = Schedule.of(settings, epoch)
    if 0 < config.optimizer.anneal_steps < schedule.last:
        settings = settings.model_copy(update={"duration": config.optimizer.anneal_steps})
    task = DiffusionTask(config, network, test_images, schedule)
    info: dict[str, Any] = {"recipe": run.about.get("recipe"), "data": train_images.name}
    if config.initial is not None:
        info["initial"] = config.initial

    def export(path: Path) -> None:
        calibration = train_images.first(_CALIBRATED)

        def write(rate: float | None, suffix: str = "") -> None:
            file = path.with_name(f"{path.stem}{suffix}{path.suffix}")
            name = run.model_name(suffix)
            about = info if rate is None else info | {"ema_rate": rate}
            with task.averaged(rate):
                write_model(file, network, config.diffusion, calibration, name=name, info=about)

        first, *others = config.optimizer.ema_rates or (None,)
        for rate in others:
            write(rate, f"-{rate}")
        write(first)

    with kept_progress(run, _KEYS, "train") as refresh:

        def tell(step: int, last: int) -> None:
            if schedule.is_log(step):
                refresh()
            if progress is not None:
                progress(step, last)

        return fit(
            task,
            data,
            settings,
            run,
            hardware=hardware,
            monitor=MONITOR,
            export=export,
            loggers=loggers,
            progress=tell,
        )

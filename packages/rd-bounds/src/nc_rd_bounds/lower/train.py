"""Training of the lower bound: the task that the loop of core runs, and what a run leaves.

Metrics are in nats: ``loss`` is the negative of an estimate of the bound, ``E_log_u`` plus
``log_E_Ck_est``; ``log_avg_Ck`` is what the moving average ``log_alpha`` follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nc_core.errors import UsageError
from nc_core.runs import RunDirectory
from nc_core.training import FitResult, Hardware, current_shard, fit, seeded
from nc_core.training.settings import duration_steps
from nc_core.training.task import Task
from nc_rd_bounds.adam import Adam
from nc_rd_bounds.lower.bound import MovingAlpha, clamped
from nc_rd_bounds.lower.climb import Search, maximise
from nc_rd_bounds.lower.config import LowerConfig
from nc_rd_bounds.lower.data import image_of, training_data
from nc_rd_bounds.lower.networks import Multiplier, VectorMultiplier, unit_of
from nc_rd_bounds.lower.objective import log_objective
from nc_rd_bounds.lower.release import build_network, read_multiplier, write_model
from nc_rd_bounds.schedule import decayed
from nc_rd_bounds.sources.vectors import Source

__all__ = [
    "LowerTask",
    "annealed",
    "architecture_of",
    "check",
    "fitted",
    "latest_estimate",
    "learning_rate_of",
    "target_files",
    "train",
]

_TARGET_FILE = "lamb={:.5g}.safetensors"
_LATEST_STEPS = 50
_MEASURED_BATCHES = 20
_ONE_PROCESS = "the lower bound trains in one process: its step is one maximum"

Keep = Callable[[float, int], object]
"""Keeps the network as it is for a lambda, after a number of steps."""


def annealed(config: LowerConfig, step: int, last: int) -> float:
    """Lambda at a step of ``last``: constant, then growing linearly, then constant."""
    if config.anneal is None:
        return config.lamb
    first, final = config.anneal.targets[0], config.anneal.targets[-1]
    ready = config.anneal.ready
    if step < ready:
        return first
    if step + ready > last or last <= 2 * ready:
        return final
    return first + (step - ready) / (last - 2 * ready) * (final - first)


def learning_rate_of(config: LowerConfig, last: int) -> Callable[[int], float]:
    """The rate of step k of ``last``; it is decided at the end of the step before."""

    def rate(k: int) -> float:
        return decayed(config.learning_rate, max(k - 1, 0), last)

    return rate if config.decay else lambda _: config.learning_rate


def architecture_of(config: LowerConfig, source: Source) -> dict[str, Any]:
    """The network for the samples of a source; see :func:`build_network`.

    Raises:
        DataError: a CNN for samples that are no images.
    """
    network = config.network
    shape: dict[str, Any] = {"units": list(network.units), "activation": network.activation}
    if network.kind == "mlp":
        standardise = {"standardise": True} if config.standardise else {}
        return shape | {"dims": source.dims} | standardise
    return shape | {"image": list(image_of(source)), "kernels": list(network.kernels)}


class LowerTask(Task):
    """Maximises the lower bound over the network ``log u``.

    Args:
        config: of the run.
        network: to train.
        last: steps of the run.
        keep: called where an annealed lambda reaches a target.
    """

    def __init__(
        self, config: LowerConfig, network: Multiplier, last: int, keep: Keep | None = None
    ) -> None:
        self.module = network
        self._config, self._network, self._last, self._keep = config, network, last, keep
        self._search = Search(**config.climb.to_json())
        self._alpha = MovingAlpha(math.nan, math.nan)
        self._reached = 1

    def start(self, batches: Iterator[Tensor]) -> None:
        """Measure what data are standardised by; begin the moving average with an estimate.

        A network of an earlier run keeps the constants that it was trained with.
        """
        if current_shard().world > 1:
            raise UsageError(_ONE_PROCESS)
        if self._config.standardise and self._config.initial is None:
            assert isinstance(self._network, VectorMultiplier)
            measured = [next(batches) for _ in range(_MEASURED_BATCHES)]
            self._network.measure(torch.cat(measured))
        with torch.no_grad():
            estimate, _ = self._estimate(next(batches), self.lamb(0))
        self._alpha = MovingAlpha(float(estimate), float(estimate))

    def optimizer(self) -> Optimizer:
        """Adam in TensorFlow's form."""
        return Adam(self._network.parameters(), lr=self._config.learning_rate)

    def step(self, batch: Tensor, k: int) -> Mapping[str, Tensor]:
        """The loss at M minibatches of k samples, float32 (M * k, n), and its terms."""
        self._alpha = self._alpha.moved(self._config.beta)
        log_alpha, lamb = self._alpha.log_alpha, self.lamb(k)
        estimate, mean_log_u = self._estimate(batch, lamb)
        estimate = clamped(estimate, self._alpha.latest, self._config.max_delta)
        log_mean = torch.exp(estimate - log_alpha) + (log_alpha - 1)
        self._alpha = MovingAlpha(log_alpha, float(estimate.detach()))
        terms = {
            "loss": mean_log_u + log_mean,
            "log_alpha": estimate.new_tensor(log_alpha),
            "log_avg_Ck": estimate.detach(),
            "E_log_u": mean_log_u.detach(),
            "log_E_Ck_est": log_mean.detach(),
        }
        if self._config.anneal is not None:
            terms["lamb"] = estimate.new_tensor(lamb)
        return terms

    def after_step(self, k: int) -> None:
        """Keep the model, with the lambda of this step, where the next one reaches a target.

        At the first target lambda begins: that model is kept when lambda leaves it.
        """
        if self._config.anneal is None:
            return
        targets, now, following = self._config.anneal.targets, self.lamb(k), self.lamb(k + 1)
        leaving = now == targets[0] < following
        reaching = self._reached < len(targets) and following >= targets[self._reached]
        self._reached += reaching
        if (leaving or reaching) and self._keep is not None:
            self._keep(now, k + 1)

    def lamb(self, k: int) -> float:
        """Lambda of step k."""
        return annealed(self._config, k, self._last)

    def state_dict(self) -> Mapping[str, Any]:
        """The moving average, and how many targets were reached."""
        alpha = self._alpha
        return {"log_alpha": alpha.log_alpha, "latest": alpha.latest, "reached": self._reached}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._alpha = MovingAlpha(state["log_alpha"], state["latest"])
        self._reached = state["reached"]

    def _estimate(self, batch: Tensor, lamb: float) -> tuple[Tensor, Tensor]:
        """The estimate of ``log E[C_k]``, with the maxima held fixed, and the mean of log u."""
        log_u = self._network(batch)
        count = self._config.minibatches
        search = self._search.scaled(unit_of(self._network))
        log_maxima = []
        for x, heights in zip(batch.chunk(count), log_u.chunk(count), strict=True):
            best = maximise(x, heights, lamb, search)
            log_maxima.append(log_objective(best.y, x, heights, lamb))
        return torch.logsumexp(torch.stack(log_maxima), dim=0) - math.log(count), log_u.mean()


def fitted(config: LowerConfig, source: Source) -> LowerConfig:
    """The configuration with k small enough for a finite source.

    Where a step would take more samples than there are, k is a power of two at which it takes at
    most half of them.
    """
    k, count = config.training.batch_size, config.minibatches
    if source.length is None or source.length >= k * count:
        return config
    k = 1 << max(0, (source.length // (2 * count)).bit_length() - 1)
    training = config.training.model_copy(update={"batch_size": k})
    return config.model_copy(update={"training": training})


def check(config: LowerConfig, source: Source, hardware: Hardware | None = None) -> None:
    """Refuse what cannot be trained, before anything is written.

    Raises:
        UsageError: several processes, a device that is not there, too few samples for a step, or
            an initial model of another shape.
        DataError: no such initial model, or samples that are no images for a CNN.
    """
    if hardware is not None:
        if (hardware.devices or 1) > 1:
            raise UsageError(_ONE_PROCESS)
        hardware.check()
    k, count = config.training.batch_size, config.minibatches
    if source.length is not None and source.length < k * count:
        raise UsageError(
            f"{source.name}: {source.length:,} samples are fewer than {count} minibatches of {k:,}",
            f"--set training.batch_size={max(1, source.length // count)}",
        )
    if config.initial is not None:
        _initial(config, architecture_of(config, source))


def train(
    config: LowerConfig,
    run: RunDirectory,
    source: Source,
    *,
    hardware: Hardware | None = None,
    loggers: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Train ``log u``; its file appears in the run directory.

    Args:
        config: of the run.
        run: where everything goes.
        source: what to train on.
        hardware: what to train on.
        loggers: ``tensorboard``, ``wandb``.
        progress: called with (steps done, steps in all).

    Raises:
        NcError: as :func:`nc_core.training.fit`; an initial model that does not fit.
    """
    check(config, source, hardware)
    architecture = architecture_of(config, source)
    network = _initial(config, architecture)
    batch_size = config.training.batch_size * config.minibatches
    settings = config.training.model_copy(update={"batch_size": batch_size})
    per_epoch = None if source.length is None else source.length // batch_size
    try:
        last = duration_steps(settings.duration, per_epoch)
    except ValueError as error:
        raise UsageError(f"training: {error}") from error
    about = {"recipe": run.about.get("recipe"), "data": source.name, "seed": settings.seed}

    def write(path: Path, lamb: float, step: int) -> None:
        name = run.model_name(f"-lamb={lamb:.5g}")
        write_model(path, network, architecture, lamb, name=name, info=about | {"steps": step})

    def keep(lamb: float, step: int) -> None:
        write(run.path / "checkpoints" / _TARGET_FILE.format(lamb), lamb, step)

    task = LowerTask(config, network, last, keep)
    return fit(
        task,
        training_data(source),
        settings,
        run,
        hardware=hardware,
        learning_rate=learning_rate_of(config, last),
        export=lambda path: write(path, task.lamb(last - 1), last),
        loggers=loggers,
        progress=progress,
    )


def target_files(folder: Path) -> list[Path]:
    """The models of a run directory that were kept at targets of an annealed lambda."""
    return list((folder / "checkpoints").glob(_TARGET_FILE.replace("{:.5g}", "*")))


def latest_estimate(run: RunDirectory) -> float:
    """The bound in training, the mean over the last 50 steps, in nats; NaN without records."""
    last = [-record["loss"] for record in run.metrics() if "loss" in record][-_LATEST_STEPS:]
    return sum(last) / len(last) if last else math.nan


def _initial(config: LowerConfig, architecture: Mapping[str, Any]) -> Multiplier:
    """A network with random weights, or with those of an earlier run.

    Raises:
        DataError: no such model.
        UsageError: one of another shape.
    """
    if config.initial is None:
        with seeded(config.training.seed):
            return build_network(architecture)
    earlier = read_multiplier(Path(config.initial))
    if dict(earlier.architecture) != dict(architecture):
        raise UsageError(
            f"{config.initial}: a network of another shape ({dict(earlier.architecture)})",
            "give the recipe that it was trained with",
        )
    return earlier.network.train()

"""The training loop of all papers: batches, updates, records, evaluations, checkpoints.

A run that is killed and resumed writes the same ``metrics.jsonl`` as one that is not, digit for
digit where the device's kernels are deterministic (those of the CPU are): parameters, averages
and optimiser come from the checkpoint, and batches and noise are functions of the step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from nc_core.chunk_journal import HOW_TO_RESUME
from nc_core.errors import InterruptedWorkError, WorkError
from nc_core.runs import RunDirectory
from nc_core.training.batches import Batches, TrainingData
from nc_core.training.checkpoint import load_checkpoint, save_checkpoint
from nc_core.training.devices import Hardware, launched
from nc_core.training.interrupts import Interrupts, StoppedAtOnce
from nc_core.training.learner import Learner
from nc_core.training.loggers import Logger, open_logger
from nc_core.training.meters import Meters, widest_float
from nc_core.training.report import Report
from nc_core.training.schedule import Schedule
from nc_core.training.settings import FitConfig
from nc_core.training.shards import WHOLE, Shard, reduce
from nc_core.training.task import Metrics, Task, UpdatingTask

__all__ = ["FitResult", "fit"]


@dataclass(frozen=True)
class FitResult:
    """How a training run ended.

    Args:
        step: updates done.
        metrics: numbers of the last evaluation.
        best: lowest value of the monitored metric.
        best_step: when it was reached.
    """

    step: int
    metrics: Mapping[str, float]
    best: float | None
    best_step: int | None


def fit(
    task: Task | UpdatingTask,
    data: TrainingData,
    settings: FitConfig,
    run: RunDirectory,
    *,
    hardware: Hardware | None = None,
    learning_rate: Callable[[int], float] | None = None,
    monitor: str | None = None,
    export: Callable[[Path], object] | None = None,
    loggers: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Train a task, from the start or from the run directory's last checkpoint.

    Args:
        task: what is trained.
        data: where batches come from.
        settings: what decides the result.
        run: where everything goes; where it was resumed, training goes on from its checkpoint.
        hardware: what to train on.
        learning_rate: the rate of step k = 0, 1, ..., for all of the optimiser's parameters;
            None leaves the optimiser's own.
        monitor: the metric of ``evaluate`` that says which model is best, the lower the better.
        export: writes the model file; called with its path, in evaluation mode and with
            averaged parameters if any, after each evaluation that is the best so far (without
            ``monitor`` after each; without evaluations at the end).
        loggers: ``tensorboard``, ``wandb``.
        progress: called with (steps done, steps in all).

    Raises:
        InterruptedWorkError: Ctrl-C or SIGTERM, with the state saved.
        WorkError: the loss is no longer finite.
        UsageError: settings that do not fit the data or the machine.
        DataError: something cannot be read or written; the last checkpoint stays.

    Example:
        >>> with RunDirectory.create(Path("runs/a"), config.to_json(), resume=True) as run:
        ...     fit(task, data, config.training, run, monitor="elbo_bits_per_dim")
    """
    hardware = hardware or Hardware()
    batches = Batches(data, settings.batch_size, settings.seed)
    schedule = Schedule.of(settings, batches.steps_per_epoch)
    with ExitStack() as stack:
        fabric = stack.enter_context(launched(hardware, settings.precision))
        interrupts = stack.enter_context(Interrupts(fabric))
        state = _last_checkpoint(run, fabric)
        run.rewind({} if state is None else state["log_sizes"])
        learner = Learner(
            task, settings, fabric, learning_rate,
            batches=(fabric.to_device(batches.batch(k, WHOLE)) for k in count()),
            state=None if state is None else state["learner"],
        )  # fmt: skip
        opened: list[Logger] = []
        loop = _Loop(
            run=run,
            fabric=fabric,
            learner=learner,
            schedule=schedule,
            meters=Meters(fabric),
            report=Report(run, opened, batches.steps_per_epoch),
            interrupts=interrupts,
            monitor=monitor,
            export=export,
            keep=settings.keep_checkpoints,
        )
        if state is not None:
            loop.resume(state)
        for name in loggers if fabric.is_global_zero else ():
            opened.append(open_logger(name, run, loop.progress.step))
            stack.callback(opened[-1].close)
        shard = Shard(fabric.global_rank, fabric.world_size)
        stream = batches.stream(loop.progress.step, schedule.last, shard, hardware.loaders)
        stack.enter_context(closing(stream))
        return loop.run_through(map(fabric.to_device, stream), progress)


@dataclass
class _Progress:
    """How far a run is; all of it is in every checkpoint."""

    step: int = 0
    evaluated: int = -1
    metrics: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_step: int | None = None


@dataclass
class _Loop:
    """Steps, and what is due after each."""

    run: RunDirectory
    fabric: Fabric
    learner: Learner
    schedule: Schedule
    meters: Meters
    report: Report
    interrupts: Interrupts
    monitor: str | None
    export: Callable[[Path], object] | None
    keep: int
    progress: _Progress = field(default_factory=_Progress)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint was made."""
        self.progress = _Progress(**state["progress"])
        self.meters.load_state_dict(state["meters"])

    def run_through(
        self, batches: Iterable[Any], tell: Callable[[int, int], None] | None
    ) -> FitResult:
        """All steps that are left."""
        now, last = self.progress, self.schedule.last
        self._evaluate_if_due()
        seconds, timed, began = 0.0, 0, time.perf_counter()
        for batch in batches:
            self.meters.add(self.learner.update(batch, now.step))
            now.step += 1
            means = self.meters.take() if self.schedule.is_log(now.step) else None
            seconds, timed = seconds + time.perf_counter() - began, timed + 1
            if means is not None:
                self._log(means, seconds / timed)
                seconds, timed = 0.0, 0
            stopping = self.interrupts.agreed(now.step)
            if not stopping:
                self._evaluate_if_due()
            if stopping or self.schedule.is_checkpoint(now.step):
                self._save()
            if stopping:
                raise self._interrupted()
            if tell is not None and self.fabric.is_global_zero:
                tell(now.step, last)
            began = time.perf_counter()  # evaluations and checkpoints are no part of a step
        if self.schedule.evaluate is None:
            with self.learner.evaluating(now.step):
                self._export()
        return FitResult(now.step, now.metrics, now.best, now.best_step)

    def _log(self, means: dict[str, float], seconds_per_step: float) -> None:
        rate = self.learner.learning_rate()
        values = means if rate is None else means | {"learning_rate": rate}
        self.report.numbers(self.progress.step, "train", values)
        self.report.seconds(self.progress.step, seconds_per_step)
        self._check(math.isfinite(means["loss"]))

    def _evaluate_if_due(self) -> None:
        now = self.progress
        if now.evaluated == now.step or not self.schedule.is_evaluation(now.step):
            return
        try:
            with self.learner.evaluating(now.step):
                with self.interrupts.at_once():
                    found = self.learner.task.evaluate()
                    numbers = self._mean_over_processes(found)
                if self._is_best(numbers):
                    self._export()
        except StoppedAtOnce:
            self._save()
            raise self._interrupted() from None
        self.report.numbers(now.step, "evaluate", numbers)
        if self.fabric.is_global_zero:
            arrays = {n: value for n, value in found.items() if isinstance(value, np.ndarray)}
            self.report.images(now.step, arrays)
        now.evaluated, now.metrics = now.step, numbers

    def _mean_over_processes(self, found: Metrics) -> dict[str, float]:
        numbers = {n: float(v) for n, v in found.items() if not isinstance(v, np.ndarray)}
        if self.fabric.world_size == 1 or not numbers:
            return numbers
        device = self.fabric.device
        mine = torch.tensor([*numbers.values()], dtype=widest_float(device), device=device)
        return dict(zip(numbers, reduce(self.fabric, mine, "mean").tolist(), strict=True))

    def _is_best(self, numbers: Mapping[str, float]) -> bool:
        """Whether this evaluation is the one to keep; remembers it."""
        if self.monitor is None:
            return True
        if self.monitor not in numbers:
            raise ValueError(f"no metric '{self.monitor}' among {', '.join(numbers)}")
        value, best = numbers[self.monitor], self.progress.best
        if not math.isfinite(value) or (best is not None and value >= best):
            return False
        self.progress.best, self.progress.best_step = value, self.progress.step
        return True

    def _export(self) -> None:
        if self.export is not None and self.fabric.is_global_zero:
            self.export(self.run.model_path)
        self.fabric.barrier()

    def _save(self) -> None:
        """Write a checkpoint, unless the loss has left the numbers."""
        self._check(self.meters.is_finite("loss"))
        state = {
            "progress": asdict(self.progress),
            "meters": self.meters.state_dict(),
            "learner": self.learner.state_dict(),
            "log_sizes": self.run.log_sizes(),
        }
        if self.fabric.is_global_zero:
            save_checkpoint(self.run.checkpoint_path(self.progress.step), state)
            self.run.keep_checkpoints(self.keep)
        self.fabric.barrier()

    def _check(self, finite: bool) -> None:
        if not finite:
            steps = self.run.checkpoint_steps()
            raise WorkError(
                f"{self.run.path}: the loss is no longer finite at step {self.progress.step}",
                "lower the learning rate, or limit the gradient (--set training.clip_norm=1)"
                + (f"; the last checkpoint is of step {steps[-1]}" if steps else ""),
            )

    def _interrupted(self) -> InterruptedWorkError:
        return InterruptedWorkError(
            f"{self.run.path}: stopped at step {self.progress.step} of {self.schedule.last}, "
            "with everything saved",
            HOW_TO_RESUME,
        )


def _last_checkpoint(run: RunDirectory, fabric: Fabric) -> dict[str, Any] | None:
    """What a resumed run left, as the first process sees it; None where there is nothing."""
    steps = run.checkpoint_steps() if run.resumed and fabric.is_global_zero else []
    step = fabric.broadcast(steps[-1] if steps else None)
    return None if step is None else load_checkpoint(run.checkpoint_path(step))

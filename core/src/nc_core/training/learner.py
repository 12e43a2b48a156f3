"""A task on its device, with optimiser, gradient clipping and averages: one step, and the state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from nc_core.training.ema import Ema
from nc_core.training.randomness import Purpose, seed_torch
from nc_core.training.settings import FitConfig
from nc_core.training.shards import copy_from_first
from nc_core.training.task import Task, UpdatingTask

__all__ = ["Learner"]

LearningRate = Callable[[int], float]


class Learner:
    """What a training run changes.

    Args:
        task: what is trained; its module is moved to the device.
        settings: clipping, averages, seed.
        fabric: device, precision and processes.
        learning_rate: the rate of step k; None leaves the optimiser's own.
        batches: for :meth:`Task.start`, where the run starts.
        state: of an earlier learner, where the run goes on.
    """

    def __init__(
        self,
        task: Task | UpdatingTask,
        settings: FitConfig,
        fabric: Fabric,
        learning_rate: LearningRate | None,
        *,
        batches: Iterator[Any],
        state: Mapping[str, Any] | None,
    ) -> None:
        self._updating = task if isinstance(task, UpdatingTask) else None
        if self._updating is not None and (learning_rate or settings.clip_norm):
            raise ValueError("a task that owns its update sets its rates and clips by itself")
        self.task = task
        self._settings = settings
        self._fabric = fabric
        self._learning_rate = learning_rate
        task.module.to(fabric.device)
        if state is None:
            seed_torch(settings.seed, Purpose.START)
            task.start(batches)
        else:
            task.module.load_state_dict(state["module"])
        # Setting up copies the first process's parameters to all others, so it follows `start`.
        if isinstance(task, UpdatingTask):
            task.setup(fabric)
        else:
            self._optimizer = task.optimizer()
            if state is not None:
                self._optimizer.load_state_dict(state["optimizer"])
            self._step, self._stepper = fabric.setup(_Step(task), self._optimizer)
        ema = settings.ema
        self._ema = (
            None if ema is None else Ema(task.module, ema.decay, ema.form, warm_up=ema.warm_up)
        )
        if state is not None:
            task.load_state_dict(state["task"])
            fabric.strategy.precision.load_state_dict(state["precision"])
            if self._ema is not None:
                self._ema.load_state_dict(state["ema"])
        task.module.train()

    def update(self, batch: Any, k: int) -> dict[str, Tensor]:
        """Do step k, and return its losses, with ``gradient_norm`` where it is limited."""
        seed_torch(self._settings.seed, Purpose.STEP, k, self._fabric.global_rank)
        if self._updating is not None:
            values = dict(self._updating.update(batch, k))
        else:
            values = self._minimise(batch, k)
        if "loss" not in values:
            raise ValueError("a step must return its 'loss'")
        self.task.after_step(k)
        if self._ema is not None:
            self._ema.update(k)
        return values

    def _minimise(self, batch: Any, k: int) -> dict[str, Tensor]:
        if self._learning_rate is not None:
            for group in self._optimizer.param_groups:
                group["lr"] = self._learning_rate(k)
        self._stepper.zero_grad()
        losses = self._step(batch, k)
        self._fabric.backward(losses["loss"])
        values = dict(losses)
        if self._settings.clip_norm is not None:
            values["gradient_norm"] = self._fabric.clip_gradients(
                self._step,
                self._stepper,
                max_norm=self._settings.clip_norm,
                error_if_nonfinite=False,  # the loop stops at a loss that is not finite
            )
        self._stepper.step()
        return values

    def learning_rate(self) -> float | None:
        """The optimiser's rate now; None where the task owns its update."""
        return None if self._updating else float(self._optimizer.param_groups[0]["lr"])

    @contextmanager
    def evaluating(self, step: int) -> Iterator[None]:
        """Evaluation mode, without gradients, with averaged parameters if there are any."""
        module = self.task.module
        copy_from_first(module.buffers())
        seed_torch(self._settings.seed, Purpose.EVALUATE, step, self._fabric.global_rank)
        module.eval()
        try:
            with torch.no_grad():
                if self._ema is None:
                    yield
                else:
                    with self._ema.applied():
                        yield
        finally:
            module.train()

    def state_dict(self) -> dict[str, Any]:
        """All of it, for a checkpoint; collective."""
        # Running means and the like are of each process's own part of the last batch.
        copy_from_first(self.task.module.buffers())
        return {
            "module": self.task.module.state_dict(),
            "task": self.task.state_dict(),
            "optimizer": None if self._updating else self._optimizer.state_dict(),
            "precision": self._fabric.strategy.precision.state_dict(),
            "ema": None if self._ema is None else self._ema.state_dict(),
        }


class _Step(nn.Module):
    """A task's step as a module's forward, which is what DDP and mixed precision wrap."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.module = task.module
        self._run = task.step

    def forward(self, batch: Any, k: int) -> Mapping[str, Tensor]:
        """The losses of step k."""
        return self._run(batch, k)

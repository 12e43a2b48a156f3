"""A tiny training program, for tests that run it as a process of its own and kill it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nc_core.errors import NcError
from nc_core.model_file import write_model_file
from nc_core.runs import RunDirectory
from nc_core.training import (
    EmaConfig,
    FitConfig,
    Hardware,
    Task,
    TrainingData,
    current_shard,
    fit,
    seeded,
)

ITEMS = 96


def dataset() -> tuple[Tensor, Tensor]:
    """A nonlinear function of four numbers, with noise."""
    stream = np.random.Generator(np.random.Philox(1))
    x = stream.normal(size=(ITEMS, 4)).astype(np.float32)
    y = np.sin(x.sum(1, keepdims=True)) + 0.1 * stream.normal(size=(ITEMS, 1))
    return torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))


class Regression(Task):
    """A network of two layers; its inputs are centred from data at the start."""

    def __init__(
        self, dropout: float = 0.0, noise: float = 0.0, seed: int = 0, *, norm: bool = False
    ) -> None:
        with seeded(seed):
            self.module = nn.Sequential(
                nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1),
                *([nn.BatchNorm1d(1)] if norm else []),
            )  # fmt: skip
        self.noise = noise
        self.x, self.y = dataset()
        self.data = TrainingData(lambda indices, _: (self.x[indices], self.y[indices]), ITEMS)
        self.seen = 0
        self.states: Path | None = None
        self.rank = 0
        self.signals: dict[int, int] = {}

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.module.parameters(), lr=0.01)

    def start(self, batches: Iterator[Any]) -> None:
        self.rank = current_shard().rank
        x, _ = next(batches)
        first = self.module[0]
        assert isinstance(first, nn.Linear)
        with torch.no_grad():
            first.bias.copy_(-first.weight @ x.mean(0))
            if self.states is not None:  # must not matter: the first process decides
                first.bias.add_(self.rank)

    def step(self, batch: Any, k: int) -> Mapping[str, Tensor]:
        x, y = batch
        error = self.module(x + self.noise * torch.randn_like(x)) - y
        return {"loss": error.square().mean(), "absolute": error.detach().abs().mean()}

    def after_step(self, k: int) -> None:
        self.seen += 1
        if k in self.signals:
            os.kill(os.getpid(), self.signals[k])

    def evaluate(self) -> Mapping[str, float]:
        if self.states is not None:
            self.save_state("averaged")
        return {"error": float((self.module(self.x) - self.y).square().mean())}

    def state_dict(self) -> Mapping[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]

    def save_state(self, name: str) -> None:
        """Parameters and buffers of this process, for a test that compares processes."""
        assert self.states is not None
        save_file(self.module.state_dict(), self.states / f"{name}-{self.rank}")

    def export(self, path: Path) -> None:
        weights = {name: value.numpy() for name, value in self.module.state_dict().items()}
        write_model_file(path, "regression", {"width": 8}, weights)


def settings(steps: int = 40, **changes: Any) -> FitConfig:
    """Something happens every few steps, at different ones."""
    chosen: dict[str, Any] = {
        "duration": steps,
        "batch_size": 16,
        "log_every": 3,
        "evaluate_every": "1 epoch",
        "checkpoint_every": 5,
        "ema": EmaConfig(decay=0.9),
    }
    return FitConfig(**(chosen | changes))


def main() -> int:
    """Train; exit as the command line does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--devices", type=int)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--states", type=Path)
    parser.add_argument("--kill", type=int, action="append", default=[])
    parser.add_argument("--interrupt", type=int, action="append", default=[])
    given = parser.parse_args()
    task = Regression(given.dropout, given.noise, norm=given.states is not None)
    task.states = given.states
    task.signals |= dict.fromkeys(given.kill, signal.SIGKILL if os.name == "posix" else 9)
    task.signals |= dict.fromkeys(given.interrupt, signal.SIGINT)
    config = settings(given.steps)
    try:
        with RunDirectory.create(given.out, config.to_json(), resume=given.resume) as run:
            fit(
                task, task.data, config, run,
                hardware=Hardware("cpu", given.devices, threads=1),
                learning_rate=lambda k: 0.01 * 0.99**k,
                monitor="error",
                export=task.export,
            )  # fmt: skip
        if task.states is not None:
            task.save_state("last")
    except NcError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())

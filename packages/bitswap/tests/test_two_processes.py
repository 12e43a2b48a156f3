"""Two processes train, by the command line, what one process with the whole batch trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nc_core.runs import RunDirectory
from nc_core.training.checkpoint import load_checkpoint

SETTINGS = (
    "model.height=8", "model.width=8", "model.hidden=4", "model.processing=0", "model.blocks=1",
    "model.dropout=0", "bins.bits=4", "bins.samples_per_bin=2", "warm_up_batches=2",
    "training.duration=6", "training.batch_size=8", "training.log_every=1",
    "training.evaluate_every=6", "training.evaluate_at_start=true", "training.checkpoint_every=6",
)  # fmt: skip


def train(out: Path, images: Path, devices: int) -> RunDirectory:
    command = [
        sys.executable, "-W", "error", "-m", "nc_cli", "run", "bitswap", "train",
        "--recipe", "mnist-nz2-tiny", "--device", "cpu", "--threads", "1",
        "--devices", str(devices), "--out", str(out),
        *(part for setting in SETTINGS for part in ("--set", setting)),
        "--set", f"data.train=npy:{images / 'train.npy'}",
        "--set", f"data.test=npy:{images / 'test.npy'}",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK")}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return RunDirectory.open(out)


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.save(tmp_path / "train.npy", generator.integers(0, 90, (24, 8, 8), np.uint8))
    # Neither a whole number of batches, nor as many batches for each process.
    np.save(tmp_path / "test.npy", generator.integers(0, 90, (21, 8, 8), np.uint8))
    one, two = (train(tmp_path / f"by-{count}", tmp_path, count) for count in (1, 2))
    assert len(one.metrics()) == len(two.metrics()) == 8
    for record, expected in zip(two.metrics(), one.metrics(), strict=True):
        assert record.pop("phase") == expected.pop("phase")
        assert record == pytest.approx(expected, rel=1e-4)
    states: list[dict[str, Any]] = [
        load_checkpoint(run.checkpoint_path(6))["learner"] for run in (one, two)
    ]
    for part in ("module", "ema"):
        for name, value in states[0][part].items():
            np.testing.assert_allclose(states[1][part][name], value, atol=1e-5)

"""What ``vlb`` and ``original`` tell loggers such as Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from nc_core.runs import RunDirectory
from nc_core.training import loggers
from nc_diffusion_bb.commands.original import original
from nc_diffusion_bb.commands.vlb import vlb
from tiny_codec import smooth_images, write_tiny_model

COUNT = 3
BOUND = ["total_bpd", "samples"], ["vb", "mse", "xstart_mse"]
RATES = ["samples", "rate_total", "rate_used", "rate_effective"], ["push", "pop"]
TRACKED = "--track", "--no-check", "--initial-words", "9999", "--batch-size", str(COUNT)


class Remembering:
    """A logger that remembers what it is told, of one step."""

    def __init__(self, run: RunDirectory) -> None:
        self.overrides = run.about["overrides"]
        self.numbers: list[str] = []
        self.images: list[str] = []
        self.closed = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        assert step == COUNT
        self.numbers += values

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        assert step == COUNT and not self.closed
        assert pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)
        assert pixels.min() < 100 < pixels.max(), "nothing is drawn"
        self.images.append(name)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("command", "more", "told"), [(vlb, ("--device", "cpu"), BOUND), (original, TRACKED, RATES)]
)
def test_loggers_are_told_the_numbers_and_shown_the_figures(
    command: click.Command,
    more: tuple[str, ...],
    told: tuple[list[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Remembering] = []

    def remember(run: RunDirectory, step: int) -> Remembering:
        opened.append(Remembering(run))
        return opened[0]

    monkeypatch.setitem(loggers.LOGGERS, "wandb", remember)
    write_tiny_model(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", smooth_images(COUNT))
    model, dataset = str(tmp_path / "m.safetensors"), f"npy:{tmp_path / 'x.npy'}"
    words = ["--model", model, "--dataset", dataset, *more]
    out = str(tmp_path / "run")
    CliRunner().invoke(command, [*words, "--logger", "wandb", "-o", out], catch_exceptions=False)
    (logger,) = opened
    assert (logger.numbers, logger.images) == told
    assert logger.closed
    assert {f"model={model}", f"dataset={dataset}"} <= {*logger.overrides}
    assert not any(text.startswith(("out=", "loggers=", "device=")) for text in logger.overrides)
    assert not [*(tmp_path / "run" / "results").glob("*.png")]

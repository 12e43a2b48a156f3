"""Where metrics go besides ``metrics.jsonl``: TensorBoard, Weights & Biases.

A run directory is one run of Weights & Biases, which goes on when it is resumed: both have the same
random id, and what starts again is another run. Runs of one command are a group, what was given on
the command line are tags, and the project is ``nc`` unless ``WANDB_PROJECT`` says another. Names of
metrics are those of ``metrics.jsonl`` with ``/`` for ``_`` (``loss/q0``), and with the phase behind
them but for ``train``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import MissingDependencyError, UsageError
from nc_core.lookup import did_you_mean
from nc_core.runs import RunDirectory

__all__ = ["LOGGERS", "Logger", "open_logger"]

_LONGEST_TAG = 64  # characters that Weights & Biases takes


class Logger(Protocol):
    """Takes numbers and images, and shows them somewhere."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers; names are ``elbo/train``, ``elbo/evaluate``."""
        ...

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Log an image, (H, W) or (H, W, 3)."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


def open_logger(name: str, run: RunDirectory, step: int) -> Logger:
    """The logger of that name.

    Args:
        name: ``tensorboard`` (into the run directory) or ``wandb``.
        run: what is logged.
        step: step from which the run goes on; what was logged after it is forgotten.

    Raises:
        UsageError: an unknown name.
        MissingDependencyError: its package is not installed.
    """
    if name not in LOGGERS:
        raise UsageError(
            f"no logger '{name}'{did_you_mean(name, LOGGERS)}", f"known: {', '.join(LOGGERS)}"
        )
    return LOGGERS[name](run, step)


class _TensorBoard:
    def __init__(self, run: RunDirectory, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard") from error
        folder = str(run.path / "tensorboard")
        self._writer: Any = SummaryWriter(folder, purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self._writer.add_image(name, pixels, step, dataformats="HW" if pixels.ndim == 2 else "HWC")

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    def __init__(self, run: RunDirectory, step: int) -> None:
        try:
            self._wandb: Any = importlib.import_module("wandb")
        except ImportError as error:
            raise _missing("wandb") from error
        folder = run.path.resolve()
        overrides = run.about.get("overrides", [])
        self._run: Any = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "nc"),
            group=run.about.get("command") or None,
            name="/".join(folder.parts[-2:]),
            tags=list(dict.fromkeys(text[-_LONGEST_TAG:] for text in overrides)),
            id=run.about.get("id"),
            resume="allow",
            dir=str(folder),
            config=run.config,
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({_slashed(name): value for name, value in values.items()}, step=step)

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self._run.log({_slashed(name): self._wandb.Image(pixels)}, step=step)

    def close(self) -> None:
        self._run.finish()


def _slashed(name: str) -> str:
    return name.removesuffix("/train").replace("_", "/")


def _missing(name: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"logger '{name}' needs {name}, which is not installed", f"pip install {name}"
    )


LOGGERS: Mapping[str, Callable[[RunDirectory, int], Logger]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
}

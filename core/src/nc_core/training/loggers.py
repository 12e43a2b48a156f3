"""Where metrics go besides ``metrics.jsonl``: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import MissingDependencyError, UsageError
from nc_core.lookup import did_you_mean
from nc_core.runs import RunDirectory

__all__ = ["LOGGERS", "Logger", "open_logger"]


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
        self._run: Any = self._wandb.init(
            project="nc",
            name=run.path.name,
            group=run.path.name,  # what a resumed run adds is another run of the same group
            dir=str(run.path),
            config=run.config,
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self._run.log({name: self._wandb.Image(pixels)}, step=step)

    def close(self) -> None:
        self._run.finish()


def _missing(name: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"logger '{name}' needs {name}, which is not installed", f"pip install {name}"
    )


LOGGERS: Mapping[str, Callable[[RunDirectory, int], Logger]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
}

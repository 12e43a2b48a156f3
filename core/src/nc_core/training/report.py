"""What a training run reports: records, loggers, images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nc_core.images import Image, write_image
from nc_core.runs import RunDirectory
from nc_core.training.loggers import Logger

__all__ = ["Report"]

_RESERVED = frozenset(("step", "epoch", "phase"))


class Report:
    """Writes into a run directory, and to loggers.

    Args:
        run: where records and images go.
        loggers: who else wants to know.
        steps_per_epoch: for the field ``epoch``; None where there are no epochs.
    """

    def __init__(
        self, run: RunDirectory, loggers: Sequence[Logger], steps_per_epoch: int | None
    ) -> None:
        self._run = run
        self._loggers = loggers
        self._steps_per_epoch = steps_per_epoch

    def numbers(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Append a record to ``metrics.jsonl``; loggers get ``NAME/PHASE``.

        Raises:
            ValueError: a name that the record needs itself.
        """
        if taken := _RESERVED & values.keys():
            raise ValueError(f"a metric cannot be called {', '.join(sorted(taken))}")
        record: dict[str, float | int | str] = {"step": step, "phase": phase}
        if self._steps_per_epoch is not None:
            record["epoch"] = step / self._steps_per_epoch
        self._run.log({**record, **values})
        for logger in self._loggers:
            logger.scalars(step, {f"{name}/{phase}": value for name, value in values.items()})

    def seconds(self, step: int, per_step: float) -> None:
        """Append to ``timing.jsonl``, apart from what repeats exactly."""
        self._run.log({"step": step, "seconds_per_step": per_step}, name="timing")
        for logger in self._loggers:
            logger.scalars(step, {"seconds_per_step": per_step})

    def images(self, step: int, images: Mapping[str, NDArray[np.uint8]]) -> None:
        """Write ``samples/NAME-STEP.png``."""
        for name, pixels in images.items():
            path = self._run.path / "samples" / f"{name}-{step:09d}.png"
            write_image(path, Image(pixels))
            for logger in self._loggers:
                logger.image(step, name, pixels)

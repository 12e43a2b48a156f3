"""What every recipe says about training, in the same words: the ``training`` section."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nc_core.config import Config

__all__ = ["Duration", "EmaConfig", "FitConfig", "duration_steps"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?(?:[eE]\+?\d+)?) ?(steps?|epochs?)?")


def _check_duration(value: int | str) -> int | str:
    match = _DURATION.fullmatch(str(value))
    if match is None or float(match[1]) <= 0:
        raise ValueError("write a number of steps (500) or of epochs (2 epochs)")
    return value


Duration = Annotated[int | str, AfterValidator(_check_duration)]
"""A number of steps (``500``), or a text such as ``"2 epochs"``."""


def duration_steps(duration: int | str, steps_per_epoch: int | None) -> int:
    """A duration in steps, at least 1.

    Raises:
        ValueError: epochs of data without end.
    """
    match = _DURATION.fullmatch(str(duration))
    if match is None:
        raise ValueError(f"{duration!r} is no duration")
    amount = float(match[1])
    if (match[2] or "steps").startswith("epoch"):
        if steps_per_epoch is None:
            raise ValueError(f"'{duration}': these data have no end and so no epochs; say steps")
        amount *= steps_per_epoch
    return max(1, round(amount))


class EmaConfig(Config):
    """Exponential moving average of the parameters, used for evaluation and export.

    Per step ``average = decay * average + (1 - decay) * parameter``. The form ``swapped``
    exchanges the coefficients, as the original code of Bit-Swap does: with it the average is all
    but the parameter itself. With ``warm_up`` the decay at step k = 0, 1, ... is at most
    ``(k + 2) / (k + 11)``, so that the parameters of the start are soon forgotten.
    """

    decay: float = Field(0.999, ge=0, lt=1)
    form: Literal["conventional", "swapped"] = "conventional"
    warm_up: bool = False


class FitConfig(Config):
    """Settings of :func:`nc_core.training.fit` that decide its result.

    Attributes:
        duration: when training ends.
        batch_size: items per step, of all processes together.
        seed: of every random choice.
        clip_norm: largest global norm of the gradient; None to leave it alone.
        ema: moving average of the parameters; None for none.
        precision: arithmetic of the step; parameters are float32 always.
        log_every: between two records of the means of losses.
        evaluate_every: between two evaluations; None for none.
        evaluate_at_start: evaluate before the first step too.
        checkpoint_every: between two checkpoints; what a killed run loses at most.
        keep_checkpoints: how many of the last are kept.
    """

    duration: Duration
    batch_size: int = Field(ge=1)
    seed: int = Field(0, ge=0, lt=1 << 63)
    clip_norm: float | None = Field(None, gt=0)
    ema: EmaConfig | None = None
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    log_every: Duration = 100
    evaluate_every: Duration | None = "1 epoch"
    evaluate_at_start: bool = False
    checkpoint_every: Duration = "1 epoch"
    keep_checkpoints: int = Field(2, ge=1)

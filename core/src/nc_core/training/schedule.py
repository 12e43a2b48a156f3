"""When a training run does what."""

from __future__ import annotations

from dataclasses import dataclass

from nc_core.errors import UsageError
from nc_core.training.settings import FitConfig, duration_steps

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """The steps after which something is due; step n is the state after n updates.

    Args:
        last: when training ends.
        log: steps between two records.
        evaluate: steps between two evaluations; None for none.
        evaluate_at_start: evaluate before the first update too.
        checkpoint: steps between two checkpoints.
    """

    last: int
    log: int
    evaluate: int | None
    evaluate_at_start: bool
    checkpoint: int

    @classmethod
    def of(cls, settings: FitConfig, steps_per_epoch: int | None) -> Schedule:
        """The schedule of these settings.

        Raises:
            UsageError: they speak of epochs, and the data have none.
        """
        try:
            every = settings.evaluate_every
            return cls(
                last=duration_steps(settings.duration, steps_per_epoch),
                log=duration_steps(settings.log_every, steps_per_epoch),
                evaluate=None if every is None else duration_steps(every, steps_per_epoch),
                evaluate_at_start=settings.evaluate_at_start,
                checkpoint=duration_steps(settings.checkpoint_every, steps_per_epoch),
            )
        except ValueError as error:
            raise UsageError(f"training: {error}") from error

    def is_log(self, step: int) -> bool:
        """Whether a record of the means is due."""
        return step > 0 and step % self.log == 0

    def is_evaluation(self, step: int) -> bool:
        """Whether an evaluation is due: in its turn, and at the end."""
        if self.evaluate is None:
            return False
        if step == 0:
            return self.evaluate_at_start
        return step % self.evaluate == 0 or step == self.last

    def is_checkpoint(self, step: int) -> bool:
        """Whether a checkpoint is due: in its turn, and at the end."""
        return step > 0 and (step % self.checkpoint == 0 or step == self.last)

"""Which step of the chain each training image gets.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = [
    "DrawnSteps",
    "LossSecondMomentSampler",
    "TimestepSampler",
    "UniformSampler",
    "timestep_sampler",
]


class DrawnSteps(NamedTuple):
    """Steps of images, on the CPU.

    Attributes:
        t: int64, (B,).
        weights: 1 / (T p_t), float32, (B,): a loss times its weight is unbiased.
    """

    t: Tensor
    weights: Tensor


class TimestepSampler(Protocol):
    """A distribution over steps, which may learn from losses."""

    def weights(self) -> Tensor:
        """Proportional to the probability of each step, float64, (T,)."""
        ...

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Learn from the losses of a batch, those of all processes together.

        Args:
            t: steps, int64, (B,).
            losses: not weighted, (B,).
        """
        ...

    def draw(self, count: int, generator: torch.Generator | None = None) -> DrawnSteps:
        """Steps for a batch, with replacement.

        Args:
            count: B.
            generator: None for torch's own, which core's training loop seeds for each step.
        """
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """What was learned."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` gave."""
        ...


class UniformSampler:
    """All steps alike.

    Args:
        steps: T.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def weights(self) -> Tensor:
        """Ones, float64, (T,)."""
        return torch.ones(self.steps, dtype=torch.float64)

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Nothing to learn."""

    def draw(self, count: int, generator: torch.Generator | None = None) -> DrawnSteps:
        """See :class:`TimestepSampler`."""
        t = torch.randint(self.steps, (count,), generator=generator)
        return DrawnSteps(t, torch.ones(count))

    def state_dict(self) -> Mapping[str, Tensor]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take."""


class LossSecondMomentSampler:
    """Steps by the root mean square of their last losses; uniform until all steps have enough.

    Args:
        steps: T.
        history: losses of each step that are remembered.
        uniform_share: probability that is dealt out to all steps alike.
    """

    def __init__(self, steps: int, *, history: int = 10, uniform_share: float = 0.001) -> None:
        self.steps = steps
        self.uniform_share = uniform_share
        self._losses = torch.zeros(steps, history, dtype=torch.float64)
        self._counts = torch.zeros(steps, dtype=torch.int64)

    def weights(self) -> Tensor:
        """See :class:`TimestepSampler`; ones while uniform, then probabilities."""
        if not self._is_warm():
            return torch.ones(self.steps, dtype=torch.float64)
        size = self._losses.square().mean(dim=1).sqrt()
        share = self.uniform_share
        return (1 - share) * size / size.sum() + share / self.steps

    def update(self, t: Tensor, losses: Tensor) -> None:
        """See :class:`TimestepSampler`."""
        history = self._losses.shape[1]
        for step, loss in zip(t.tolist(), losses.tolist(), strict=True):
            count = int(self._counts[step])
            if count == history:
                self._losses[step] = self._losses[step].roll(-1)
                self._losses[step, -1] = loss
            else:
                self._losses[step, count] = loss
                self._counts[step] += 1

    def draw(self, count: int, generator: torch.Generator | None = None) -> DrawnSteps:
        """See :class:`TimestepSampler`."""
        weights = self.weights()
        probabilities = weights / weights.sum()
        t = torch.multinomial(probabilities, count, replacement=True, generator=generator)
        return DrawnSteps(t, (1 / (self.steps * probabilities[t])).float())

    def state_dict(self) -> Mapping[str, Tensor]:
        """The remembered losses."""
        return {"losses": self._losses.clone(), "counts": self._counts.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See :class:`TimestepSampler`."""
        self._losses.copy_(state["losses"])
        self._counts.copy_(state["counts"])

    def _is_warm(self) -> bool:
        return bool((self._counts == self._losses.shape[1]).all())


def timestep_sampler(name: str, steps: int) -> TimestepSampler:
    """The sampler that a configuration names: ``uniform`` or ``loss-second-moment``."""
    return UniformSampler(steps) if name == "uniform" else LossSecondMomentSampler(steps)

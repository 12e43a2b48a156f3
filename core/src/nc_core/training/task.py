"""What a paper gives to the loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Metrics", "Task", "UpdatingTask"]

Metrics = Mapping[str, float | NDArray[np.uint8]]
"""Numbers, and images of shape (H, W) or (H, W, 3), by name."""


class _Common(Protocol):
    """What every task may have; inherit the defaults.

    While the loop calls a task, torch's own generators are seeded from (seed, step, rank), so
    ``torch.rand`` and dropout repeat exactly.

    Attributes:
        module: everything that is trained.
    """

    module: nn.Module

    def start(self, batches: Iterator[Any]) -> None:
        """Initialise from data, once, before the first step and not when a run is resumed.

        Args:
            batches: the batches of steps 0, 1, ..., whole ones in every process, on its device.
        """
        return None

    def after_step(self, k: int) -> None:
        """What follows the update of step k: masks, codebooks."""
        return None

    def evaluate(self) -> Metrics:
        """Measure the module, which is in evaluation mode and holds averaged parameters if any.

        With several processes each evaluates its part (:func:`current_shard`), and the loop
        takes means of the numbers. Where parts are of different sizes, add sums and counts
        first (:func:`sum_over_processes`): then every process returns the same numbers.
        """
        return {}

    def state_dict(self) -> Mapping[str, Any]:
        """State besides the module's: tensors, numbers, texts, nested as one likes."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        return None


class Task(_Common, Protocol):
    """A task whose loss is minimised by one optimiser.

    Example:
        >>> class Regression(Task):
        ...     def __init__(self):
        ...         self.module = nn.Linear(2, 1)
        ...
        ...     def optimizer(self):
        ...         return torch.optim.Adam(self.module.parameters())
        ...
        ...     def step(self, batch, k):
        ...         x, y = batch
        ...         return {"loss": ((self.module(x) - y) ** 2).mean()}
    """

    def optimizer(self) -> Optimizer:
        """The optimiser of ``module``'s parameters; called once, after :meth:`start`."""
        ...

    def step(self, batch: Any, k: int) -> Mapping[str, Tensor]:
        """Losses of step k, scalars by name; ``loss`` is minimised, the others are logged.

        Each is a mean over this process's part of the batch.
        """
        ...


@runtime_checkable
class UpdatingTask(_Common, Protocol):
    """A task that owns its whole update: two optimisers, a minimum of a maximum."""

    def setup(self, fabric: Fabric) -> None:
        """Set up modules and optimisers: ``self.f, self.opt = fabric.setup(module, optimizer)``.

        Called after :meth:`start` and before :meth:`load_state_dict`; the state of the
        optimisers belongs into :meth:`state_dict`.
        """
        ...

    def update(self, batch: Any, k: int) -> Mapping[str, Tensor]:
        """Do step k, with ``fabric.backward``, and return scalars to log; ``loss`` among them."""
        ...

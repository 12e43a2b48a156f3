"""Adam with its epsilon outside the bias correction, as TensorFlow has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["Adam"]


class Adam(torch.optim.Adam):
    """``w -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)``.

    PyTorch's own adds epsilon to ``sqrt(v / (1 - b2^t))`` instead. Both agree when epsilon is
    divided by ``sqrt(1 - b2^t)`` at step t, so PyTorch's fused kernel does the work.

    Args:
        params: an iterable of parameters, or of groups of them.
        lr: step size.
        betas: decay of the running means of the gradient and of its square.
        eps: the TensorFlow epsilon, 1e-7 as in Keras.

    Example:
        >>> optimizer = Adam(network.parameters(), lr=1e-3)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, fused=True)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, which counts its own updates."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("epsilon", group["eps"])
        group.setdefault("updates", 0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["updates"] += 1
            group["eps"] = group["epsilon"] / (1 - group["betas"][1] ** group["updates"]) ** 0.5
        super().step()
        return loss

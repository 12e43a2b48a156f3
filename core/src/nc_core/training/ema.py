"""The exponential moving average of a module's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Ema"]


class Ema:
    """Averages of all trainable parameters; buffers are not averaged.

    Args:
        module: whose parameters; averages start at their present values.
        decay: weight of the old average, 0 <= decay < 1.
        form: ``swapped`` exchanges the weights of average and parameter.
        warm_up: limit the decay at step k = 0, 1, ... to (k + 2) / (k + 11).
    """

    def __init__(
        self,
        module: nn.Module,
        decay: float,
        form: Literal["conventional", "swapped"] = "conventional",
        *,
        warm_up: bool = False,
    ) -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self._names = [name for name, _ in named]
        self._parameters: list[Tensor] = [parameter for _, parameter in named]
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        self._decay, self._form, self._warm_up = decay, form, warm_up

    @torch.no_grad()
    def update(self, k: int) -> None:
        """Take the parameters after step k into the averages."""
        decay = min(self._decay, (k + 2) / (k + 11)) if self._warm_up else self._decay
        old = decay if self._form == "conventional" else 1 - decay
        if self._averages:
            torch._foreach_mul_(self._averages, old)
            torch._foreach_add_(self._averages, self._parameters, alpha=1 - old)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the module has the averages as its parameters."""
        kept = [parameter.detach().clone() for parameter in self._parameters]
        self._set(self._averages)
        try:
            yield
        finally:
            self._set(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """Averages by the parameters' names."""
        return dict(zip(self._names, self._averages, strict=True))

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back averages."""
        for name, average in zip(self._names, self._averages, strict=True):
            average.copy_(state[name])

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

"""Means of losses between two records, summed on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from nc_core.training.shards import gather

__all__ = ["Meters", "widest_float"]


def widest_float(device: torch.device) -> torch.dtype:
    """Double precision, where the device has it: Apple's have none."""
    return torch.float32 if device.type == "mps" else torch.float64


class Meters:
    """Running sums of scalars by name; each process has its own until a mean is asked for."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._dtype = widest_float(fabric.device)  # means of many steps lose nothing
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Add one step's scalars.

        Raises:
            TypeError: a value is no scalar.
        """
        for name, value in values.items():
            scalar = torch.as_tensor(value, device=self._fabric.device).detach().to(self._dtype)
            if scalar.ndim:
                raise TypeError(f"'{name}' has shape {tuple(scalar.shape)}, and must be a scalar")
            self._sums[name] = self._sums[name] + scalar if name in self._sums else scalar
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Means over steps and processes since the last call; collective."""
        means = {name: sum(sums) / len(sums) / self._counts[name] for name, sums in self._all()}
        self._sums.clear()
        self._counts.clear()
        return means

    def is_finite(self, name: str) -> bool:
        """Whether a sum is finite in every process; collective."""
        return all(math.isfinite(x) for n, sums in self._all() if n == name for x in sums)

    def state_dict(self) -> dict[str, Any]:
        """The sums of every process; collective."""
        return {"sums": dict(self._all()), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back this process's sums, or the mean where there were other processes."""
        rank, world = self._fabric.global_rank, self._fabric.world_size
        for name, sums in state["sums"].items():
            mine = sums[rank] if len(sums) == world else sum(sums) / len(sums)
            self._sums[name] = torch.tensor(mine, device=self._fabric.device, dtype=self._dtype)
        self._counts = dict(state["counts"])

    def _all(self) -> list[tuple[str, list[float]]]:
        """Sums by name, of every process in order of rank."""
        if not self._sums:
            return []
        names = list(self._sums)
        mine = torch.stack([self._sums[name] for name in names])
        return list(zip(names, gather(self._fabric, mine).T.tolist(), strict=True))

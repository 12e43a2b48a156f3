"""Training: one loop for all papers, with exact resume.

Names are imported when they are first used: settings can be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nc_core.training.batches import TrainingData
    from nc_core.training.devices import Hardware, check_device
    from nc_core.training.loop import FitResult, fit
    from nc_core.training.randomness import drawn_alike, seeded
    from nc_core.training.settings import EmaConfig, FitConfig
    from nc_core.training.shards import Shard, current_shard, sum_over_processes
    from nc_core.training.task import Task, UpdatingTask

__all__ = [
    "EmaConfig",
    "FitConfig",
    "FitResult",
    "Hardware",
    "Shard",
    "Task",
    "TrainingData",
    "UpdatingTask",
    "check_device",
    "current_shard",
    "drawn_alike",
    "fit",
    "seeded",
    "sum_over_processes",
]

_HOMES = {
    "EmaConfig": "settings",
    "FitConfig": "settings",
    "FitResult": "loop",
    "Hardware": "devices",
    "Shard": "shards",
    "Task": "task",
    "TrainingData": "batches",
    "UpdatingTask": "task",
    "check_device": "devices",
    "current_shard": "shards",
    "drawn_alike": "randomness",
    "fit": "loop",
    "seeded": "randomness",
    "sum_over_processes": "shards",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nc_core.training' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"nc_core.training.{_HOMES[name]}"), name)

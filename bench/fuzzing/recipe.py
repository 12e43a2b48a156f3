"""A configuration like those of the paper packages, to read mutated recipes with."""

from __future__ import annotations

from pydantic import Field

from nc_core.config import Config
from nc_core.training.settings import FitConfig

__all__ = ["RecipeConfig"]


class RecipeConfig(Config):
    """Names, a number within limits, and the settings of the training loop."""

    name: list[str] = Field(default=[], max_length=4)
    rate: float = Field(default=0.5, ge=0, lt=1)
    training: FitConfig = FitConfig.model_validate({"duration": "1 epochs", "batch_size": 16})

"""Configuration: what recipes and ``--set`` are checked against."""

from __future__ import annotations

from pydantic import Field

from nc_core.config import Config

__all__ = ["MyPluginConfig"]


class MyPluginConfig(Config):
    """Everything that decides a training run.

    Attributes:
        data: dataset to train on, as ``--dataset`` takes it.
        limit: number of its images to use; all of them by default.
        smoothing: what is added to the count of every value, seen or not.
        precision: frequencies sum to 2 ** precision.
    """

    data: str = "mnist:train"
    limit: int | None = Field(default=None, ge=1)
    smoothing: int = Field(default=1, ge=1)
    precision: int = Field(default=16, ge=8, le=28)

"""Parts of the configuration that both bounds have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nc_core.config import Config

__all__ = ["DataConfig", "ElementwiseActivation", "Width"]

MOST_WIDTH = 1 << 14

ElementwiseActivation = Literal[
    "none", "relu", "relu6", "leaky_relu", "softplus", "softsign", "tanh", "sigmoid", "selu",
    "elu", "silu", "gelu",
]  # fmt: skip
"""Names of :data:`nc_rd_bounds.activations.ELEMENTWISE`."""

Width = Annotated[int, Field(ge=1, le=MOST_WIDTH)]
"""Of a layer."""


class DataConfig(Config):
    """Datasets by name.

    Attributes:
        train: to train on.
        test: to evaluate on; None: other samples of the same source, or rows held out of it.
    """

    train: str = "banana"
    test: str | None = None

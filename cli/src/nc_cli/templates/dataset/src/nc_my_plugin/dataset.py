"""The dataset: plane waves of random direction and length."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.opening import DatasetRequest
from nc_core.protocols import Layout

__all__ = ["Waves", "open_waves"]

SIDE = 32
_SPLITS = {"train": 1000, "test": 100}


def open_waves(request: DatasetRequest) -> Waves:
    """Open a split; the target of the dataset's record.

    Raises:
        UsageError: a seed that is no integer.
    """
    return Waves(request.name, request.split, request.integer("seed", 0))


class Waves:
    """Grey images, uint8, 0 .. 255; each is a function of seed, split and index alone.

    Args:
        name: full name, as in ``my-plugin:test``.
        split: ``train`` or ``test``.
        seed: of all images.
    """

    fields = ("image",)
    shape = (SIDE, SIDE)
    dtype = np.dtype(np.uint8)
    range = (0.0, 255.0)
    layout: Layout = "hw"

    def __init__(self, name: str, split: str, seed: int = 0) -> None:
        self.name = name
        self._length = _SPLITS[split]
        self._stream = (seed, list(_SPLITS).index(split))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        index = operator.index(index)
        if not 0 <= index < self._length:
            raise IndexError(f"{self.name} has items 0 .. {self._length - 1}, not {index}")
        generator = np.random.default_rng((*self._stream, index))
        angle, phase = generator.uniform(0, 2 * np.pi, 2)
        length = generator.uniform(4, SIDE)
        down, right = np.indices(self.shape)
        along = np.cos(angle) * down + np.sin(angle) * right
        wave = np.sin(2 * np.pi * along / length + phase)
        return {"image": np.rint(127.5 * (1 + wave)).astype(np.uint8)}

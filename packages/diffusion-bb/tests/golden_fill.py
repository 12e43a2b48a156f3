"""Weights and inputs of golden models, made by a rule instead of being stored."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def fill(tag: str, n: int) -> NDArray[np.float64]:
    """n numbers from -0.5 to below 0.5."""
    start = np.uint64(zlib.crc32(tag.encode()))
    hashed = (start + np.uint64(2654435761) * np.arange(1, n + 1, dtype=np.uint64)).astype(
        np.uint32
    )
    hashed ^= hashed >> np.uint32(16)
    hashed *= np.uint32(0x85EBCA6B)
    hashed ^= hashed >> np.uint32(13)
    hashed *= np.uint32(0xC2B2AE35)
    hashed ^= hashed >> np.uint32(16)
    return ((hashed >> np.uint32(8)).astype(np.float64) - 2.0**23) / 2.0**24


def filled_weight(tag: str, key: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The parameter of a state-dict key."""
    values = fill(f"{tag}/{key}", math.prod(shape)).reshape(shape)
    if len(shape) >= 2:
        values = values * 2 * math.sqrt(3 / math.prod(shape[1:]))
    elif key.endswith(".weight"):
        values = 1 + 0.2 * values
    else:
        values = 0.2 * values
    return values.astype(np.float32)


def fill_weights(model: nn.Module, tag: str) -> None:
    """Set all parameters of a model by the rule."""
    state = {
        key: torch.from_numpy(filled_weight(tag, key, tensor.shape))
        for key, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)


def normal_like(tag: str, shape: Sequence[int]) -> Tensor:
    """float32 numbers of mean 0 and variance 1."""
    rows = fill(tag, 12 * math.prod(shape)).reshape(-1, 12)
    return torch.from_numpy(rows.sum(axis=1).astype(np.float32).reshape(shape))


def images(tag: str, shape: Sequence[int]) -> NDArray[np.uint8]:
    """uint8 images of white noise."""
    return np.floor((fill(tag, math.prod(shape)) + 0.5) * 256).astype(np.uint8).reshape(shape)

"""Settings of PyTorch that must not change a lowered network, each for the time of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["onednn", "precision", "threads"]


@contextmanager
def onednn(enabled: bool) -> Iterator[None]:
    """Whether oneDNN computes, or PyTorch's own code."""
    library: Any = torch.backends.mkldnn
    before = library.enabled
    library.enabled = enabled
    try:
        yield
    finally:
        library.enabled = before


@contextmanager
def threads(count: int) -> Iterator[None]:
    """How many threads work on one operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def precision(name: str) -> Iterator[None]:
    """What float32 products may be rounded to, as ``torch.set_float32_matmul_precision`` says."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

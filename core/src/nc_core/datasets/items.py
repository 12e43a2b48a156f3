"""How many items of a dataset are used, and what files that are made of them are called."""

from __future__ import annotations

import re
from collections.abc import Sized
from typing import Protocol

from nc_core.errors import UsageError

__all__ = ["count_items", "file_stem"]

_LONGEST_STEM = 64


class _Named(Sized, Protocol):
    name: str


def count_items(dataset: _Named, limit: int | None = None) -> int:
    """Number of items, at most ``limit``.

    Raises:
        UsageError: a dataset without end and no limit.
    """
    try:
        available = len(dataset)
    except TypeError as error:
        if limit is None:
            raise UsageError(f"{dataset.name} has no end", "give --limit N") from error
        return limit
    return available if limit is None else min(limit, available)


def file_stem(name: str) -> str:
    """A portable file name, without suffix, for the name of a dataset or model.

    Example:
        >>> file_stem("mnist:test?binarize=random")
        'mnist-test-binarize-random'
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-_LONGEST_STEM:].strip("-") or "data"

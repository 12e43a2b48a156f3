"""Leptons of Z decays: 16 numbers per event, or two of them.

The official files are ``ppzee-split=test.npy`` and ``ppzee-split=train.npy``: rows are events,
columns momenta and energies of two leptons, first the true ones, then those after detection, in
TeV. Rows and values stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.converted import Part, RowSource
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError
from nc_rd_bounds.sources.prepared import PreparedVectors, checked_vectors, folders_of

__all__ = ["COLUMNS", "open_physics", "open_physics_2d", "read_physics", "read_physics_2d"]

DIMS = 16
COLUMNS = (12, 11)
"""Columns of the two-dimensional marginal, in this order."""

_SPLITS = ("test", "train")
_STEM = "ppzee-split="


def open_physics(request: DatasetRequest) -> PreparedVectors:
    """Open one split; the target of the record ``physics``.

    Raises:
        DataError: not prepared, or damaged.
    """
    return PreparedVectors(request, DIMS)


def open_physics_2d(request: DatasetRequest) -> PreparedVectors:
    """Open one split; the target of the record ``physics-2d``.

    Raises:
        DataError: not prepared, or damaged.
    """
    return PreparedVectors(request, len(COLUMNS))


def read_physics(source: Path) -> dict[str, RowSource]:
    """The splits that a folder holds; the converter of the record ``physics``.

    Args:
        source: the folder with ``ppzee-split=test.npy`` (or ``train``), or the one above it; or
            one such file.

    Raises:
        DataError: none is there, or one is damaged.
    """
    return _splits(source, lambda folder, split: _whole(folder / f"{_STEM}{split}.npy"))


def read_physics_2d(source: Path) -> dict[str, RowSource]:
    """The splits that a folder holds; the converter of the record ``physics-2d``.

    Args:
        source: as for :func:`read_physics`; files of two columns, ``n=2-ppzee-split=test.npy``,
            serve as well.

    Raises:
        DataError: none is there, or one is damaged.
    """
    return _splits(source, _marginal)


def _whole(path: Path) -> NDArray[Any] | None:
    return checked_vectors(path, DIMS) if path.is_file() else None


def _marginal(folder: Path, split: str) -> NDArray[Any] | None:
    """Two columns of all, or the file of two columns."""
    events = _whole(folder / f"{_STEM}{split}.npy")
    if events is not None:
        return np.ascontiguousarray(events[:, COLUMNS])
    path = folder / f"n=2-{_STEM}{split}.npy"
    return checked_vectors(path, len(COLUMNS)) if path.is_file() else None


def _splits(source: Path, find: Callable[[Path, str], NDArray[Any] | None]) -> dict[str, RowSource]:
    folders = [source.parent] if source.is_file() else folders_of(source)
    for folder in folders:
        found = {split: find(folder, split) for split in _SPLITS}
        splits = {split: _row_source(rows) for split, rows in found.items() if rows is not None}
        if splits:
            return splits
    raise DataError(
        f"{source}: no {_STEM}test.npy, and no {_STEM}train.npy",
        "give the folder that holds them, or the one above it",
    )


def _row_source(rows: NDArray[Any]) -> RowSource:
    def read() -> Iterator[Part]:
        yield rows.astype(rows.dtype.newbyteorder("<"), copy=False), None

    dtype: np.dtype[Any] = rows.dtype.newbyteorder("<")
    return RowSource(len(rows), rows.shape[1:], dtype, read)

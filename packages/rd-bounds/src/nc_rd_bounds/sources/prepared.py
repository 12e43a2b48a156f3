"""Vectors that 'nc data prepare' made of files, memory-mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.locations import NotPreparedError, not_prepared
from nc_core.datasets.manifest import MANIFEST, read_manifest
from nc_core.datasets.npy_files import load_npy
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError
from nc_core.files import describe_os_error
from nc_core.protocols import Layout

__all__ = ["PreparedVectors", "checked_vectors", "folders_of"]


class PreparedVectors:
    """One split of prepared vectors. Items are ``{"data": (dims,)}``, as the files have them.

    Args:
        request: what was asked for.
        dims: numbers per vector.

    Raises:
        NotPreparedError: the dataset, or this split of it, is not prepared.
        DataError: not as it was prepared.
    """

    fields: tuple[str, ...] = ("data",)
    layout: Layout = "none"
    range: tuple[float, float] = (float("-inf"), float("inf"))

    def __init__(self, request: DatasetRequest, dims: int) -> None:
        self.name = request.name
        self.shape: tuple[int | None, ...] = (dims,)
        dataset = request.folder.name
        manifest = read_manifest(request.folder)
        if manifest is None:
            raise not_prepared(dataset, request.folder / MANIFEST, is_offered=False)
        if request.split not in manifest.items:
            there = ", ".join(f"{dataset}:{split}" for split in manifest.items)
            raise NotPreparedError(
                f"{dataset}:{request.split} is not prepared: {manifest.source} did not hold it",
                f"there is {there}",
            )
        path = request.folder / f"{request.split}.npy"
        self._vectors = load_npy(path)
        if self._vectors.dtype.kind != "f" or self._vectors.shape[1:] != (dims,):
            raise DataError(f"{path}: damaged", f"nc data verify {dataset}")
        self.dtype: np.dtype[Any] = self._vectors.dtype.newbyteorder("=")

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        if not 0 <= index < len(self._vectors):
            raise IndexError(index)
        return {"data": np.ascontiguousarray(self._vectors[index], self.dtype)}

    def rows(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Vectors of these indices, (B, dims)."""
        return self._vectors[indices]


def folders_of(source: Path) -> list[Path]:
    """The folder that a user gave, and the folders in it, by name.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    except OSError as error:
        raise describe_os_error(error, source) from error


def checked_vectors(path: Path, dims: int) -> NDArray[Any]:
    """The rows of a ``.npy`` file of real numbers.

    Raises:
        DataError: missing or damaged, of another shape or type, or not finite.
    """
    vectors = load_npy(path)
    if vectors.ndim != 2 or vectors.shape[1] != dims:
        raise DataError(f"{path}: an array of shape {vectors.shape}, expected (n, {dims})")
    if vectors.dtype.kind != "f":
        raise DataError(f"{path}: samples of type {vectors.dtype}, expected real numbers")
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: values that are not finite")
    return vectors

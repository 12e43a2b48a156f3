"""Arrays of results: small ``.npz`` files, read whole and checked."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.npy_files import load_npz
from nc_core.errors import DataError, UsageError
from nc_core.files import atomic_write, describe_os_error

__all__ = ["array_names", "load_arrays", "save_arrays"]


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays under their names, whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The arrays of given names, one-dimensional and of equal length.

    Raises:
        DataError: one is missing, damaged, or not of its companions' shape.
    """
    try:
        arrays = {name: np.array(load_npz(path, name, checked=True)[1], float) for name in names}
    except UsageError as error:
        raise DataError(f"{path}: {error.message}") from error
    if len({array.shape for array in arrays.values()}) != 1 or arrays[names[0]].ndim != 1:
        raise DataError(f"{path}: arrays of different shapes")
    return arrays


def array_names(path: Path) -> list[str]:
    """Names of the arrays of a file.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: damaged, or not an .npz archive") from error
    except OSError as error:
        raise describe_os_error(error, path) from error

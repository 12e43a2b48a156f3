"""Rows of a NumPy array as a dataset."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.npy_files import load_npy, load_npz
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError
from nc_core.protocols import Layout

__all__ = ["ArrayRows", "guess_layout", "open_npy", "open_npz"]

_LAYOUTS = ("hw", "hwc", "chw", "none")
_CHANNELS = (1, 2, 3, 4)
_SAMPLES_PER_CHECK = 1 << 22


def open_npy(request: DatasetRequest) -> ArrayRows:
    """Open a ``.npy`` file; the target of the record ``npy``.

    Raises:
        DataError: missing, damaged, not numeric, not finite, or without rows.
        UsageError: a layout that does not fit.
    """
    path = request.required_path()
    return _rows(request, str(path), load_npy(path))


def open_npz(request: DatasetRequest) -> ArrayRows:
    """Open one array of a ``.npz`` file; the target of the record ``npz``.

    Raises:
        DataError: missing, damaged, not numeric, not finite, or without rows.
        UsageError: no such array, several to choose from, a layout that does not fit.
    """
    path = request.required_path()
    key, array = load_npz(path, request.options.get("key"))
    return _rows(request, f"{path}[{key}]", array)


def _rows(request: DatasetRequest, label: str, array: NDArray[Any]) -> ArrayRows:
    layout = request.option("layout", _LAYOUTS, "")
    return ArrayRows(request.name, array, cast(Layout, layout) if layout else None, label)


class ArrayRows:
    """The rows of an array: item i is ``array[i]``, values and type as stored, native byte order.

    Images come as ``{"image": row}``, other rows as ``{"data": row}``.

    Args:
        name: full name of the dataset.
        array: numeric or bool, at least two dimensions, the first counts the rows.
        layout: order of the axes of a row; None to guess (:func:`guess_layout`).
        label: what errors call the array; its name by default.

    Raises:
        DataError: fewer than two dimensions, a layout that does not fit the shape, or values
            that are not finite.
    """

    def __init__(
        self,
        name: str,
        array: NDArray[Any],
        layout: Layout | None = None,
        label: str | None = None,
    ) -> None:
        label = label or name
        if array.ndim < 2:
            raise DataError(
                f"{label}: an array of shape {array.shape} has no rows of samples",
                "give it two dimensions or more, the first one counting the items",
            )
        shape = array.shape[1:]
        self.layout: Layout = layout or guess_layout(shape)
        rank = {"hw": 2, "hwc": 3, "chw": 3}.get(self.layout, len(shape))
        if len(shape) != rank:
            raise DataError(f"{label}: items of shape {shape} do not have the layout {layout}")
        _check_finite(array, label)
        self.name = name
        self.shape: tuple[int | None, ...] = shape
        self.dtype: np.dtype[Any] = array.dtype.newbyteorder("=")
        self.range = _range(self.dtype)
        self.fields: tuple[str, ...] = ("data",) if self.layout == "none" else ("image",)
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        if not 0 <= index < len(self._array):
            raise IndexError(index)
        return {self.fields[0]: np.ascontiguousarray(self._array[index], self.dtype)}

    def rows(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Many items at once: an array with one more axis in front."""
        return np.ascontiguousarray(self._array[indices], self.dtype)


def guess_layout(shape: tuple[int, ...]) -> Layout:
    """Layout of one item by its shape.

    Two axes are ``hw``; three are ``hwc`` if the last has 1 to 4 channels, else ``chw`` if the
    first has; everything else is ``none``.
    """
    if len(shape) == 2:
        return "hw"
    if len(shape) == 3 and shape[2] in _CHANNELS:
        return "hwc"
    if len(shape) == 3 and shape[0] in _CHANNELS:
        return "chw"
    return "none"


def _range(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        return float("-inf"), float("inf")
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _check_finite(array: NDArray[Any], label: str) -> None:
    """Refuse NaN and infinity, naming the first; the array is visited in bounded parts."""
    if array.dtype.kind != "f":
        return
    step = max(1, _SAMPLES_PER_CHECK * len(array) // array.size)
    for start in range(0, len(array), step):
        part = array[start : start + step]
        bad = np.argwhere(~np.isfinite(part))
        if len(bad):
            places = [[int(start + row), *map(int, rest)] for row, *rest in bad[:3]]
            values = ", ".join(f"{place} is {array[tuple(place)]}" for place in places)
            more = "" if len(bad) <= len(places) else f" and {len(bad) - len(places)} more"
            raise DataError(f"{label}: values that are not finite: {values}{more}")

"""Image files as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError
from nc_core.images import image_files, read_image, read_shape
from nc_core.protocols import Layout

__all__ = ["ImageFiles", "open_folder"]


def open_folder(request: DatasetRequest) -> ImageFiles:
    """Open the images directly in a folder, by name; the target of the record ``folder``.

    Raises:
        DataError: no such folder, or no image in it.
    """
    folder = request.required_path()
    if folder.is_file():
        raise DataError(f"{folder}: a file, not a folder of images")
    return ImageFiles(request.name, image_files(folder))


class ImageFiles:
    """Image files, read when asked for.

    Items are ``{"image": array}``, pixels as stored: (H, W) for grey, else (H, W, C). The
    first image gives ``dtype`` and ``range`` of the dataset; others may differ.

    Args:
        name: full name of the dataset.
        paths: the files, in order; at least one.
        shape: shape that all of them have, None where it varies.

    Raises:
        DataError: the first file is no readable image.
    """

    fields: tuple[str, ...] = ("image",)
    layout: Layout = "hwc"

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        shape: tuple[int | None, ...] = (None, None, None),
    ) -> None:
        self.name = name
        self.paths = tuple(paths)
        self.shape = shape
        self.dtype: np.dtype[Any] = np.dtype(read_shape(self.paths[0])[1])
        self.range: tuple[float, float] = (0, int(np.iinfo(self.dtype).max))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        if not 0 <= index < len(self.paths):
            raise IndexError(index)
        return {"image": read_image(self.paths[index]).pixels}

"""Image files as the original loads them: which, in which order, and brought to one size.

A folder is searched with all folders below it; at every level files and folders come by name. A
picture is halved by averages while it is at least twice as large as wanted, scaled by a bicubic
filter, and cropped in the middle; one of the wanted size stays as it is.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672; the loader of its published code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError
from nc_core.files import describe_os_error

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["SUFFIXES", "class_name", "fitted", "picture_files"]

SUFFIXES = (".gif", ".jpeg", ".jpg", ".png")
"""Of the files that count, in small or capital letters."""

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_GREY_MODES = ("1", "L")
_LONGEST_SIDE = 1 << 16  # of a scaled picture, whose memory grows with it


def picture_files(folder: Path) -> list[Path]:
    """Image files in a folder and below it, in the original's order; hidden ones are left out.

    Raises:
        DataError: a folder cannot be read, contains itself by a link, or holds no image.
    """
    if folder.is_file():
        raise DataError(f"{folder}: a file, not a folder of images")
    try:
        found = list(_below(folder, ()))
    except OSError as error:
        raise describe_os_error(error, error.filename or folder) from error
    if not found:
        kinds = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        raise DataError(f"{folder}: no image files ({kinds}) in this folder, or below it")
    return found


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        raise DataError(f"{folder}: a link to a folder above it")
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _below(path, (*above, real))
        elif path.name.lower().endswith(SUFFIXES):
            yield path


def class_name(path: Path) -> str:
    """The class of an image: the text before the first underscore of its file name."""
    return path.name.partition("_")[0]


def fitted(picture: Picture, size: int, channels: int, label: str) -> NDArray[np.uint8]:
    """The pixels of a picture, scaled and cropped to a square.

    Args:
        picture: of 8 bits per channel.
        size: height and width of the square, in pixels.
        channels: 1 or 2 (grey, with alpha), 3 (RGB) or 4. Three are made of pictures of any kind:
            grey gives three equal ones, alpha is dropped; others must be what the picture has.
        label: what errors call the picture.

    Returns:
        uint8, (channels, size, size).

    Raises:
        DataError: the picture has other channels.
    """
    mode = _MODES[channels]
    kept = _GREY_MODES if channels == 1 else (mode,)
    if channels != 3 and picture.mode not in kept:
        raise DataError(
            f"{label}: {picture.mode} pixels, where the model takes "
            + ("grey ones" if channels == 1 else mode),
            "convert the image first, or use a model of RGB images",
        )
    pixels = np.asarray(_scaled(picture, size, label).convert(mode))
    top, left = ((side - size) // 2 for side in pixels.shape[:2])
    square = pixels[top : top + size, left : left + size].reshape(size, size, channels)
    return np.ascontiguousarray(square.transpose(2, 0, 1))


def _scaled(picture: Picture, size: int, label: str) -> Picture:
    """The picture with a shorter side of ``size`` pixels."""
    from PIL.Image import Resampling

    while min(picture.size) >= 2 * size:
        width, height = picture.size
        picture = picture.resize((width // 2, height // 2), Resampling.BOX)
    scale = size / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    if max(width, height) > _LONGEST_SIDE:
        raise DataError(f"{label}: {picture.width} x {picture.height} pixels are no usable image")
    return picture.resize((width, height), Resampling.BICUBIC)

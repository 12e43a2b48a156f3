"""Sheets: many small images as one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["image_sheet"]


def image_sheet(images: NDArray[np.uint8], columns: int = 8) -> NDArray[np.uint8]:
    """Images side by side, in rows.

    Args:
        images: (n, C, H, W), C = 1 or 3.
        columns: of the sheet.

    Returns:
        uint8, (rows * H, columns * W) or (rows * H, columns * W, 3); unused places are black.
    """
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    places = np.zeros((rows * columns, channels, height, width), np.uint8)
    places[:count] = images
    sheet = places.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    return sheet[..., 0] if channels == 1 else sheet

"""Images to calibrate a network on whose training images are not at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.locations import NotPreparedError
from nc_core.datasets.opening import open_dataset
from nc_core.plugins import PluginManager
from nc_diffusion_bb.config import ModelConfig
from nc_diffusion_bb.data import open_images
from nc_diffusion_bb.digits import bordered, halved

__all__ = ["CALIBRATION_IMAGES", "made_up_images", "usual_images"]

CALIBRATION_IMAGES = 32
_DIGITS = "mnist:train"
_COLOURS = "cifar10:train"
_LARGE_COLOURS = "imagenet64:train"
_MOST_SMALL = 48


def usual_images(
    model: ModelConfig, plugins: PluginManager | None = None
) -> tuple[str, NDArray[np.uint8]] | None:
    """Some training images of the usual dataset for a network's channels and image size.

    Args:
        model: of which images.
        plugins: where datasets are looked up.

    Returns:
        Name of the dataset, and images, uint8 (n, C, H, W); None where it is not prepared.
    """
    if model.channels not in (1, 3):
        return None
    colours = _LARGE_COLOURS if model.image_size > _MOST_SMALL else _COLOURS
    name = _DIGITS if model.channels == 1 else colours
    try:
        if name == _DIGITS and model.image_size in (16, 32):
            return name, _digits(model.image_size, plugins)
        return name, open_images(name, model, plugins).first(CALIBRATION_IMAGES)
    except NotPreparedError:
        return None


def _digits(size: int, plugins: PluginManager | None) -> NDArray[np.uint8]:
    digits = open_dataset(_DIGITS, plugins)
    images = bordered(np.stack([digits[index]["image"] for index in range(CALIBRATION_IMAGES)]))
    return (halved(images) if size == 16 else images)[:, None]


def made_up_images(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Noise with the spectrum of photographs, power falling as 1 / frequency squared.

    Args:
        shape: (channels, height, width).
        seed: of the noise.

    Returns:
        uint8, (32, channels, height, width), of various brightness and contrast.
    """
    generator = np.random.default_rng(seed)
    channels, height, width = shape
    rows, columns = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    frequency = np.hypot(rows[:, None], columns)
    falling = 1 / np.maximum(frequency, 1 / max(height, width))
    white = generator.standard_normal((CALIBRATION_IMAGES, 1 + channels, height, width))
    coloured = np.fft.irfft2(np.fft.rfft2(white) * falling, s=(height, width))
    planes = coloured[:, :1] + 0.3 * coloured[:, 1:]  # channels are alike
    planes /= np.maximum(planes.std(axis=(1, 2, 3), keepdims=True), 1e-9)
    brightness = generator.uniform(32, 224, (CALIBRATION_IMAGES, 1, 1, 1))
    contrast = generator.uniform(8, 96, (CALIBRATION_IMAGES, 1, 1, 1))
    return np.clip(np.rint(brightness + contrast * planes), 0, 255).astype(np.uint8)

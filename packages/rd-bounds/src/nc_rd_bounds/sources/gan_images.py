"""Images of a generative adversarial network whose latent space has few dimensions.

No generator comes with this package: ``?generator=package.module:attribute`` names one that can
be imported, as ``gan-images?generator=my_gan.convert:load&class=jay&d=4``. The attribute is a
function without arguments; what it returns is the generator (:class:`Generator`), such as a
converted BigGAN.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.opening import DatasetRequest, one_of
from nc_core.errors import DataError, MissingDependencyError, UsageError
from nc_core.protocols import Layout
from nc_rd_bounds.sources.endless import Endless

__all__ = ["CLASSES", "GanImages", "Generator", "load_generator", "open_gan_images"]

CLASSES = {"basenji": 253, "beagle": 162, "jay": 17, "magpie": 18}
"""Classes of ImageNet that the paper uses, by name."""

_IMAGES_PER_CALL = 64
_BOUND = 2.0
_SLACK = 1e-3
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class Generator(Protocol):
    """A generator of images; equal arguments give equal images.

    Attributes:
        latent_dims: width of z; 128 of BigGAN at 128 x 128.
        classes: width of y; 1000.
        shape: (H, W, 3) of an image; (128, 128, 3).
    """

    latent_dims: int
    classes: int
    shape: tuple[int, int, int]

    def __call__(self, z: NDArray[np.float32], y: NDArray[np.float32], truncation: float) -> Any:
        """Images in [-1, 1], (B, H, W, 3), a NumPy array or what becomes one.

        Args:
            z: latent samples, already multiplied by the truncation, float32 (B, latent_dims).
            y: one-hot classes, float32 (B, classes).
            truncation: as given by the user.
        """
        ...


def load_generator(entry: str) -> Generator:
    """Import a generator.

    Args:
        entry: ``package.module:attribute`` of a function without arguments.

    Raises:
        UsageError: another form.
        MissingDependencyError: no such module or attribute.
        DataError: what it returns is no generator.
    """
    if not _ENTRY.fullmatch(entry):
        raise UsageError(f"generator={entry[:80]}: expected package.module:attribute")
    module, _, attribute = entry.partition(":")
    try:
        load = cast("Callable[[], Generator]", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"generator {entry} cannot be imported: {error}",
            "install its package, or put the folder of its module on PYTHONPATH",
        ) from error
    if not callable(load):
        raise UsageError(f"generator={entry}: not a function")
    generator = load()
    missing = [n for n in ("latent_dims", "classes", "shape") if not hasattr(generator, n)]
    if missing or not callable(generator):
        raise DataError(
            f"generator {entry}: not a generator: no {missing[0] if missing else '__call__'}",
            "see nc_rd_bounds.sources.gan_images.Generator",
        )
    return generator


def open_gan_images(request: DatasetRequest) -> GanImages:
    """Open one split; the target of the record ``gan-images``.

    Raises:
        UsageError: a wrong value of an option.
        MissingDependencyError: no generator, or one that cannot be imported.
    """
    entry = request.options.get("generator")
    if entry is None:
        raise MissingDependencyError(
            "gan-images needs a generator, and none comes with this package",
            "name one that can be imported: gan-images?generator=package.module:attribute",
        )
    generator = load_generator(entry)
    return GanImages(
        request.name,
        request.split,
        generator,
        class_id(request.options.get("class", "basenji"), generator.classes),
        request.integer("d", 2),
        _truncation(request.options.get("truncation", "0.8")),
        request.integer("seed", 0),
    )


def class_id(word: str, classes: int) -> int:
    """Number of a class, given by number or by one of the names in :data:`CLASSES`.

    Raises:
        UsageError: neither, or a number that the generator does not have.
    """
    digits = word.isascii() and word.isdecimal() and len(word) <= 9
    number = int(word) if digits else CLASSES[one_of(word, CLASSES, "class (or number of one)")]
    if number >= classes:
        raise UsageError(f"class={word}: the generator has {classes} classes, 0 to {classes - 1}")
    return number


def _truncation(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 < value <= 10:
        raise UsageError(f"truncation={word[:20]}: expected a number above 0, at most 10")
    return value


class GanImages(Endless):
    """Images of one class in [0, 1], float32 (H, W, 3), without end.

    The first ``d`` latent coordinates are normal, drawn again beyond two standard deviations, and
    multiplied by the truncation; the others are 0. So images lie on a surface of d dimensions.

    Args:
        name: full name of the dataset.
        split: ``train`` or ``test``: independent streams.
        generator: makes the images, in calls of 64.
        class_number: of the images.
        d: number of latent coordinates that are not 0.
        truncation: their factor.
        seed: of the latent samples.

    Raises:
        UsageError: ``d`` is not from 1 to the generator's latent dimensions.
    """

    fields = ("image",)
    layout: Layout = "hwc"
    range: tuple[float, float] = (0.0, 1.0)

    def __init__(
        self,
        name: str,
        split: str,
        generator: Generator,
        class_number: int,
        d: int = 2,
        truncation: float = 0.8,
        seed: int = 0,
    ) -> None:
        if not 1 <= d <= generator.latent_dims:
            raise UsageError(f"d={d}: expected 1 to {generator.latent_dims}")
        shape = tuple(int(side) for side in generator.shape)
        super().__init__(name, f"gan-images:{split}", seed, shape, _IMAGES_PER_CALL)
        self._generator = generator
        self._class = class_number
        self._d = d
        self._truncation = truncation

    def draw(self, generator: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Draw images, float32 (count, H, W, 3).

        Raises:
            DataError: the generator returns another shape, or values outside [-1, 1].
        """
        z = np.zeros((count, self._generator.latent_dims), np.float32)
        z[:, : self._d] = self._truncation * _truncated_normals(generator, (count, self._d))
        y = np.zeros((count, self._generator.classes), np.float32)
        y[:, self._class] = 1
        images = np.asarray(self._generator(z, y, self._truncation), np.float32)
        if images.shape != (count, *self._row):
            raise DataError(f"{self.name}: images of shape {images.shape} for {count} samples")
        if not (np.abs(images) <= 1 + _SLACK).all():  # NaN is not below either
            raise DataError(f"{self.name}: the generator returns values outside [-1, 1]")
        return np.clip((images + 1) / 2, 0, 1)


def _truncated_normals(
    generator: np.random.Generator, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Normal numbers; those beyond two standard deviations are drawn again."""
    numbers = generator.standard_normal(shape)
    while (beyond := np.abs(numbers) > _BOUND).any():
        numbers[beyond] = generator.standard_normal(int(beyond.sum()))
    return numbers

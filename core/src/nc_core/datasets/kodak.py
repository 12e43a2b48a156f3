"""The 24 photographs of the Kodak suite; for evaluation only, never for training."""

from __future__ import annotations

from nc_core.datasets.folder import ImageFiles
from nc_core.datasets.locations import not_prepared
from nc_core.datasets.opening import DatasetRequest

__all__ = ["open_kodak"]


def open_kodak(request: DatasetRequest) -> ImageFiles:
    """Open ``kodim01.png`` to ``kodim24.png``; the target of the record ``kodak``.

    Items are ``{"image": uint8 (512, 768, 3)}``, or (768, 512, 3) for six portraits.

    Raises:
        DataError: a file is missing.
    """
    paths = [request.folder / f"kodim{number:02}.png" for number in range(1, 25)]
    for path in paths:
        if not path.is_file():
            raise not_prepared("kodak", path)
    return ImageFiles(request.name, paths, shape=(None, None, 3))

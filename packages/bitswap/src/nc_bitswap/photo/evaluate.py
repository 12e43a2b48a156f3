"""Bits of photographs under the real-valued model, by level."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from nc_bitswap.photo.lattice import to_planes
from nc_bitswap.photo.model import BASE_MULTIPLE, PhotoModel
from nc_core.errors import DataError
from nc_core.training import current_shard
from nc_core.training.meters import widest_float
from nc_core.training.shards import reduce

__all__ = ["level_bits"]

_LARGEST_SIDE = 1024


@torch.no_grad()
def level_bits(
    model: PhotoModel, pictures: Iterable[Image.Image], source: str, fabric: Fabric
) -> list[float]:
    """Bits per sample of the images that lattices 0, 1, ... and the base take, all together.

    Of an image the middle is used, up to 1024 pixels high and wide, as far as its sides are
    multiples of what the base needs. Latents are drawn once, with the same noise each time.

    Args:
        model: in floating point.
        pictures: in RGB; each of several processes measures its part.
        source: what to call them in an error.
        fabric: device and processes.

    Raises:
        DataError: an image that is too small.
    """
    shard, device = current_shard(), fabric.device
    totals = torch.zeros(model.levels + 2, dtype=widest_float(device), device=device)
    for index, picture in enumerate(pictures):
        if index % shard.world == shard.rank:
            planes = _middle(picture, BASE_MULTIPLE << model.levels, f"{source}: image {index}")
            generator = torch.Generator().manual_seed(index)
            totals += _bits_and_samples(model, planes.to(device), generator).to(totals)
    *bits, samples = reduce(fabric, totals, "sum").tolist()
    return [level / samples for level in bits]


def _bits_and_samples(model: PhotoModel, planes: Tensor, generator: torch.Generator) -> Tensor:
    samples = torch.tensor(float(planes.numel()))
    bits = []
    for level in range(model.levels):
        bits.append(model.lattice_bits(level, planes).sum().cpu())
        planes = planes[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
    return torch.stack([*bits, model.base_bits(planes, generator).sum().cpu(), samples])


def _middle(picture: Image.Image, multiple: int, what: str) -> Tensor:
    """Planes of the middle of a picture, (1, 3, H, W)."""
    width, height = (min(side, _LARGEST_SIDE) // multiple * multiple for side in picture.size)
    if not (width and height):
        raise DataError(f"{what} has fewer than {multiple} pixels a side")
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    pixels = np.asarray(picture.crop((left, top, left + width, top + height)))
    planes = to_planes(pixels.transpose(2, 0, 1)[None])
    return planes.contiguous(memory_format=torch.channels_last)

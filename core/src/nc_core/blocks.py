"""From items to blocks: tiles of large items, and the chunks that hold blocks of one shape.

The plan is a pure function of the content and three numbers, which the container's header
records; encoder and decoder derive the same one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nc_core.content import Content, Item

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Tile", "Tiling", "cut", "fewest_chunks", "from_planes", "plan_chunks", "to_planes",
]  # fmt: skip

_FREE_SIDE = 1024
_MAX_TILES = 1 << 16  # of a chunk: bounds memory where tiles have hardly any pixels


@dataclass(frozen=True)
class Tiling:
    """How items are cut.

    Args:
        height, width: of a tile; 0 where it follows from ``pixels``.
        pixels: most pixels of a chunk, and of a tile of free size.
    """

    height: int
    width: int
    pixels: int

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the tiles of an item; the last of a row or column may be smaller."""
        if self.height and self.width:
            return self.height, self.width
        if height * width <= self.pixels:
            return height, width
        tile_width = _even_part(width, min(_FREE_SIDE, self.pixels))
        return _even_part(height, self.pixels // tile_width), tile_width

    def count(self, height: int, width: int) -> int:
        """Number of tiles of an item."""
        tile_height, tile_width = self.sides(height, width)
        return -(-height // tile_height) * -(-width // tile_width)


@dataclass(frozen=True)
class Tile:
    """A rectangle of one item, all channels."""

    item: int
    top: int
    left: int
    shape: tuple[int, int, int]
    dtype: str

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.shape[1] * self.shape[2]

    @property
    def dims(self) -> int:
        """Number of samples."""
        return self.shape[0] * self.pixels


def plan_chunks(content: Content, tiling: Tiling) -> Iterator[list[Tile]]:
    """The tiles of each chunk: consecutive, of one shape and dtype.

    A chunk has at most ``tiling.pixels`` pixels, or one tile of more, and at most 2**16 tiles.
    """
    chunk: list[Tile] = []
    room = 0
    for index in range(len(content)):
        for tile in _tiles(index, content[index], tiling):
            fits = chunk and tile.shape == chunk[0].shape and tile.dtype == chunk[0].dtype
            if not fits or tile.pixels > room or len(chunk) == _MAX_TILES:
                if chunk:
                    yield chunk
                chunk, room = [], tiling.pixels
            chunk.append(tile)
            room -= tile.pixels
    if chunk:
        yield chunk


def fewest_chunks(content: Content, tiling: Tiling) -> int:
    """A number of chunks that the plan has at least, without making it."""
    times = len(content) // len(content.items)
    tiles = pixels = 0
    for item in content.items:
        _, height, width = item.planes
        tiles += times * tiling.count(height, width)
        pixels += times * height * width
    most_pixels = max(tiling.pixels, tiling.height * tiling.width)
    return max(-(-tiles // _MAX_TILES), -(-pixels // most_pixels))


def to_planes(pixels: NDArray[Any], item: Item) -> NDArray[Any]:
    """An item in the order (C, H, W), which models see."""
    if item.layout == "hwc":
        return pixels.transpose(2, 0, 1)
    return pixels.reshape(item.planes)


def from_planes(planes: NDArray[Any], item: Item) -> NDArray[Any]:
    """An item back in its own layout, contiguous."""
    if item.layout == "hwc":
        return planes.transpose(1, 2, 0).copy()
    return planes.reshape(item.shape)


def cut(planes: NDArray[Any], tile: Tile) -> NDArray[Any]:
    """The part of an item (C, H, W) that a tile covers; a view."""
    _, height, width = tile.shape
    return planes[:, tile.top : tile.top + height, tile.left : tile.left + width]


def _tiles(index: int, item: Item, tiling: Tiling) -> Iterator[Tile]:
    channels, height, width = item.planes
    tile_height, tile_width = tiling.sides(height, width)
    for top in range(0, height, tile_height):
        for left in range(0, width, tile_width):
            shape = (channels, min(tile_height, height - top), min(tile_width, width - left))
            yield Tile(index, top, left, shape, item.dtype)


def _even_part(length: int, most: int) -> int:
    """The side of a tile: as few parts of at most ``most`` as possible, of nearly equal size."""
    parts = -(-length // most)
    return -(-length // parts)

"""The compressed image file of the original's demo, ``NAME_bitswap.npy``.

One array of uint32: the words of the state from the bottom up, the head's low and high word, the
number of blocks, and height and width of the image, which is cropped to whole blocks. It has
neither a signature nor a checksum. The state started with words that a seed decides, so that
what is left after decoding says whether the decoder followed.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nc_bitswap.legacy.chain import LegacyCodec
from nc_bitswap.legacy.coder import LegacyState
from nc_core.datasets.npy_files import load_npy
from nc_core.errors import CorruptFileError, DataError
from nc_core.files import atomic_write

__all__ = ["DemoFile", "blocks_of", "image_of", "pack", "unpack"]

_SEED = 100
_TRAILER = 5
# Each word may carry 32 bits, and no pixel of a useful image costs less than a thousandth of one.
_MOST_SAMPLES_PER_WORD = 32_000

_Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DemoFile:
    """What such a file holds.

    Args:
        state: after the last block was pushed.
        blocks: how many.
        height, width: of the image, in pixels.
    """

    state: LegacyState
    blocks: int
    height: int
    width: int

    @classmethod
    def from_words(cls, array: NDArray[np.uint32], name: str) -> DemoFile:
        """Read the array of a file.

        Raises:
            CorruptFileError: no such array, or one whose numbers contradict each other.
        """
        if array.ndim != 1 or array.dtype != np.uint32 or len(array) < _TRAILER:
            raise CorruptFileError(f"{name}: not a file of the Bit-Swap demo")
        *words, low, high, blocks, height, width = array.tolist()
        if not blocks or not height * width or high == 0:
            raise CorruptFileError(f"{name}: not a file of the Bit-Swap demo")
        state = LegacyState(words, high << 32 | low)
        state.low_water = 0  # whatever is in a file was touched
        return cls(state, blocks, height, width)

    @classmethod
    def read(cls, path: Path) -> DemoFile:
        """Read a file.

        Raises:
            DataError: it cannot be read.
            CorruptFileError: as :meth:`from_words`.
        """
        try:
            array = load_npy(path)
        except DataError as error:
            if not path.is_file():
                raise
            raise CorruptFileError(f"{path}: not a file of the Bit-Swap demo") from error
        return cls.from_words(np.asarray(array), str(path))

    def words(self) -> NDArray[np.uint32]:
        """The array of a file; words that the state never touched are left out."""
        state = self.state
        trailer = [state.head & 0xFFFFFFFF, state.head >> 32, self.blocks, self.height, self.width]
        return np.array(state.words[state.low_water :] + trailer, np.uint32)

    def write(self, path: Path) -> None:
        """Write a file.

        Raises:
            DataError: it cannot be written.
        """
        buffer = io.BytesIO()
        np.save(buffer, self.words())
        with atomic_write(path) as file:
            file.write(buffer.getvalue())


def pack(
    codec: LegacyCodec, image: NDArray[np.uint8], progress: _Progress | None = None
) -> DemoFile:
    """Code an image.

    Args:
        codec: of the model.
        image: uint8, (H, W, C); cropped to whole blocks from the top left.
        progress: called with (blocks done, blocks in all).

    Raises:
        DataError: an image without a whole block, or with another number of channels.
    """
    channels, height, width = codec.block_shape
    blocks = blocks_of(image, channels, height, width)
    state = LegacyState.initial(_SEED)
    for index, block in enumerate(blocks):
        codec.push(state, block)
        if progress is not None:
            progress(index + 1, len(blocks))
    rows, columns = image.shape[0] // height, image.shape[1] // width
    return DemoFile(state, len(blocks), rows * height, columns * width)


def unpack(
    codec: LegacyCodec, file: DemoFile, name: str, progress: _Progress | None = None
) -> NDArray[np.uint8]:
    """The image of a file, uint8 (H, W, C).

    Raises:
        CorruptFileError: damaged, of another model, or made where networks compute other last
            digits: nothing is returned that was not what the encoder saw.
    """
    _, height, width = codec.block_shape
    rows, columns = file.height // height, file.width // width
    if rows * columns != file.blocks or file.height % height or file.width % width:
        raise CorruptFileError(
            f"{name}: {file.blocks} blocks do not make an image of {file.width}x{file.height}"
        )
    if file.blocks * np.prod(codec.block_shape) > _MOST_SAMPLES_PER_WORD * len(file.words()):
        raise CorruptFileError(f"{name}: too short for {file.blocks} blocks")
    state = LegacyState(list(file.state.words), file.state.head)
    blocks = []
    try:
        for index in range(file.blocks):
            blocks.append(codec.pop(state))
            if progress is not None:
                progress(index + 1, file.blocks)
    except CorruptFileError as error:
        raise _does_not_decode(name) from error
    if not state.is_top_of(LegacyState.initial(_SEED)):
        raise _does_not_decode(name)
    return image_of(np.stack(blocks[::-1]), rows, columns)


def blocks_of(
    image: NDArray[np.uint8], channels: int, height: int, width: int
) -> NDArray[np.uint8]:
    """Whole blocks of an image, row by row from the top left.

    Args:
        image: uint8, (H, W, C).
        channels: of the blocks.
        height: of the blocks.
        width: of the blocks.

    Returns:
        uint8, (blocks, C, height, width).

    Raises:
        DataError: an image without a whole block, or with another number of channels.
    """
    planes = image if image.ndim == 3 else image[..., None]
    rows, columns = planes.shape[0] // height, planes.shape[1] // width
    if planes.shape[2] != channels:
        raise DataError(f"the image has {planes.shape[2]} channels, the model takes {channels}")
    if not rows * columns:
        raise DataError(f"the image is smaller than {width}x{height}")
    cropped = planes[: rows * height, : columns * width]
    grid = cropped.reshape(rows, height, columns, width, channels).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(grid).reshape(-1, channels, height, width)


def image_of(blocks: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """The inverse of :func:`blocks_of`: an image, uint8 (H, W, C)."""
    _, channels, height, width = blocks.shape
    grid = blocks.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(grid).reshape(rows * height, columns * width, channels)


def _does_not_decode(name: str) -> CorruptFileError:
    return CorruptFileError(
        f"{name}: does not decode: damaged, of another model or other bins, or made on another "
        "kind of machine",
        "the original codes with floating-point networks, whose last digits differ between "
        "processors and library versions; .ncz files decode everywhere",
    )

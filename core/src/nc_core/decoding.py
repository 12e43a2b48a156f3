"""From a container back to items: every size, order and checksum compared with the header."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.blocks import Tile, cut, fewest_chunks, from_planes, plan_chunks
from nc_core.checksums import Checksums
from nc_core.chunks import CODE, decode_chunk
from nc_core.container import ContainerReader
from nc_core.errors import CorruptFileError
from nc_core.header import Header
from nc_core.metadata import METADATA_LIMITS, item_of_metadata, unpack_metadata
from nc_core.parallel import in_order
from nc_core.protocols import Coder, LosslessModel

__all__ = ["Decoded", "Progress", "decode_container"]

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


@dataclass(frozen=True)
class Decoded:
    """One item read back: samples in its own layout, and its metadata by chunk type."""

    index: int
    samples: NDArray[Any]
    metadata: dict[bytes, bytes]


def decode_container(
    reader: ContainerReader,
    header: Header,
    model: LosslessModel,
    coder: Coder,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> Iterator[Decoded]:
    """The items of a container in order, each compared with the checksum of what went in.

    Raises:
        CorruptFileError: another model, damage, or a machine that computes differently.
    """
    header.check_model(model)
    _check_plan(reader, header)
    assembly = _Assembly(header)
    checksums = Checksums(header.content, reader.footer, header.file)
    total, done = header.content.dims, 0

    def decode(task: _Task) -> tuple[_Task, NDArray[Any]]:
        tile = task.tiles[0]
        shape = (len(task.tiles), *tile.shape)
        return task, decode_chunk(task.payload, shape, tile.dtype, task.seed, header, model, coder)

    for task, blocks in in_order(decode, _tasks(reader, header), threads):
        for item in assembly.add(task, blocks):
            checksums.check(item.index, item.samples)
            yield item
        done += blocks.size
        if progress is not None:
            progress(done, total)


_Packed = dict[tuple[int, bytes], bytes]  # (item, chunk type) -> payload


@dataclass(frozen=True)
class _Task:
    """Payload of one chunk, its tiles, and the metadata of the items that begin in it.

    Metadata stay packed until their item is complete, so that no more than one item's take memory.
    """

    seed: int
    tiles: list[Tile]
    payload: bytes
    metadata: _Packed


class _Assembly:
    """Puts tiles together to items; holds the unfinished item only."""

    def __init__(self, header: Header) -> None:
        self._content, self._file = header.content, header.file
        self._planes: NDArray[Any] = np.empty((0, 0, 0))
        self._item, self._missing = -1, 0
        self._metadata: _Packed = {}

    def add(self, task: _Task, blocks: NDArray[Any]) -> Iterator[Decoded]:
        """Take the blocks of one chunk; yields the items that they complete."""
        self._metadata |= task.metadata
        for tile, block in zip(task.tiles, blocks, strict=True):
            item = self._content[tile.item]
            if tile.item != self._item:
                self._planes = np.empty(item.planes, item.dtype)
                self._item, self._missing = tile.item, item.dims
            cut(self._planes, tile)[...] = block
            self._missing -= block.size
            if self._missing == 0:
                samples = from_planes(self._planes, item)
                yield Decoded(tile.item, samples, self._unpacked(tile.item))

    def _unpacked(self, item: int) -> dict[bytes, bytes]:
        return {
            kind: unpack_metadata(kind, self._metadata.pop((item, kind)), self._file)
            for kind in METADATA_LIMITS
            if (item, kind) in self._metadata
        }


def _check_plan(reader: ContainerReader, header: Header) -> None:
    """Refuse content of more chunks than the file has, before memory is taken for any item."""
    if fewest_chunks(header.content, header.tiling) > len(reader.chunk_lengths):
        raise _misfit(header)


def _tasks(reader: ContainerReader, header: Header) -> Iterator[_Task]:
    """Pair the code chunks with the plan of the content; both must end together."""
    plan = plan_chunks(header.content, header.tiling)
    metadata: _Packed = {}
    seed = 0
    for kind, payload in reader.chunks():
        if kind in METADATA_LIMITS:
            key = item_of_metadata(payload, header.file), kind
            if key in metadata:
                raise _misfit(header)
            metadata[key] = payload
            continue
        if kind != CODE:
            raise CorruptFileError(
                f"{header.file}: holds a chunk of unknown type {kind!r}",
                "pip install --upgrade nc-core",
            )
        tiles = next(plan, None)
        if tiles is None:
            raise _misfit(header)
        begun = {tile.item for tile in tiles if tile.top == tile.left == 0}
        if not begun.issuperset(item for item, _ in metadata):
            raise _misfit(header)
        yield _Task(seed, tiles, payload, metadata)
        seed, metadata = seed + 1, {}
    if metadata or next(plan, None) is not None:
        raise _misfit(header)


def _misfit(header: Header) -> CorruptFileError:
    return CorruptFileError(f"{header.file}: damaged, its chunks do not fit its content")

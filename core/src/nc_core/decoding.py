"""From a container back to items: every size, order and checksum compared with the header."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.blocks import Tile, cut, fewest_chunks, from_planes, plan_chunks
from nc_core.checksums import Checksums
from nc_core.chunk_journal import ChunkJournals
from nc_core.chunks import CODE, decode_chunk
from nc_core.container import ContainerReader
from nc_core.errors import CorruptFileError
from nc_core.header import Header
from nc_core.metadata import METADATA_LIMITS, item_of_metadata, unpack_metadata
from nc_core.parallel import in_order
from nc_core.protocols import Coder, LosslessModel
from nc_core.samples_done import Progress, SamplesDone, errors_of_progress

__all__ = ["Damage", "Decoded", "decode_container"]

_MOST_LOST = 1 << 24


@dataclass(frozen=True)
class Decoded:
    """One item read back: samples in its own layout, and its metadata by chunk type."""

    index: int
    samples: NDArray[Any]
    metadata: dict[bytes, bytes]


@dataclass(frozen=True)
class Damage:
    """Something in a container that cannot be decoded.

    Args:
        error: what is wrong with it.
        items: the wanted items that are lost by it; none where only metadata are, or where an
            array is not as its checksum says, which tells nothing of its items.
    """

    error: CorruptFileError
    items: tuple[int, ...] = ()


def decode_container(
    reader: ContainerReader,
    header: Header,
    model: LosslessModel,
    coder: Coder,
    *,
    wanted: Collection[int] | None = None,
    on_damage: Callable[[Damage], None] | None = None,
    threads: int = 1,
    progress: Progress | None = None,
    journals: ChunkJournals | None = None,
) -> Iterator[Decoded]:
    """The items of a container in order, each compared with the checksum of what went in.

    An array has one checksum, so that single items of it are checked by their chunk only; so are
    all items of a container without a footer.

    Args:
        reader: of the container.
        header: its header.
        model: the one that made it.
        coder: any that reads its words.
        wanted: indices of the items to decode; None for all. Only their chunks are read.
        on_damage: called where an item is lost, which is then left out; None to raise.
        threads: chunks decoded at once.
        progress: called after every chunk, and within those of a model that says how far it is;
            in whatever thread, one call at a time.
        journals: where decoded chunks and the state within others are kept, and taken up.

    Raises:
        CorruptFileError: another model, damage, or a machine that computes differently.
        UsageError: the journals are those of another container or version.
        KeyboardInterrupt: the user wants to stop.
    """
    model = header.told(model)
    header.check_model(model)
    wanted = range(len(header.content)) if wanted is None else frozenset(wanted)
    if reader.damage is not None:
        wanted = _whole_items(reader, header, wanted, on_damage)
    elif fewest_chunks(header.content, header.tiling) > len(reader.chunk_lengths):
        raise _misfit(header)  # before memory is taken for any item
    tasks = _Tasks(reader, header, wanted, on_damage)
    assembly = _Assembly(header, wanted)
    checksums = (
        Checksums(header.content, reader.footer, header.file) if reader.damage is None else None
    )
    done = SamplesDone(sum(header.content[index].dims for index in wanted), progress)
    journals = journals or ChunkJournals(None, "decode", header, model)

    def decode(task: _Task) -> tuple[_Task, NDArray[Any] | CorruptFileError]:
        if task.error is not None:
            return task, task.error
        tile = task.tiles[0]
        shape = (len(task.tiles), *tile.shape)
        reached = done.within(task.seed, task.samples)
        journal = journals.chunk(task.seed, task.payload, reached)
        try:
            with errors_of_progress():
                return task, decode_chunk(
                    task.payload, shape, tile.dtype, task.seed, header, model, coder, journal
                )
        except CorruptFileError as error:
            if on_damage is None:
                raise
            return task, error

    for task, blocks in in_order(decode, tasks, threads):
        if isinstance(blocks, CorruptFileError):
            assert on_damage is not None
            on_damage(Damage(blocks, assembly.lose(task)))
        else:
            for item in assembly.add(task, blocks):
                try:
                    if checksums is not None:
                        checksums.check(item.index, item.samples)
                except CorruptFileError as error:
                    if on_damage is None:
                        raise
                    if header.content.kind == "images":
                        on_damage(Damage(error, (item.index,)))
                        continue
                    on_damage(Damage(error))
                yield item
        done.finish(task.seed, task.samples)
        journals.stop_if_asked()
    done.end()


def _whole_items(
    reader: ContainerReader,
    header: Header,
    wanted: Collection[int],
    on_damage: Callable[[Damage], None] | None,
) -> Collection[int]:
    """Those of the wanted items that a container without its end holds completely.

    Raises:
        CorruptFileError: none, or without ``on_damage``, or too many are missing to tell of.
    """
    assert reader.damage is not None
    if on_damage is None:
        raise reader.damage
    kinds = map(reader.chunk_type, range(len(reader.chunk_lengths)))
    chunks = sum(kind not in METADATA_LIMITS for kind in kinds)
    missing = next(islice(plan_chunks(header.content, header.tiling), chunks, None), None)
    end = len(header.content) if missing is None else missing[0].item
    if not end or len(wanted) - end > _MOST_LOST:
        raise reader.damage
    lost = tuple(item for item in wanted if item >= end)
    on_damage(Damage(reader.damage, tuple(sorted(lost))))
    return range(end) if isinstance(wanted, range) else frozenset(wanted).difference(lost)


_Packed = dict[tuple[int, bytes], bytes]  # (item, chunk type) -> payload


@dataclass(frozen=True)
class _Task:
    """Payload of one chunk, its tiles, and the metadata of the items that begin in it.

    ``samples`` are those of wanted items.

    Metadata stay packed until their item is complete, so that no more than one item's take memory.
    """

    seed: int
    tiles: list[Tile]
    samples: int
    payload: bytes = b""
    metadata: _Packed = field(default_factory=dict)
    error: CorruptFileError | None = None


class _Assembly:
    """Puts tiles together to items; holds the unfinished item only."""

    def __init__(self, header: Header, wanted: Collection[int]) -> None:
        self._content, self._file, self._wanted = header.content, header.file, wanted
        self._planes: NDArray[Any] = np.empty((0, 0, 0))
        self._item, self._missing, self._lost = -1, 0, -1
        self._metadata: _Packed = {}

    def add(self, task: _Task, blocks: NDArray[Any]) -> Iterator[Decoded]:
        """Take the blocks of one chunk; yields the items that they complete."""
        self._metadata |= task.metadata
        for tile, block in zip(task.tiles, blocks, strict=True):
            if tile.item not in self._wanted or tile.item == self._lost:
                continue
            item = self._content[tile.item]
            if tile.item != self._item:
                self._planes = np.empty(item.planes, item.dtype)
                self._item, self._missing = tile.item, item.dims
            cut(self._planes, tile)[...] = block
            self._missing -= block.size
            if self._missing == 0:
                samples = from_planes(self._planes, item)
                yield Decoded(tile.item, samples, self._unpacked(tile.item))

    def lose(self, task: _Task) -> tuple[int, ...]:
        """Give up the wanted items of a chunk that cannot be decoded; returns the newly lost."""
        items = dict.fromkeys(tile.item for tile in task.tiles)
        lost = tuple(item for item in items if item in self._wanted and item != self._lost)
        # Only the last one can have tiles in chunks to come.
        self._lost = task.tiles[-1].item
        return lost

    def _unpacked(self, item: int) -> dict[bytes, bytes]:
        return {
            kind: unpack_metadata(kind, self._metadata.pop((item, kind)), self._file)
            for kind in METADATA_LIMITS
            if (item, kind) in self._metadata
        }


class _Tasks(Iterable[_Task]):
    """Pairs the code chunks with the plan of the content; both must end together."""

    def __init__(
        self,
        reader: ContainerReader,
        header: Header,
        wanted: Collection[int],
        on_damage: Callable[[Damage], None] | None,
    ) -> None:
        self._reader, self._header = reader, header
        self._wanted, self._on_damage = wanted, on_damage

    def __iter__(self) -> Iterator[_Task]:
        plan = plan_chunks(self._header.content, self._header.tiling)
        last = max(self._wanted, default=-1)
        seed = 0
        metadata: list[int] = []
        for index in range(len(self._reader.chunk_lengths)):
            if self._reader.chunk_type(index) in METADATA_LIMITS:
                metadata.append(index)
                continue
            tiles = next(plan, None)
            if tiles is None:
                raise _misfit(self._header)
            if tiles[0].item > last:
                return
            if any(tile.item in self._wanted for tile in tiles):
                yield self._task(seed, tiles, index, metadata)
            seed, metadata = seed + 1, []
        if self._reader.damage is None and (metadata or next(plan, None) is not None):
            raise _misfit(self._header)

    def _task(self, seed: int, tiles: list[Tile], index: int, metadata: list[int]) -> _Task:
        packed = self._metadata(tiles, metadata)
        samples = sum(tile.dims for tile in tiles if tile.item in self._wanted)
        try:
            kind, payload = self._reader.chunk(index)
        except CorruptFileError as error:
            if self._on_damage is None:
                raise
            return _Task(seed, tiles, samples, error=error)
        if kind != CODE:
            raise CorruptFileError(
                f"{self._header.file}: holds a chunk of unknown type {kind!r}",
                "pip install --upgrade nc-core",
            )
        return _Task(seed, tiles, samples, payload, packed)

    def _metadata(self, tiles: list[Tile], indices: list[int]) -> _Packed:
        """The metadata chunks in front of a code chunk, which must belong to items that begin."""
        begun = {tile.item for tile in tiles if tile.top == tile.left == 0}
        packed: _Packed = {}
        for index in indices:
            try:
                kind, payload = self._reader.chunk(index)
                key = item_of_metadata(payload, self._header.file), kind
                if key in packed or key[0] not in begun:
                    raise _misfit(self._header)
            except CorruptFileError as error:
                if self._on_damage is None:
                    raise
                self._on_damage(Damage(error))
            else:
                packed[key] = payload
        return packed


def _misfit(header: Header) -> CorruptFileError:
    return CorruptFileError(f"{header.file}: damaged, its chunks do not fit its content")

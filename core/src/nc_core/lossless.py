"""The engine: items -> blocks -> lanes -> chunks -> container, and back.

Works for every :class:`nc_core.protocols.LosslessModel` on every registered coder. A chunk
decodes alone, so chunks are coded by a pool of threads, in bounded memory, and a job that was
interrupted goes on behind its last whole chunk.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nc_core.blocks import Tile, cut, from_planes, plan_chunks, to_planes
from nc_core.chunks import ChunkCost, chunk_cost, decode_chunk, encode_chunk, in_order
from nc_core.container import ContainerReader, ContainerWriter, chunk_size, whole_chunks
from nc_core.content import Content
from nc_core.errors import CorruptFileError, DataError, InterruptedWorkError, WorkError
from nc_core.files import describe_os_error
from nc_core.header import Header, check_block
from nc_core.protocols import Coder, LosslessModel
from nc_core.rates import Rate
from nc_core.sources import Metadata, Source

__all__ = ["Decoded", "Progress", "compress_source", "decode_container"]

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""

_CODE = b"CODE"
_METADATA_KINDS = (b"ICCP", b"EXIF")
_METADATA_LIMIT = 1 << 26


@dataclass(frozen=True)
class Decoded:
    """One item read back: samples in its own layout, and its metadata by chunk type."""

    index: int
    samples: NDArray[Any]
    metadata: dict[bytes, bytes]


def compress_source(
    source: Source,
    path: Path,
    model: LosslessModel,
    coder: Coder,
    *,
    threads: int = 1,
    verify: bool = True,
    force: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Rate:
    """Compress items into a container, which appears whole or not at all.

    Args:
        source: what to compress.
        path: the file to make.
        model: codes the blocks.
        coder: entropy coder for the model's distributions.
        threads: chunks coded at once; does not change a byte.
        verify: decode the finished file and compare, before it gets its name.
        force: replace an existing file.
        resume: go on with what an interrupted run left beside ``path``.
        progress: called after every chunk.

    Raises:
        DataError: input that cannot be read or coded, output that cannot be written.
        WorkError: the file does not decode to its input.
        InterruptedWorkError: Ctrl-C, with the finished chunks kept for ``resume``.
    """
    if not force and path.exists():
        raise DataError(f"{path}: file exists", "use --force to replace it, or -o for another name")
    check_block(source.content, model)
    header = Header.describing(source.content, model, coder.name)
    partial = path.with_name(f".{path.name}.partial")
    keep = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("r+b" if resume and partial.exists() else "w+b") as file:
            run = _Encoding(file, header, source, model, coder)
            try:
                rate = run.to_the_end(threads, progress)
                if verify or run.resumed:
                    rate = _verified(file, rate, path, model, coder, threads)
            except KeyboardInterrupt as error:
                keep = run.chunks_done > 0
                raise _interrupted(run.chunks_done, path) from error
        partial.replace(path)
    except OSError as error:
        raise describe_os_error(error, path) from error
    finally:
        if not keep:
            partial.unlink(missing_ok=True)
    return rate


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
    content = header.content
    _check_plan(reader, header)
    assembly = _Assembly(content)
    checksums = _Checksums(reader, header)
    total, done = content.dims, 0

    def decode(task: _DecodingTask) -> tuple[_DecodingTask, NDArray[Any]]:
        tile = task.tiles[0]
        shape = (len(task.tiles), *tile.shape)
        return task, decode_chunk(task.payload, shape, tile.dtype, task.seed, header, model, coder)

    for task, blocks in in_order(decode, _decoding_tasks(reader, header), threads):
        for item in assembly.add(task, blocks):
            checksums.check(item)
            yield item
        done += blocks.size
        if progress is not None:
            progress(done, total)


def _rate(content: Content, total_bits: int, cost: ChunkCost) -> Rate:
    return Rate(
        items=len(content),
        dims=content.dims,
        pixels=content.pixels,
        total_bits=total_bits,
        payload_bits=cost.payload,
        initial_bits=cost.initial,
        bound_bits=cost.bound,
    )


def _interrupted(chunks_done: int, path: Path) -> InterruptedWorkError:
    if chunks_done == 0:
        return InterruptedWorkError("interrupted; nothing was written")
    return InterruptedWorkError(
        f"interrupted; {chunks_done} finished chunks of {path} are kept",
        "run the same command with --resume to go on",
    )


def _verified(
    file: BinaryIO, rate: Rate, path: Path, model: LosslessModel, coder: Coder, threads: int
) -> Rate:
    start = time.perf_counter()
    try:
        reader = ContainerReader(file, str(path))
        header = Header.from_json(reader.header, str(path))
        for _ in decode_container(reader, header, model, coder, threads=threads):
            pass
    except CorruptFileError as error:
        raise WorkError(
            f"{path}: does not decode to its input, so it was not kept ({error.message})",
            "please report this, with the input and the output of 'nc --version'",
        ) from error
    return replace(rate, decode_seconds=time.perf_counter() - start, verified=True)


@dataclass(frozen=True)
class _EncodingTask:
    """Blocks (B, C, H, W) of one chunk, and the metadata chunks that go before it."""

    seed: int
    blocks: NDArray[Any]
    metadata: Metadata


@dataclass(frozen=True)
class _DecodingTask:
    """Payload of one chunk, its tiles, and the metadata (type, bytes by item) before it."""

    seed: int
    tiles: list[Tile]
    payload: bytes
    metadata: list[tuple[int, bytes, bytes]]


class _Encoding:
    """One run of the encoder over an open partial file."""

    def __init__(
        self, file: BinaryIO, header: Header, source: Source, model: LosslessModel, coder: Coder
    ) -> None:
        self._file, self._header, self._source = file, header, source
        self._model, self._coder = model, coder
        self._digests: list[str] = []
        self._cost = ChunkCost()
        kept = _finished_chunks(file, header)
        self._kept = sum(kind == _CODE for kind, _ in kept)
        self.chunks_done = self._kept
        for kind, payload in kept:
            if kind == _CODE:
                self._cost += chunk_cost(payload, header)
        lengths = [chunk_size(payload) for _, payload in kept]
        self._writer = ContainerWriter(file, header.to_json(), lengths if kept else None)

    @property
    def resumed(self) -> bool:
        """Whether chunks of an earlier run are kept."""
        return self._kept > 0

    def to_the_end(self, threads: int, progress: Progress | None) -> Rate:
        """Code every chunk that is not there yet, then the footer."""
        start = time.perf_counter()
        content = self._source.content
        total, done = content.dims, 0
        for task, payload in in_order(self._encode, self._tasks(), threads):
            if payload is not None:
                self._append(task, payload)
            done += task.blocks.size
            if progress is not None:
                progress(done, total)
        rates = {
            "bound_bits": round(self._cost.bound, 3),
            "initial_bits": self._cost.initial,
            "payload_bits": self._cost.payload,
        }
        footer = {"items": len(content), "rates": rates, "sha256": self._digests}
        size = self._writer.finish(footer)
        self._file.flush()
        rate = _rate(content, 8 * size, self._cost)
        return replace(rate, encode_seconds=time.perf_counter() - start)

    def _append(self, task: _EncodingTask, payload: bytes) -> None:
        for kind, data in task.metadata:
            self._writer.chunk(kind, data)
        self._writer.chunk(_CODE, payload)
        self._file.flush()
        self._cost += chunk_cost(payload, self._header)
        self.chunks_done += 1

    def _encode(self, task: _EncodingTask) -> tuple[_EncodingTask, bytes | None]:
        if task.seed < self._kept:
            return task, None
        return task, encode_chunk(task.blocks, task.seed, self._header, self._model, self._coder)

    def _tasks(self) -> Iterator[_EncodingTask]:
        content = self._source.content
        loaded, planes = -1, np.empty((0, 0, 0))
        metadata: Metadata = []
        digest = _Digest(content)
        for seed, tiles in enumerate(plan_chunks(content, self._header.tiling)):
            blocks = []
            for tile in tiles:
                if tile.item != loaded:
                    samples, extra = self._source.load(tile.item)
                    self._digests += digest.add(tile.item, samples)
                    planes, loaded = to_planes(samples, content[tile.item]), tile.item
                    metadata += [(kind, _packed(tile.item, data)) for kind, data in extra]
                blocks.append(cut(planes, tile))
            yield _EncodingTask(seed, np.stack(blocks), metadata)
            metadata = []


def _finished_chunks(file: BinaryIO, header: Header) -> list[tuple[bytes, bytes]]:
    """Chunks that an interrupted run left, up to its last code chunk; the rest is cut off."""
    chunks = whole_chunks(file, header.to_json()) or []
    end = file.tell()
    while chunks and chunks[-1][0] != _CODE:
        end -= chunk_size(chunks.pop()[1])
    file.seek(end if chunks else 0)
    file.truncate()
    return chunks


class _Digest:
    """SHA-256 of the samples of each file that will be restored."""

    def __init__(self, content: Content) -> None:
        self._one_per_item = content.kind == "images"
        self._last = len(content) - 1
        self._sum = hashlib.sha256()

    def add(self, index: int, samples: NDArray[Any]) -> list[str]:
        """Take the next item; the digest of the file that it completes, if it does."""
        little_endian = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
        self._sum.update(little_endian.data)
        if not self._one_per_item and index < self._last:
            return []
        digest = self._sum.hexdigest()
        self._sum = hashlib.sha256()
        return [digest]


class _Checksums:
    """Compares decoded items with the digests in the footer."""

    def __init__(self, reader: ContainerReader, header: Header) -> None:
        self._header = header
        self._digest = _Digest(header.content)
        expected = reader.footer.get("sha256")
        names = header.content.file_names
        if not isinstance(expected, list) or len(expected) != len(names):
            raise CorruptFileError(f"{header.file}: damaged, its footer lacks checksums")
        self._expected = list(zip(names, expected, strict=True))

    def check(self, item: Decoded) -> None:
        """Take the next item.

        Raises:
            CorruptFileError: it differs from what was compressed.
        """
        for digest in self._digest.add(item.index, item.samples):
            name, expected = self._expected.pop(0)
            if digest != expected:
                raise CorruptFileError(
                    f"{self._header.file}: {name} does not match its checksum after decoding"
                )


class _Assembly:
    """Puts tiles together to items; holds the unfinished item only."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._planes: NDArray[Any] = np.empty((0, 0, 0))
        self._item, self._missing = -1, 0
        self._metadata: dict[int, dict[bytes, bytes]] = {}

    def add(self, task: _DecodingTask, blocks: NDArray[Any]) -> Iterator[Decoded]:
        """Take the blocks of one chunk; yields the items that they complete."""
        for index, kind, data in task.metadata:
            self._metadata.setdefault(index, {})[kind] = data
        for tile, block in zip(task.tiles, blocks, strict=True):
            item = self._content[tile.item]
            if tile.item != self._item:
                self._planes = np.empty(item.planes, item.dtype)
                self._item, self._missing = tile.item, item.dims
            cut(self._planes, tile)[...] = block
            self._missing -= block.size
            if self._missing == 0:
                samples = from_planes(self._planes, item)
                yield Decoded(tile.item, samples, self._metadata.pop(tile.item, {}))


def _check_plan(reader: ContainerReader, header: Header) -> None:
    """Refuse content of more chunks than the file has, before memory is taken for any item."""
    chunks = len(reader.chunk_lengths)
    planned = sum(1 for _ in islice(plan_chunks(header.content, header.tiling), chunks + 1))
    if planned > chunks:
        raise CorruptFileError(f"{header.file}: damaged, its chunks do not fit its content")


def _decoding_tasks(reader: ContainerReader, header: Header) -> Iterator[_DecodingTask]:
    """Pair the code chunks with the plan of the content; both must end together."""
    plan = plan_chunks(header.content, header.tiling)
    metadata: list[tuple[int, bytes, bytes]] = []
    seed = 0
    for kind, payload in reader.chunks():
        if kind in _METADATA_KINDS:
            metadata.append(_unpacked(kind, payload, header.file))
            continue
        if kind != _CODE:
            raise CorruptFileError(
                f"{header.file}: holds a chunk of unknown type {kind!r}",
                "pip install --upgrade nc-core",
            )
        tiles = next(plan, None)
        if tiles is None:
            break
        yield _DecodingTask(seed, tiles, payload, metadata)
        seed, metadata = seed + 1, []
    else:
        if next(plan, None) is None:
            return
    raise CorruptFileError(f"{header.file}: damaged, its chunks do not fit its content")


def _packed(item: int, data: bytes) -> bytes:
    return item.to_bytes(4, "little") + zlib.compress(data, 9)


def _unpacked(kind: bytes, payload: bytes, file: str) -> tuple[int, bytes, bytes]:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(payload[4:], _METADATA_LIMIT)
    except zlib.error as error:
        raise CorruptFileError(f"{file}: damaged metadata") from error
    if not unpacker.eof:
        raise CorruptFileError(f"{file}: damaged metadata")
    return int.from_bytes(payload[:4], "little"), kind, data

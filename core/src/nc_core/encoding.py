"""From items to the chunks and the footer of a container, from its start or where it stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nc_core.blocks import cut, plan_chunks, to_planes
from nc_core.checksums import Digest
from nc_core.chunk_journal import ChunkJournals
from nc_core.chunks import CODE, ChunkCost, chunk_cost, encode_chunk
from nc_core.container import ContainerWriter, chunk_size, whole_chunks
from nc_core.content import Content
from nc_core.header import Header
from nc_core.metadata import pack_metadata
from nc_core.parallel import in_order
from nc_core.protocols import Coder, LosslessModel
from nc_core.rates import Rate
from nc_core.samples_done import Progress, SamplesDone, errors_of_progress
from nc_core.sources import Metadata, Source

__all__ = ["Encoding"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """Blocks (B, C, H, W) of one chunk, and the metadata chunks that go before it."""

    seed: int
    blocks: NDArray[Any]
    metadata: Metadata


class Encoding:
    """One run of the encoder over an open file.

    Args:
        file: open for reading and writing; empty, or what an interrupted run left.
        header: describes the source.
        source: the items.
        model: codes their blocks.
        coder: entropy coder.
        journals: where the state within chunks is kept; None to keep whole chunks only.

    Attributes:
        chunks_kept: finished chunks of an earlier run.
        chunks_done: finished chunks in the file.
    """

    def __init__(
        self,
        file: BinaryIO,
        header: Header,
        source: Source,
        model: LosslessModel,
        coder: Coder,
        journals: ChunkJournals | None = None,
    ) -> None:
        self._file, self._header, self._source = file, header, source
        self._model, self._coder = model, coder
        self._journals = journals or ChunkJournals(None, "encode", header, model)
        self._digests: list[str] = []
        self._cost = ChunkCost()
        self._awaited = 0  # the chunk that goes into the file as soon as it is finished
        self.chunks_kept = self.chunks_done = 0

    def to_the_end(self, threads: int, progress: Progress | None) -> Rate:
        """Code every chunk that is not there yet, then the footer.

        Raises:
            UsageError: what is there belongs to another header, or to other blocks.
            KeyboardInterrupt: the user wants to stop.
        """
        start = time.perf_counter()
        content = self._source.content
        _log_plan(content, self._header)
        writer = self._take_up()
        done = SamplesDone(content.dims, progress)
        encode = partial(self._encode, done)
        for task, payload in in_order(encode, self._tasks(), threads):
            if payload is not None:
                self._append(writer, task, payload)
            done.finish(task.seed, task.blocks.size)
            self._journals.stop_if_asked()
            self._awaited = max(self._awaited, task.seed + 1)
        rates = {
            "bound_bits": round(self._cost.bound, 3),
            "initial_bits": self._cost.initial,
            "payload_bits": self._cost.payload,
        }
        footer = {"items": len(content), "rates": rates, "sha256": self._digests}
        size = writer.finish(footer)
        self._file.flush()
        rate = _rate(content, 8 * size, self._cost)
        return replace(rate, encode_seconds=time.perf_counter() - start)

    def _take_up(self) -> ContainerWriter:
        """Keep the chunks that an interrupted run left, up to its last code chunk."""
        lengths: list[int] = []
        pending: list[int] = []
        end = 0
        for kind, payload in whole_chunks(self._file, self._header.to_json()):
            pending.append(chunk_size(payload))
            if kind == CODE:
                self._cost += chunk_cost(payload, self._header)
                self.chunks_kept += 1
                lengths += pending
                pending, end = [], self._file.tell()
        self.chunks_done = self._awaited = self.chunks_kept
        self._file.seek(end)
        self._file.truncate()
        writer = ContainerWriter(self._file, self._header.to_json(), lengths or None)
        self._file.flush()  # whatever is kept of a chunk, its header is there
        return writer

    def _append(self, writer: ContainerWriter, task: _Task, payload: bytes) -> None:
        for kind, data in task.metadata:
            writer.chunk(kind, data)
        writer.chunk(CODE, payload)
        self._file.flush()
        self._cost += chunk_cost(payload, self._header)
        self.chunks_done += 1
        self._journals.drop(task.seed)

    def _encode(self, done: SamplesDone, task: _Task) -> tuple[_Task, bytes | None]:
        reached = done.within(task.seed, task.blocks.size)
        with errors_of_progress():
            if task.seed < self.chunks_kept:
                reached(1.0, False)
                return task, None
            journal = self._journals.chunk(task.seed, task.blocks, reached)
            return task, encode_chunk(
                task.blocks, task.seed, self._header, self._model, self._coder, journal,
                must_wait=lambda: task.seed != self._awaited,
            )  # fmt: skip

    def _tasks(self) -> Iterator[_Task]:
        content = self._source.content
        loaded, planes = -1, np.empty((0, 0, 0))
        metadata: Metadata = []
        digest = Digest(content)
        for seed, tiles in enumerate(plan_chunks(content, self._header.tiling)):
            blocks = []
            for tile in tiles:
                if tile.item != loaded:
                    samples, extra = self._source.load(tile.item)
                    item, loaded = content[tile.item], tile.item
                    self._digests += digest.add(loaded, samples)
                    planes = to_planes(samples, item)
                    metadata += [
                        (kind, pack_metadata(kind, loaded, data, item.name or content.name))
                        for kind, data in extra
                    ]
                blocks.append(cut(planes, tile))
            yield _Task(seed, np.stack(blocks), metadata)
            metadata = []


def _log_plan(content: Content, header: Header) -> None:
    """How the items are cut; counted only where somebody reads it."""
    if not _log.isEnabledFor(logging.INFO):
        return
    counts = [len(tiles) for tiles in plan_chunks(content, header.tiling)]
    _log.info(
        "chunk plan: items %d, blocks %d, chunks %d (at most %d blocks each), lanes %d",
        len(content), sum(counts), len(counts), max(counts, default=0), header.lanes,
    )  # fmt: skip


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

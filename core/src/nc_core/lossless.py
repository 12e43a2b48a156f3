"""The engine: items -> blocks -> lanes -> chunks -> container, and back.

Works for every :class:`nc_core.protocols.LosslessModel` on every registered coder. A chunk
decodes alone, so chunks are coded by a pool of threads, in bounded memory, and a job that was
interrupted goes on behind its last whole chunk, and within the chunks that it had begun.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from nc_core.chunk_journal import HOW_TO_RESUME, INTERVAL_SECONDS, ChunkJournals, Work
from nc_core.coding import coding_of, told_anew
from nc_core.container import ContainerReader
from nc_core.decoding import Decoded, decode_container
from nc_core.encoding import Encoding
from nc_core.errors import CorruptFileError, InterruptedWorkError, WorkError
from nc_core.files import check_target, describe_os_error, made_folder
from nc_core.header import Header, check_block
from nc_core.partial_file import PartialFile, has_files, partial_file
from nc_core.protocols import Coder, LosslessModel
from nc_core.rates import Rate
from nc_core.samples_done import Progress
from nc_core.signals import StopRequest, heeded
from nc_core.sources import Source

__all__ = ["Decoded", "Progress", "compress_source", "decode_container"]

_log = logging.getLogger(__name__)


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
    journal_seconds: float | None = INTERVAL_SECONDS,
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
        progress: called after every chunk, and within those of a model that says how far it is;
            in whatever thread, one call at a time. With ``verify`` a sample that is coded and not
            yet compared counts as half a sample. What an earlier run left is told with the first
            work of this one.
        journal_seconds: time after which the state within a chunk is kept again, and the most work
            that a kill costs; None: only whole chunks are kept.

    Raises:
        DataError: input that cannot be read or coded, output that cannot be written, or
            another process that writes it.
        UsageError: what is there to resume belongs to other input, or to another model.
        WorkError: the file does not decode to its input, or there is no room for it; or the model
            says of itself that it was told something else than it was.
        InterruptedWorkError: Ctrl-C, with the finished work kept for ``resume``.
    """
    check_block(source.content, model)
    stop = StopRequest()
    model = _as_decoders_know_it(model)
    header = Header.describing(source.content, model, coder.name)
    encoding_progress, decoding_progress = _halves(progress) if verify else (progress, None)
    try:
        check_target(
            path, force=force,
            elsewhere=", or -o for another name", instead="-o - writes to standard output",
        )  # fmt: skip
        with (
            made_folder(path.parent),
            partial_file(path, resume=resume, force=force) as partial,
            heeded(stop, journal_seconds is not None and getattr(model, "journaled", False)),
        ):

            def journals(work: Work) -> ChunkJournals | None:
                if journal_seconds is None:
                    return None
                return ChunkJournals(
                    partial.folder, work, header, model, journal_seconds, resume, stop=stop
                )

            encoding = Encoding(partial.file, header, source, model, coder, journals("encode"))
            with _kept_when_it_fails(partial, encoding, path, journal_seconds):
                rate = encoding.to_the_end(threads, encoding_progress)
                if verify or encoding.chunks_kept:
                    seconds = _verify(
                        partial.file, path, model, coder,
                        threads, decoding_progress, journals("verify"),
                    )  # fmt: skip
                    rate = replace(rate, decode_seconds=seconds, verified=True)
            partial.publish(path)
    except OSError as error:
        raise describe_os_error(error, path) from error
    return rate


def _as_decoders_know_it(model: LosslessModel) -> LosslessModel:
    """The model, made of the coding options that the file will hold, before anything is coded.

    Raises:
        WorkError: these make another model, so that the file could not be decoded.
    """
    coding = coding_of(model)
    try:
        again = told_anew(model, coding)
        if coding_of(again) == coding and again.initial_words == model.initial_words:
            return again
        reason = f"told again, it says {coding_of(again)}"
    except ValueError as error:
        reason = str(error)
    raise WorkError(
        f"model '{model.name}' says that it was told {coding}, which does not make the same model "
        f"again: {reason}",
        "its files could not be decoded; please report this to the authors of the model",
    )


@contextmanager
def _kept_when_it_fails(
    partial: PartialFile, encoding: Encoding, path: Path, journal_seconds: float | None
) -> Iterator[None]:
    """Keep what a block has done when it ends early, where that is worth resuming."""
    began = time.monotonic()
    try:
        yield
    except CorruptFileError as error:
        partial.keep = False
        raise _mismatch(encoding, error, path) from error
    except BaseException as error:
        is_something = encoding.chunks_done > 0 or has_files(partial.folder)
        if isinstance(error, KeyboardInterrupt):
            partial.keep = partial.keep or is_something
            raise _interrupted(encoding.chunks_done, is_something, path) from error
        if journal_seconds is None:
            raise
        if isinstance(error, OSError):
            partial.keep = partial.keep or is_something
            failure = describe_os_error(error, path)
            failure.hint = HOW_TO_RESUME if partial.keep else failure.hint
            raise failure from error
        is_long = time.monotonic() - began >= journal_seconds
        if is_something and is_long and not partial.keep:
            partial.keep = True
            _log.warning("%s: what is coded so far is kept; --resume goes on with it", path)
        raise


def _verify(
    file: BinaryIO,
    path: Path,
    model: LosslessModel,
    coder: Coder,
    threads: int,
    progress: Progress | None,
    journals: ChunkJournals | None,
) -> float:
    """Decode a finished file and compare all of it; returns how long that took, in seconds."""
    start = time.perf_counter()
    reader = ContainerReader(file, str(path))
    header = Header.from_json(reader.header, str(path))
    items = decode_container(
        reader, header, model, coder, threads=threads, progress=progress, journals=journals
    )
    for _ in items:
        pass
    return time.perf_counter() - start


def _halves(progress: Progress | None) -> tuple[Progress | None, Progress | None]:
    """For coding and for decoding: each is half of the work on a sample."""
    if progress is None:
        return None, None
    return (
        lambda done, total: progress(done // 2, total),
        lambda done, total: progress((total + done) // 2, total),
    )


def _interrupted(chunks_done: int, is_something: bool, path: Path) -> InterruptedWorkError:
    if not is_something:
        return InterruptedWorkError("interrupted; nothing was written")
    kept = "1 finished chunk" if chunks_done == 1 else f"{chunks_done} finished chunks"
    if chunks_done == 0:
        kept = "what was coded"
    return InterruptedWorkError(
        f"interrupted; {kept} of {path} {'is' if chunks_done < 2 else 'are'} kept", HOW_TO_RESUME
    )


def _mismatch(encoding: Encoding, error: CorruptFileError, path: Path) -> WorkError:
    if encoding.chunks_kept:
        return WorkError(
            f"{path}: the input changed since the interruption, so nothing was kept",
            "run the command without --resume",
        )
    return WorkError(
        f"{path}: does not decode to its input, so it was not kept ({error.message})",
        "please report this, with the input and the output of 'nc --version'",
    )

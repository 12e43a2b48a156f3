"""The folder beside restored files that keeps what was decoded, until all of it is."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nc_core.chunk_journal import HOW_TO_RESUME, ChunkJournals
from nc_core.container import ContainerReader, canonical_json
from nc_core.errors import CorruptFileError, InterruptedWorkError
from nc_core.file_lock import lock_folder
from nc_core.files import describe_os_error
from nc_core.header import Header
from nc_core.partial_file import refuse_other_than_folder, remove_folder
from nc_core.protocols import LosslessModel
from nc_core.signals import heeded

__all__ = ["unfinished_decoding"]

_log = logging.getLogger(__name__)


@contextmanager
def unfinished_decoding(
    folder: Path,
    reader: ContainerReader,
    header: Header,
    model: LosslessModel,
    *,
    interval: float,
    resume: bool,
) -> Iterator[ChunkJournals]:
    """Journals for decoding a container, in a hidden folder that belongs to it alone.

    The folder is made when something is first kept, and goes when the block ends well, or with a
    damaged container. After anything else it stays for a later run.

    Args:
        folder: where the restored files will be; it exists.
        reader: of the container.
        header: of the container.
        model: decodes it.
        interval: seconds between two saves.
        resume: go on with what an earlier run left; without, that is removed.

    Raises:
        InterruptedWorkError: Ctrl-C; the message says what is kept.
        DataError: another process restores the same container there, or the folder's place is
            taken.
        NcError: for an OSError, which says what is kept.
    """
    path = folder / _name(reader)
    locks: list[BinaryIO] = []
    refuse_other_than_folder(path)
    if path.is_dir():
        locks.append(lock_folder(path))
        if not resume:
            _log.warning(
                "%s: decoding begins again; --resume goes on with what is left of it", header.file
            )
            _remove(path, locks)
    journals = ChunkJournals(
        path, "decode", header, model, interval, resume,
        on_folder_made=lambda: locks.append(lock_folder(path)),
    )  # fmt: skip
    is_kept = True
    try:
        with heeded(journals.stop, getattr(model, "journaled", False)):
            yield journals
        is_kept = False
    except CorruptFileError:
        is_kept = False
        raise
    except KeyboardInterrupt as error:
        raise _interrupted(header, journals.kept) from error
    except OSError as error:
        failure = describe_os_error(error, folder)
        if journals.kept:
            failure.hint = HOW_TO_RESUME
        raise failure from error
    finally:
        if not is_kept:
            _remove(path, locks)
        for lock in locks:
            lock.close()


def _name(reader: ContainerReader) -> str:
    """The same for the same container, whatever it is called and wherever it is read from."""
    document = {"header": reader.header, "footer": reader.footer, "size": reader.size}
    return f".nc-decoding-{hashlib.sha256(canonical_json(document)).hexdigest()[:16]}"


def _remove(path: Path, locks: list[BinaryIO]) -> None:
    if os.name == "nt":  # elsewhere nobody else can have it until it is gone
        for lock in locks:
            lock.close()
    remove_folder(path)


def _interrupted(header: Header, is_kept: bool) -> InterruptedWorkError:
    if not is_kept:
        return InterruptedWorkError("interrupted; nothing was written")
    return InterruptedWorkError(
        f"interrupted; what was decoded of {header.file} is kept",
        HOW_TO_RESUME,
    )

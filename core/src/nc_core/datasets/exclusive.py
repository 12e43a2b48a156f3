"""One process at a time prepares a dataset; the others wait for it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nc_core.file_lock import lock_file
from nc_core.files import describe_os_error, made_folder, remove_leftovers

__all__ = ["alone"]

_POLL_SECONDS = 0.1

_log = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Wait until no other process prepares this folder, and keep others waiting.

    What a process that was killed left unfinished in the folder is removed first.

    Args:
        folder: of a dataset; its parent is made if need be, and the lock lies there.

    Returns:
        whether there was somebody to wait for, who may have done the work.

    Raises:
        DataError: the parent cannot be written, or what is left over cannot be removed.
    """
    path = folder.parent / f".{folder.name}.lock"
    with ExitStack() as stack:
        # What fails inside the block is not of the lock, and says itself what it is of.
        try:
            stack.enter_context(made_folder(folder.parent))
            file, waited = _locked(path, folder)
            stack.callback(_unlock, file, path)
        except OSError as error:
            raise describe_os_error(error, path) from error
        try:
            remove_leftovers(folder)
        except OSError as error:
            raise describe_os_error(error, folder) from error
        yield waited


def _unlock(file: BinaryIO, path: Path) -> None:
    with suppress(OSError):  # Windows keeps open files
        path.unlink()
    file.close()


def _locked(path: Path, folder: Path) -> tuple[BinaryIO, bool]:
    waited = False
    while True:
        file = path.open("ab")
        try:
            lock_file(file)
        except (BlockingIOError, PermissionError):
            file.close()
            if not waited:
                _log.warning("%s: another process prepares it; waiting", folder)
            waited = True
            time.sleep(_POLL_SECONDS)
            continue
        except OSError:
            file.close()
            raise
        # Whoever held the lock may have removed the file that we opened.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file, waited
        file.close()

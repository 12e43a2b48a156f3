"""Files that appear whole or not at all, and the folders and errors that go with them."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nc_core.errors import DataError, NcError, WorkError

__all__ = [
    "atomic_write",
    "check_target",
    "describe_os_error",
    "made_folder",
    "remove_leftovers",
]

_LEFTOVER = re.compile(r"\.nc-[0-9a-f]{16}\.tmp")

_NO_ROOM = frozenset(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)
)


def describe_os_error(error: OSError, path: Path | str) -> NcError:
    """A one-line error that names the file and the system's reason.

    Returns:
        WorkError where there is no room left for output; DataError for everything else.
    """
    reason = error.strerror or str(error)
    kind = WorkError if error.errno in _NO_ROOM else DataError
    return kind(f"{path}: {reason[:1].lower()}{reason[1:]}")


def check_target(
    path: Path, *, force: bool, elsewhere: str = "", instead: str | None = None
) -> None:
    """Refuse a file that must not be replaced, before any work is done for it.

    Args:
        path: file to make.
        force: replace an existing file; never a folder, a pipe or a device.
        elsewhere: how else to name the output (``, or -o for another name``).
        instead: hint where a pipe, a device or a broken link is in the way.

    Raises:
        DataError: something is there that stays.
        OSError: the system cannot tell.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder")
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise DataError(f"{path}: not a regular file", instead)
    if not force:
        raise DataError(f"{path}: file exists", f"use --force to replace it{elsewhere}")


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; what was made goes again when the block fails.

    Only folders that are still empty go: others may have put something there meanwhile.

    Raises:
        OSError: a folder cannot be made.
    """
    made: list[Path] = []
    try:
        for part in (*reversed(folder.parents), folder):
            if not part.is_dir():
                with suppress(FileExistsError):
                    part.mkdir()
                    made.append(part)
        yield
    except BaseException:
        for part in reversed(made):
            with suppress(OSError):
                part.rmdir()
        raise


@contextmanager
def atomic_write(path: Path, *, force: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` and rename it when the block ends well.

    Args:
        path: final name; its folder is made if need be.
        force: replace an existing file.

    Raises:
        DataError: the file exists and ``force`` is off, or it cannot be written.
        WorkError: there is no room for it.
    """
    # A name of its own length: any name that the system allows must be writable.
    temporary = path.with_name(f".nc-{secrets.token_hex(8)}.tmp")
    try:
        check_target(path, force=force)
        with made_folder(path.parent):
            try:
                with temporary.open("xb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
    except OSError as error:
        raise describe_os_error(error, path) from error


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of :func:`atomic_write` that killed processes left in a folder.

    Args:
        folder: where nobody else is writing now; it need not exist.

    Raises:
        OSError: one cannot be removed.
    """
    for entry in folder.iterdir() if folder.is_dir() else ():
        if _LEFTOVER.fullmatch(entry.name):
            entry.unlink(missing_ok=True)

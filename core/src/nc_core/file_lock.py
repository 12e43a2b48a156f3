"""Locks between processes, which the system drops when their holder dies."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path
from typing import BinaryIO

from nc_core.errors import DataError

__all__ = ["LOCK", "lock_file", "lock_folder"]

LOCK = ".lock"
"""Name of the file whose lock is that of its folder; empty until its process holds it."""

_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP))


def lock_folder(folder: Path) -> BinaryIO:
    """Lock a folder, until the returned file is closed or the process ends.

    On a file system without locks, as some network file systems are, it goes without.

    Raises:
        DataError: another process holds it; the message says which.
        OSError: the folder cannot be written.
    """
    file = (folder / LOCK).open("a+b")
    try:
        lock_file(file)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        holder = file.read(200).decode(errors="replace").strip()
        file.close()
        raise DataError(
            f"{folder}: in use by {holder or 'another process'}",
            "wait for it, or choose another --out",
        ) from error
    except OSError:
        file.close()
        raise
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
    file.flush()
    return file


def lock_file(file: BinaryIO) -> bool:
    """Lock an open file at once.

    Returns:
        False where the file system has no locks.

    Raises:
        BlockingIOError, PermissionError: another process holds it.
        OSError: it cannot be locked.
    """
    try:
        _lock(file)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


if sys.platform == "win32":

    def _lock(file: BinaryIO) -> None:
        import msvcrt

        file.seek(1 << 20)  # far behind the text, which others must be able to read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _lock(file: BinaryIO) -> None:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

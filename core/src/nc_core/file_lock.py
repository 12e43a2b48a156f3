"""Locks between processes, which the system drops when their holder dies."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import BinaryIO

from nc_core.errors import DataError

__all__ = ["lock_file", "lock_folder"]


def lock_folder(folder: Path) -> BinaryIO:
    """Lock a folder, until the returned file is closed or the process ends.

    Raises:
        DataError: another process holds it; the message says which.
        OSError: the folder cannot be written.
    """
    file = (folder / ".lock").open("a+b")
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


if sys.platform == "win32":

    def lock_file(file: BinaryIO) -> None:
        """Lock an open file, or raise PermissionError or BlockingIOError at once."""
        import msvcrt

        file.seek(1 << 20)  # far behind the text, which others must be able to read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def lock_file(file: BinaryIO) -> None:
        """Lock an open file, or raise BlockingIOError at once."""
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

"""The unfinished file beside a target: held by one process, kept when it is worth resuming."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nc_core.errors import DataError
from nc_core.file_lock import lock_file
from nc_core.files import check_target

__all__ = ["PartialFile", "has_files", "partial_file", "refuse_other_than_folder", "remove_folder"]

_log = logging.getLogger(__name__)

_LONGEST_NAME = 255  # bytes, on every usual file system
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass
class PartialFile:
    """A file that is being made.

    Args:
        path: where it is now.
        folder: for what else the unfinished work needs; whoever needs it makes it, and it goes with
            the file.
        file: open for reading and writing, and locked.
        keep: whether it stays for a later run when this one fails.
    """

    path: Path
    folder: Path
    file: BinaryIO
    keep: bool

    def publish(self, target: Path) -> None:
        """Give the finished file its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if os.name == "nt":  # elsewhere the lock is held until the file has its name
            self.file.close()
        self.path.replace(target)
        remove_folder(self.folder)
        self.keep = True


@contextmanager
def partial_file(target: Path, *, resume: bool, force: bool) -> Iterator[PartialFile]:
    """Open the unfinished file of a target, for this process alone.

    It is removed at the end of the block, unless it was published or ``keep`` is set.

    Args:
        target: the file to make.
        resume: start with what an earlier run left; without, it is emptied.
        force: the target may exist.

    Raises:
        DataError: another process makes this target, or the target must not be replaced.
        OSError: it cannot be opened.
    """
    path = _partial_path(target)
    existed = os.path.lexists(path)
    file = _locked(path, target)
    partial = PartialFile(path, _folder_of(path), file, keep=resume and existed)
    try:
        refuse_other_than_folder(partial.folder)
        # Again, now that nobody else can finish it meanwhile.
        check_target(target, force=force)
        if not resume:
            _tell_of_lost_work(file, target)
            file.truncate(0)
            remove_folder(partial.folder)
        yield partial
    finally:
        if os.name == "nt":
            _close(file)
        if not partial.keep:
            with suppress(OSError):
                path.unlink()
            remove_folder(partial.folder)
        _close(file)


def has_files(folder: Path) -> bool:
    """Whether something lies in a folder for unfinished work."""
    return folder.is_dir() and any(folder.iterdir())


def refuse_other_than_folder(path: Path) -> None:
    """Refuse what is in the place of a folder for unfinished work; a link is not followed.

    Raises:
        DataError: something else is there.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise DataError(f"{path}: not a folder", "remove it first")


def remove_folder(path: Path) -> None:
    """Remove a folder for unfinished work, if it is there; never what a link points to."""
    if not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)


def _close(file: BinaryIO) -> None:
    """Close it; what a full disk did not take is no news, and a published file has nothing left."""
    with suppress(OSError):
        file.close()


def _folder_of(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.partial')}.journal")


def _tell_of_lost_work(file: BinaryIO, target: Path) -> None:
    if os.fstat(file.fileno()).st_size:
        _log.warning("%s: the work begins again; --resume goes on with what is left of it", target)


def _partial_path(target: Path) -> Path:
    """Beside the target, so that renaming is atomic; the same in every run."""
    name = f".{target.name}.partial"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".nc-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.partial"
    return target.with_name(name)


def _locked(path: Path, target: Path) -> BinaryIO:
    """Open and lock it; a link or a special file in its place is refused, not followed."""
    while True:
        if path.is_symlink():
            raise DataError(f"{path}: not a regular file", "remove it first")
        file = os.fdopen(os.open(path, _FLAGS, 0o666), "r+b")
        try:
            if not _is_own_file(os.fstat(file.fileno())):
                raise DataError(f"{path}: not a regular file", "remove it first")
            _lock(file, target)
            # Whoever held the lock may have renamed or removed the file that we opened.
            if os.path.lexists(path) and os.path.samestat(os.fstat(file.fileno()), path.lstat()):
                file.seek(0)
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: BinaryIO, target: Path) -> None:
    try:
        lock_file(file)
    except (BlockingIOError, PermissionError) as error:
        raise DataError(f"{target}: another nc is writing this file") from error


def _is_own_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1

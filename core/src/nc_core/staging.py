"""Unfinished files that get their names together; a process that was killed leaves none of them.

They lie in a hidden folder beside their targets, locked while its process lives. Whoever works in
the same folder next removes what a dead one left there, and the files to which it had just
given names when it died among several. Temporary files lie in such a folder too, in the system's
folder for them.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nc_core.file_lock import LOCK, lock_file, lock_folder

__all__ = ["publish", "staging_folder", "temporary_folder"]

_PREFIX = ".nc-staging-"
_PLAN = ".plan"


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """A folder inside ``folder`` for unfinished files, gone when the block ends.

    Args:
        folder: of the targets; it exists.

    Raises:
        OSError: the folder cannot be written.
    """
    for left in folder.glob(f"{_PREFIX}*"):
        _remove_abandoned(left)
    staging = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    try:
        with lock_folder(staging):
            yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for temporary files, gone when the block ends.

    What a killed process left goes when the next one is made, unless it was killed before it had
    locked its folder.

    Raises:
        OSError: the system's folder for temporary files cannot be written.
    """
    with staging_folder(Path(tempfile.gettempdir())) as folder:
        yield folder


def publish(staging: Path, names: Sequence[str]) -> None:
    """Give finished files of a staging folder their names in the folder around it.

    Args:
        staging: the folder.
        names: of files in it, relative to it; folders are made if need be.

    Raises:
        OSError: a file is not there, or cannot get its name.
    """
    if len(names) > 1:
        plan = {name: (staging / name).stat().st_ino for name in names}
        unfinished = staging / f"{_PLAN}.new"
        unfinished.write_text(json.dumps(plan))
        unfinished.replace(staging / _PLAN)
    for name in names:
        target = staging.parent / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(target)


def _remove_abandoned(staging: Path) -> None:
    """Remove what a dead process left; leave alone what a living one works on."""
    lock = staging / LOCK
    try:
        if not _is_ours(staging):
            return
        if lock.stat().st_size == 0:  # its process is about to lock it
            return
        with lock.open("r+b") as file, suppress(FileNotFoundError, ValueError, AttributeError):
            if not lock_file(file):  # no telling whether its process lives
                return
            plan: dict[str, int] = json.loads((staging / _PLAN).read_text())
            _take_back(staging, plan)
    except OSError:
        return
    shutil.rmtree(staging, ignore_errors=True)


def _is_ours(staging: Path) -> bool:
    """Whether this user made it: others could have us remove files in a folder of all users."""
    return not hasattr(os, "getuid") or staging.lstat().st_uid == os.getuid()


def _take_back(staging: Path, plan: dict[str, int]) -> None:
    """Remove the files that got their names before the others could."""
    if not any((staging / name).exists() for name in plan):
        return  # all of them have their names
    for name, inode in plan.items():
        target = staging.parent / name
        with suppress(FileNotFoundError):
            if target.lstat().st_ino == inode:
                target.unlink()

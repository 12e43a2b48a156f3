"""Folders of PNG files, written as a whole: an interrupted job goes on where it was.

Files gather in a hidden folder beside the final one, which gets its name when all are there. What
an earlier job left in it is compared with what belongs there, and kept where it is the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nc_core.content import check_name
from nc_core.datasets.exclusive import alone
from nc_core.errors import DataError
from nc_core.files import describe_os_error
from nc_core.images import Image, encode_png, read_image

__all__ = ["ImageFolder", "write_folder"]

Content = NDArray[np.uint8] | bytes
"""Pixels, uint8 (H, W, 3), or the bytes of a PNG file."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of square RGB images to make.

    Args:
        name: of the folder.
        side: height and width of every image.
        read: yields file names, each once, and what the files hold.
        count: number of images; None where only reading tells.
        official: number of images that the official split has.
    """

    name: str
    side: int
    read: Callable[[], Iterator[tuple[str, Content]]]
    count: int | None
    official: int


def write_folder(
    out: Path,
    folder: ImageFolder,
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> int | None:
    """Make a folder of images.

    Args:
        out: where; it is made if need be.
        folder: what to make.
        force: replace one that is there.
        progress: called after every image with how many there are.

    Returns:
        Number of images; None where the folder was there already.

    Raises:
        DataError: images of another shape, too few of them, or files that cannot be written; the
            unfinished folder stays for the next run.
        WorkError: there is no room for them.
    """
    target, unfinished = out / folder.name, out / f".{folder.name}.partial"
    if target.is_dir() and not force:
        return None
    with alone(target) as waited:
        if waited and target.is_dir() and not force:
            return None
        try:
            unfinished.mkdir(exist_ok=True)
            names = _write_files(unfinished, folder, progress)
            if not names or (folder.count is not None and len(names) != folder.count):
                raise DataError(f"{target}: {len(names):,} images, expected {folder.count or 1:,}")
            for path in unfinished.iterdir():
                if path.name not in names:
                    path.unlink()
            _put_in_place(unfinished, target)
        except OSError as error:
            raise describe_os_error(error, error.filename or target) from error
    return len(names)


def _write_files(
    unfinished: Path, folder: ImageFolder, progress: Callable[[int], None] | None
) -> set[str]:
    names: set[str] = set()
    for name, content in folder.read():
        check_name(name)
        if name in names:
            raise DataError(f"{folder.name}/{name}: two images of this name")
        _write_file(unfinished / name, content, folder)
        names.add(name)
        if progress is not None:
            progress(len(names))
    return names


def _write_file(path: Path, content: Content, folder: ImageFolder) -> None:
    if _holds(path, content):
        return
    if not isinstance(content, bytes):
        path.write_bytes(encode_png(Image(np.ascontiguousarray(content))))
        return
    path.write_bytes(content)
    label = f"{folder.name}/{path.name}"
    try:
        pixels = read_image(path).pixels
    except DataError as error:
        path.unlink()
        raise DataError(error.message.replace(str(path), label), error.hint) from error
    if pixels.shape != (folder.side, folder.side, 3) or pixels.dtype != np.uint8:
        path.unlink()
        side = folder.side
        raise DataError(
            f"{label}: {pixels.dtype} {pixels.shape}, expected uint8 ({side}, {side}, 3)"
        )


def _holds(path: Path, content: Content) -> bool:
    """Whether an earlier run wrote this file already, and all of it."""
    if not path.exists():
        return False
    if isinstance(content, bytes):
        return path.read_bytes() == content
    try:
        return np.array_equal(read_image(path).pixels, content)
    except DataError:
        return False


def _put_in_place(unfinished: Path, target: Path) -> None:
    """Rename, and remove what was there; killed in between, the next run does the rest."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    unfinished.rename(target)
    shutil.rmtree(old, ignore_errors=True)

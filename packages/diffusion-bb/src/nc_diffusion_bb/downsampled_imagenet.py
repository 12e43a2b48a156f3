"""ImageNet at 64x64 from whatever form users have it in: folders, npz batches, archives of both.

Pictures that are PNG files already stay as they are, with their names. Batches have no names; their
images are numbered from 1 in the order of the batches.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from nc_core.datasets.converted import SplitSource
from nc_core.datasets.downsampled_imagenet import read_imagenet64
from nc_core.errors import DataError
from nc_core.files import describe_os_error
from nc_core.images import image_files
from nc_diffusion_bb.image_folders import Content, ImageFolder

__all__ = ["imagenet64_folders"]

_SIDE = 64
_FOLDERS = {"train": "train_64x64", "test": "valid_64x64"}
_OFFICIAL_PNG = {"train": 1_281_149, "test": 49_999}
_DIGITS = {"train": 7, "test": 5}  # of file names, as in the official folders
_BATCH = re.compile(r"(train_data_batch_\d{1,3}|val_data)\.npz")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MOST_BYTES = 1 << 20  # of one picture of 64x64
_DAMAGE = (
    EOFError, NotImplementedError, RuntimeError, ValueError, tarfile.TarError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


def imagenet64_folders(source: Path, scratch: Path) -> list[ImageFolder]:
    """The folders ``train_64x64`` and ``valid_64x64``, or the one that there is.

    Args:
        source: a folder with one of these forms in it or one level below: folders of PNG files of
            these names, npz batches, archives (zip or tar) of either; or one such archive.
        scratch: an empty folder, where archived npz batches are unpacked while they are read.

    Raises:
        DataError: neither of them is there, or one is damaged.
    """
    if source.is_file():
        return _archived_folders([source], scratch)
    try:
        within = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
        files = [path for folder in within for path in sorted(folder.iterdir()) if path.is_file()]
    except OSError as error:
        raise describe_os_error(error, source) from error
    pictures = {
        split: folder / name
        for split, name in _FOLDERS.items()
        for folder in reversed(within)  # what lies in the given folder itself comes first
        if (folder / name).is_dir()
    }
    if pictures:
        return [_picture_folder(split, path) for split, path in pictures.items()]
    archives = [path for path in files if path.name.lower().endswith(_ARCHIVES)]
    if archives and not any(_BATCH.fullmatch(path.name) for path in files):
        return _archived_folders(archives, scratch)
    return _numbered_folders(source)


def _picture_folder(split: str, folder: Path) -> ImageFolder:
    paths = image_files(folder)

    def read() -> Iterator[tuple[str, Content]]:
        for path in paths:
            try:
                yield path.name, path.read_bytes()
            except OSError as error:
                raise describe_os_error(error, path) from error

    return ImageFolder(_FOLDERS[split], _SIDE, read, len(paths), _OFFICIAL_PNG[split])


def _numbered_folders(source: Path) -> list[ImageFolder]:
    return [
        ImageFolder(_FOLDERS[split], _SIDE, partial(_numbered, images, _DIGITS[split]),
                    images.count, images.official)
        for split, images in read_imagenet64(source).items()
    ]  # fmt: skip


def _numbered(images: SplitSource, digits: int) -> Iterator[tuple[str, Content]]:
    number = 0
    for part, _ in images.read():
        for pixels in part:
            number += 1
            yield f"{number:0{digits}d}.png", pixels


def _archived_folders(archives: Sequence[Path], scratch: Path) -> list[ImageFolder]:
    found: set[str] = set()
    batches = False
    for path in archives:
        inside = _contents(path)
        batches |= "npz" in inside
        found |= inside
    if batches:
        for path in archives:
            _unpack_batches(path, scratch)
        return _numbered_folders(scratch)
    folders = [
        ImageFolder(name, _SIDE, partial(_archived, archives, name), None, _OFFICIAL_PNG[split])
        for split, name in _FOLDERS.items()
        if name in found
    ]
    if not folders:
        names = " or ".join(_FOLDERS.values())
        raise DataError(
            f"{archives[0]}: no downsampled ImageNet: neither {names} nor npz batches in it"
        )
    return folders


def _contents(archive: Path) -> set[str]:
    """Which folders of pictures it holds, and ``npz`` for batches; read as far as need be."""
    named = {name for name in _FOLDERS.values() if archive.name.startswith(name)}
    if named:
        return named
    found: set[str] = set()
    for name, _, _ in _members(archive):
        if _BATCH.fullmatch(PurePosixPath(name).name):
            return {"npz"}
        found |= {folder for folder in _FOLDERS.values() if _picture(archive, name, folder)}
        if len(found) == len(_FOLDERS):
            break
    return found


def _archived(archives: Sequence[Path], folder: str) -> Iterator[tuple[str, Content]]:
    for archive in archives:
        for name, size, file in _members(archive):
            picture = _picture(archive, name, folder)
            if picture is None:
                continue
            if size > _MOST_BYTES:
                raise DataError(
                    f"{archive}: {ascii(name)[1:-1]} has {size:,} bytes: no 64x64 image"
                )
            yield picture, file.read(_MOST_BYTES)


def _picture(archive: Path, name: str, folder: str) -> str | None:
    """File name of a member that is a picture of a folder; a folder's own archive may omit it."""
    *above, last = PurePosixPath(name).parts or ("",)
    inside = folder in above or archive.name.startswith(folder)
    is_picture = last.lower().endswith(".png") and not last.startswith(".")
    return last if inside and is_picture else None


def _unpack_batches(archive: Path, scratch: Path) -> None:
    for name, _, file in _members(archive):
        batch = PurePosixPath(name).name
        if _BATCH.fullmatch(batch):
            try:
                with (scratch / batch).open("wb") as unpacked:
                    shutil.copyfileobj(file, unpacked)
            except OSError as error:
                raise describe_os_error(error, scratch) from error


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of all files in an archive, in order; nothing is written."""
    with _named_errors(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for info in packed.infolist():
                    if not info.is_dir():
                        with packed.open(info) as file:
                            yield info.filename, info.file_size, file
            return
        with tarfile.open(archive, "r|*") as stream:
            while (member := stream.next()) is not None:
                opened = stream.extractfile(member) if member.isreg() else None
                if opened is not None:
                    yield member.name, member.size, opened
                stream.members.clear()  # type: ignore[attr-defined]  # of which there are a million


@contextmanager
def _named_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or "it ends early"
        raise DataError(f"{archive}: damaged, or not an archive: {reason}") from error
    except OSError as error:
        raise describe_os_error(error, archive) from error

"""From a container back to arrays in memory or files in a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nc_core.container import ContainerReader
from nc_core.errors import DataError
from nc_core.files import describe_os_error
from nc_core.header import Header
from nc_core.images import Image, write_image
from nc_core.lossless import Decoded, Progress, decode_container
from nc_core.models import load_coder, load_model, model_by_id
from nc_core.plugins import PluginManager
from nc_core.protocols import Coder, LosslessModel

__all__ = ["OpenContainer", "open_container", "restore_arrays", "restore_files"]


@dataclass(frozen=True)
class OpenContainer:
    """A container with the model and the coder that decode it."""

    reader: ContainerReader
    header: Header
    model: LosslessModel
    coder: Coder

    def items(self, threads: int = 1, progress: Progress | None = None) -> Iterator[Decoded]:
        """Its items in order, each checked (:func:`nc_core.lossless.decode_container`)."""
        return decode_container(
            self.reader, self.header, self.model, self.coder, threads=threads, progress=progress
        )


def open_container(
    file: BinaryIO, name: str, model: str | None = None, plugins: PluginManager | None = None
) -> OpenContainer:
    """Read a container's header and find what decodes it.

    Args:
        file: seekable, open for reading.
        name: what to call it in errors.
        model: name of the model to use instead of the one with the container's id.
        plugins: where to look; by default what is installed.

    Raises:
        CorruptFileError: damaged, or its model is not there.
        PluginError: its coder is not there.
    """
    reader = ContainerReader(file, name)
    header = Header.from_json(reader.header, name)
    if model is None:
        found = model_by_id(header.model_id, header.model, name, plugins)
    else:
        found = load_model(model, plugins)
    return OpenContainer(reader, header, found, load_coder(header.coder, plugins))


def restore_arrays(
    container: OpenContainer, threads: int = 1, progress: Progress | None = None
) -> list[NDArray[Any]]:
    """The samples of every file that the container holds: of every image, or the one array."""
    samples = [item.samples for item in container.items(threads, progress)]
    content = container.header.content
    if content.kind == "images":
        return samples
    return [np.stack(samples) if content.repeat is not None else samples[0]]


def restore_files(
    container: OpenContainer,
    folder: Path,
    *,
    threads: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write images under their own names as PNG, an array as ``.npy``: all of them, or none.

    Raises:
        DataError: a file exists and ``force`` is off, or the folder cannot be written.
        CorruptFileError: the container is damaged.
    """
    content = container.header.content
    paths = [folder / name for name in content.file_names]
    existing = next((path for path in paths if path.exists()), None)
    if existing is not None and not force:
        raise DataError(
            f"{existing}: file exists", "use --force to replace it, or -o for another folder"
        )
    with _staging_folder(folder) as staging:
        items = container.items(threads, progress)
        if content.kind == "images":
            for item in items:
                write_image(staging / paths[item.index].name, _image(item))
        else:
            _write_npy(staging / paths[0].name, content.array_shape, content[0].dtype, items)
        for path in paths:
            (staging / path.name).replace(path)
    return paths


@contextmanager
def _staging_folder(folder: Path) -> Iterator[Path]:
    """A folder inside ``folder`` for unfinished files; nothing stays when the work fails."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".nc-", dir=folder))
    except OSError as error:
        raise describe_os_error(error, folder) from error
    finished = False
    try:
        yield staging
        finished = True
    except OSError as error:
        raise describe_os_error(error, folder) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made and not finished:
            shutil.rmtree(folder, ignore_errors=True)


def _image(item: Decoded) -> Image:
    return Image(item.samples, item.metadata.get(b"ICCP"), item.metadata.get(b"EXIF"))


def _write_npy(path: Path, shape: tuple[int, ...], dtype: str, items: Iterator[Decoded]) -> None:
    little_endian = np.dtype(dtype).newbyteorder("<")
    header = {
        "descr": np.lib.format.dtype_to_descr(little_endian),
        "fortran_order": False,
        "shape": shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for item in items:
            file.write(np.ascontiguousarray(item.samples, little_endian).data)
        file.flush()
        os.fsync(file.fileno())

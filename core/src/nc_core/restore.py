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
from nc_core.errors import MissingDependencyError, PluginError
from nc_core.files import check_target, describe_os_error, made_folder
from nc_core.header import Header
from nc_core.images import Image, write_image
from nc_core.lossless import Decoded, Progress, decode_container
from nc_core.models import DEFAULT_CODER, installed, load_model, model_by_id
from nc_core.plugins import PluginManager
from nc_core.protocols import Coder, LosslessModel
from nc_core.specs import CoderSpec

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
        PluginError: no coder that reads its words is there.
    """
    plugins = installed() if plugins is None else plugins
    reader = ContainerReader(file, name)
    header = Header.from_json(reader.header, name)
    if model is None:
        found = model_by_id(header.model_id, header.model, name, plugins)
    else:
        found = load_model(model, plugins)
    return OpenContainer(reader, header, found, _reading_coder(header, plugins))


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
        DataError: a file exists and ``force`` is off, a folder is in the way of one, or the
            folder cannot be written.
        WorkError: there is no room for a file.
        CorruptFileError: the container is damaged.
    """
    content = container.header.content
    paths = [folder / name for name in content.file_names]
    with _staging_folder(folder, paths, force) as staging:
        items = container.items(threads, progress)
        if content.kind == "images":
            for item in items:
                write_image(staging / paths[item.index].name, _image(item))
        else:
            _write_npy(staging / paths[0].name, content.array_shape, content[0].dtype, items)
        for path in paths:
            (staging / path.name).replace(path)
    return paths


def _reading_coder(header: Header, plugins: PluginManager) -> Coder:
    """The coder that made a container, or any that reads the same words: the fastest first."""
    specs = plugins.specs(CoderSpec)
    words = {spec.words for spec in specs if spec.name == header.coder}
    if len(words) != 1:
        plugins.find(CoderSpec, header.coder)  # says what is there instead, or asks for a provider
    readers = [spec for spec in specs if spec.words in words]
    readers.sort(key=lambda spec: (spec.name != DEFAULT_CODER, spec.name != header.coder))
    missing: list[MissingDependencyError] = []
    for spec in readers:
        try:
            coder: Coder = spec.load()()
        except MissingDependencyError as error:
            missing.append(error)
        else:
            return coder
    raise PluginError(f"{header.file}: {missing[0].message}", missing[0].hint) from missing[0]


@contextmanager
def _staging_folder(folder: Path, paths: list[Path], force: bool) -> Iterator[Path]:
    """A folder inside ``folder`` for unfinished files; nothing stays when the work fails."""
    try:
        for path in paths:
            check_target(path, force=force, elsewhere=", or -o for another folder")
        with made_folder(folder):
            staging = Path(tempfile.mkdtemp(prefix=".nc-", dir=folder))
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise describe_os_error(error, folder) from error


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

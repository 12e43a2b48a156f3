"""From a container back to arrays in memory or files in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nc_core.chunk_journal import INTERVAL_SECONDS, ChunkJournals
from nc_core.container import ContainerReader
from nc_core.content import Content
from nc_core.decoding import Damage
from nc_core.errors import (
    MissingDependencyError,
    PartlyRestoredError,
    PluginError,
    UsageError,
)
from nc_core.files import check_target, describe_os_error, made_folder
from nc_core.header import Header
from nc_core.images import Image, write_image
from nc_core.lossless import Decoded, decode_container
from nc_core.models import DEFAULT_CODER, installed, load_model, model_by_id
from nc_core.plugins import PluginManager
from nc_core.protocols import Coder, LosslessModel
from nc_core.samples_done import Progress
from nc_core.specs import CoderSpec
from nc_core.staging import publish, staging_folder
from nc_core.unfinished_decoding import unfinished_decoding

__all__ = ["OpenContainer", "open_container", "restore_arrays", "restore_files"]


@dataclass(frozen=True)
class OpenContainer:
    """A container with the model and the coder that decode it."""

    reader: ContainerReader
    header: Header
    model: LosslessModel
    coder: Coder

    def items(
        self,
        wanted: Collection[int] | None = None,
        *,
        on_damage: Callable[[Damage], None] | None = None,
        threads: int = 1,
        progress: Progress | None = None,
        journals: ChunkJournals | None = None,
    ) -> Iterator[Decoded]:
        """Its items in order, each checked (:func:`nc_core.lossless.decode_container`)."""
        return decode_container(
            self.reader, self.header, self.model, self.coder,
            wanted=wanted, on_damage=on_damage, threads=threads, progress=progress,
            journals=journals,
        )  # fmt: skip

    def check_items(self, wanted: Collection[int]) -> None:
        """Refuse indices of items that are not there.

        Raises:
            UsageError: one outside 0 ... items - 1.
        """
        count = len(self.header.content)
        for index in wanted:
            if not 0 <= index < count:
                raise UsageError(
                    f"{self.header.file}: no item {index}",
                    "it holds 1 item, number 0" if count == 1
                    else f"it holds {count} items, numbers 0 to {count - 1}",
                )  # fmt: skip


def open_container(
    file: BinaryIO,
    name: str,
    model: str | None = None,
    plugins: PluginManager | None = None,
    *,
    partial: bool = False,
) -> OpenContainer:
    """Read a container's header and find what decodes it.

    Args:
        file: seekable, open for reading.
        name: what to call it in errors.
        model: name of the model to use instead of the one with the container's id.
        plugins: where to look; by default what is installed.
        partial: open one whose end is damaged or missing too, for ``keep_going``.

    Raises:
        CorruptFileError: damaged, or its model is not there or refuses its coding options.
        PluginError: no coder that reads its words is there.
    """
    plugins = installed() if plugins is None else plugins
    reader = ContainerReader(file, name, partial=partial)
    header = Header.from_json(reader.header, name)
    if model is None:
        found = model_by_id(header.model_id, header.model, name, plugins, header.codec[0])
    else:
        found = load_model(model, plugins)
    return OpenContainer(reader, header, header.told(found), _reading_coder(header, plugins))


def restore_arrays(
    container: OpenContainer,
    wanted: Sequence[int] | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> list[NDArray[Any]]:
    """The samples of every file that the container holds, or of chosen items.

    Args:
        container: open.
        wanted: indices of items; None for every image, or the one array.
        threads: chunks decoded at once.
        progress: as that of :func:`nc_core.decoding.decode_container`.

    Raises:
        UsageError: an index of no item.
        CorruptFileError: the container is damaged.
    """
    container.check_items(wanted or ())
    items = container.items(wanted, threads=threads, progress=progress)
    content = container.header.content
    if wanted is not None:
        found = {item.index: item.samples for item in items}
        return [found[index] for index in wanted]
    samples = [item.samples for item in items]
    if content.kind == "images":
        return samples
    return [np.stack(samples) if content.repeat is not None else samples[0]]


def restore_files(
    container: OpenContainer,
    folder: Path,
    *,
    wanted: Collection[int] | None = None,
    keep_going: bool = False,
    threads: int = 1,
    force: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    journal_seconds: float | None = INTERVAL_SECONDS,
) -> list[Path]:
    """Write images under their own names as PNG, an array as ``.npy``: all of them, or none.

    Args:
        container: open.
        folder: where to; made if need be.
        wanted: indices of the items to write; None for all. An item of an array becomes a
            file of its own, ``NAME-INDEX.npy``.
        keep_going: write what a damaged container still gives. Lost images are left out, lost
            items of an array are zeros.
        threads: chunks decoded at once.
        force: replace existing files.
        resume: go on with what an interrupted run left in ``folder``.
        progress: as that of :func:`nc_core.decoding.decode_container`.
        journal_seconds: time after which the state within a chunk is kept again, and the most work
            that a kill costs; None: nothing is kept.

    Raises:
        DataError: a file exists and ``force`` is off, a folder is in the way of one, or the
            folder cannot be written.
        UsageError: an index of no item, or what is there to resume belongs to another version.
        InterruptedWorkError: Ctrl-C, with the finished work kept for ``resume``.
        WorkError: there is no room for a file.
        PartlyRestoredError: with ``keep_going``: items are lost, and the others were written.
        CorruptFileError: the container is damaged, and nothing was written.
    """
    container.check_items(wanted or ())
    content = container.header.content
    one_array = content.kind == "array" and wanted is None
    names = {0: content.name} if one_array else _item_names(content, wanted)
    paths = {index: folder / name for index, name in names.items()}
    damage: list[Damage] = []
    with (
        _staging_folder(folder, list(paths.values()), force) as staging,
        _journals(container, folder, journal_seconds, resume) as journals,
    ):
        items = container.items(
            wanted,
            on_damage=damage.append if keep_going else None,
            threads=threads,
            progress=progress,
            journals=journals,
        )
        if one_array:
            written = [paths[0]] if _write_array(staging / content.name, content, items) else []
        else:
            written = []
            for item in items:
                written.append(paths[item.index])
                _write_item(staging / written[-1].name, content, item)
        if damage and not written:
            raise damage[0].error
        publish(staging, [path.name for path in written])
    if damage:
        zeros_in = content.name if one_array else None
        is_checked = container.reader.damage is None
        raise _partly_restored(container.header, damage, written, zeros_in, is_checked)
    return written


def _item_names(content: Content, wanted: Collection[int] | None) -> dict[int, str]:
    """Names of the files of single items."""
    indices = range(len(content)) if wanted is None else sorted(set(wanted))
    if content.kind == "images":
        names = content.file_names
        return {index: names[index] for index in indices}
    stem, width = content.name.removesuffix(".npy"), len(str(len(content) - 1))
    return {index: f"{stem}-{index:0{width}}.npy" for index in indices}


def _partly_restored(
    header: Header,
    damage: list[Damage],
    written: list[Path],
    zeros_in: str | None,
    is_checked: bool,
) -> PartlyRestoredError:
    """The error.

    Args:
        header: of the container.
        damage: what was found.
        written: files with what is left.
        zeros_in: name of the array that has zeros in place of lost items.
        is_checked: what was written was compared with its checksums.
    """
    lost = sorted(index for entry in damage for index in entry.items)
    if lost:
        what = f"{len(lost)} of {len(header.content)} items lost: {_ranges(lost)}"
        what += "" if zeros_in is None else f"; zeros in {zeros_in} instead"
    elif not is_checked:
        what = "no item is lost"
    elif header.content.kind == "array":
        what = "there is no telling which of its items are wrong"
    else:
        what = "metadata lost"
    what += "" if is_checked else "; what was written could not be compared with checksums"
    reason = damage[0].error.message.removeprefix(f"{header.file}: ")
    return PartlyRestoredError(f"{header.file}: {reason}", what, lost, written)


def _ranges(indices: list[int]) -> str:
    """Numbers in a line: ``3, 7 to 9, 12``; the first ten of them."""
    ends: list[list[int]] = []
    for index in indices:
        if ends and index == ends[-1][1] + 1:
            ends[-1][1] = index
        else:
            ends.append([index, index])
    words = [str(first) if first == last else f"{first} to {last}" for first, last in ends]
    return ", ".join([*words[:10], "..."] if len(words) > 10 else words)


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
        with made_folder(folder), staging_folder(folder) as staging:
            for path in paths:
                check_target(
                    path, force=force,
                    elsewhere=", or -o for another folder",
                    instead="-o - writes one file to standard output",
                )  # fmt: skip
            yield staging
    except OSError as error:
        raise describe_os_error(error, folder) from error


def _journals(
    container: OpenContainer, folder: Path, seconds: float | None, resume: bool
) -> AbstractContextManager[ChunkJournals | None]:
    """What is kept of unfinished work beside the files."""
    if seconds is None:
        return nullcontext()
    return unfinished_decoding(
        folder, container.reader, container.header, container.model,
        interval=seconds, resume=resume,
    )  # fmt: skip


def _image(item: Decoded) -> Image:
    return Image(item.samples, item.metadata.get(b"ICCP"), item.metadata.get(b"EXIF"))


def _write_item(path: Path, content: Content, item: Decoded) -> None:
    if content.kind == "images":
        write_image(path, _image(item))
    else:
        np.save(path, item.samples.astype(_little_endian(content), copy=False))


def _write_array(path: Path, content: Content, items: Iterator[Decoded]) -> bool:
    """Write items one after the other, zeros for those that are missing; False if all are."""
    dtype = _little_endian(content)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": content.array_shape,
    }
    position, blank = 0, b""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for item in items:
            blank = blank or bytes(dtype.itemsize * item.samples.size)
            file.writelines([blank] * (item.index - position))
            file.write(np.ascontiguousarray(item.samples, dtype).data)
            position = item.index + 1
        if not position:
            return False
        file.writelines([blank] * (len(content) - position))
        file.flush()
        os.fsync(file.fileno())
    return True


def _little_endian(content: Content) -> np.dtype[Any]:
    return np.dtype(content[0].dtype).newbyteorder("<")

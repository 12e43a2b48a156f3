"""Restoring files: all of them or none, nobody else's touched, with whatever coder is there."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nc_core import plugin
from nc_core.ans.rans import Rans
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.errors import CorruptFileError, DataError, ExitCode, NcError, PluginError, WorkError
from nc_core.files import describe_os_error
from nc_core.hookspecs import hookimpl
from nc_core.images import Image, read_image, write_image
from nc_core.lossless import compress_source
from nc_core.models import load_model
from nc_core.plugins import PluginManager
from nc_core.protocols import Coder
from nc_core.restore import open_container, restore_arrays, restore_files
from nc_core.sources import FileSource
from nc_core.specs import CoderSpec, Requirement

RANDOM = np.random.default_rng(0)
PIXELS = [RANDOM.integers(0, 256, shape, np.uint8) for shape in ((9, 8), (7, 6))]


@pytest.fixture
def plugins() -> PluginManager:
    """Core's own plugins and nothing else."""
    manager = PluginManager()
    manager.discover({"NC_PLUGINS": ""})
    return manager


@pytest.fixture
def packed(tmp_path: Path, plugins: PluginManager) -> Path:
    """A container of a.png and b.png, which are not there any more."""
    return pack(tmp_path / "x.ncz", plugins, Rans())


def pack(path: Path, plugins: PluginManager, coder: Coder) -> Path:
    files = [path.parent / "a.png", path.parent / "b.png"]
    for file, pixels in zip(files, PIXELS, strict=True):
        write_image(file, Image(pixels))
    compress_source(FileSource(files), path, load_model(plugins=plugins), coder)
    for file in files:
        file.unlink()
    return path


def restore(
    packed: Path, folder: Path, plugins: PluginManager, *, force: bool = False
) -> list[Path]:
    with packed.open("rb") as file:
        container = open_container(file, packed.name, plugins=plugins)
        return restore_files(container, folder, force=force)


def damage(packed: Path) -> None:
    """A flipped bit in the chunk of the last image, found when the first one is written."""
    data = bytearray(packed.read_bytes())
    data[data.rindex(b"CODE") + 30] ^= 1
    packed.write_bytes(data)


def test_files_are_restored_into_a_new_folder(
    tmp_path: Path, packed: Path, plugins: PluginManager
) -> None:
    folder = tmp_path / "new" / "folder"
    paths = restore(packed, folder, plugins)
    assert sorted(folder.iterdir()) == paths == [folder / "a.png", folder / "b.png"]
    for path, pixels in zip(paths, PIXELS, strict=True):
        assert np.array_equal(read_image(path).pixels, pixels)


def test_existing_files_stay_without_force_and_go_with_it(
    tmp_path: Path, packed: Path, plugins: PluginManager
) -> None:
    (tmp_path / "b.png").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"b\.png: file exists"):
        restore(packed, tmp_path, plugins)
    assert (tmp_path / "b.png").read_bytes() == b"mine"
    assert not (tmp_path / "a.png").exists()
    restore(packed, tmp_path, plugins, force=True)
    assert np.array_equal(read_image(tmp_path / "b.png").pixels, PIXELS[1])


@pytest.mark.parametrize("obstacle", ["folder", "pipe", "dangling link"])
def test_what_is_in_the_way_of_one_file_saves_the_others(
    tmp_path: Path, packed: Path, plugins: PluginManager, obstacle: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    in_the_way = tmp_path / "b.png"
    if obstacle == "folder":
        in_the_way.mkdir()
    elif obstacle == "pipe":
        os.mkfifo(in_the_way)
    else:
        in_the_way.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"b\.png: (is a folder|not a regular file)"):
        restore(packed, tmp_path, plugins, force=True)
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "x.ncz"]


def test_a_failure_leaves_no_file_and_no_folder(
    tmp_path: Path, packed: Path, plugins: PluginManager
) -> None:
    damage(packed)
    with pytest.raises(CorruptFileError):
        restore(packed, tmp_path / "new" / "folder", plugins)
    assert list(tmp_path.iterdir()) == [packed]


def test_a_failure_leaves_what_others_put_into_the_folder(
    tmp_path: Path, packed: Path, plugins: PluginManager
) -> None:
    folder = tmp_path / "new" / "folder"
    with packed.open("rb") as file:
        container = open_container(file, packed.name, plugins=plugins)

        def meanwhile(_done: int, _total: int) -> None:
            (folder / "theirs").write_bytes(b"theirs")
            raise RuntimeError

        with pytest.raises(RuntimeError):
            restore_files(container, folder, progress=meanwhile)
    assert [path.name for path in folder.iterdir()] == ["theirs"]


@pytest.mark.parametrize(("written", "read"), [("rans-numpy", Rans), ("rans", RansNumpy)])
def test_a_file_of_one_coder_decodes_with_any_other_of_its_words(
    tmp_path: Path, written: str, read: type[Coder]
) -> None:
    """Where the coder that made the file, or the default one, cannot be used."""
    core = PluginManager()
    core.discover({"NC_PLUGINS": ""})
    coders = {"rans": Rans(), "rans-numpy": RansNumpy()}
    packed = pack(tmp_path / "x.ncz", core, coders[written])
    missing = Requirement("a_module_that_is_not_there", "it")

    @hookimpl
    def nc_coders() -> list[CoderSpec]:
        return [
            CoderSpec(
                name=coder.name,
                summary="a coder",
                target=f"{type(coder).__module__}:{type(coder).__name__}",
                requires=() if type(coder) is read else (missing,),
            )
            for coder in coders.values()
        ]

    plugins = PluginManager()
    plugins.register(SimpleNamespace(nc_coders=nc_coders), distribution="nc-test")
    plugins.register(SimpleNamespace(nc_models=plugin.nc_models), distribution="nc-core")
    with packed.open("rb") as file:
        container = open_container(file, "x.ncz", plugins=plugins)
        assert type(container.coder) is read
        for restored, pixels in zip(restore_arrays(container), PIXELS, strict=True):
            assert np.array_equal(restored, pixels)


def test_a_file_of_craystack_needs_no_craystack(
    tmp_path: Path, packed: Path, plugins: PluginManager
) -> None:
    class Borrowed(RansNumpy):
        name = "craystack"

    pack(tmp_path / "y.ncz", plugins, Borrowed())
    assert restore(tmp_path / "y.ncz", tmp_path / "out", plugins)


def test_a_file_of_an_unknown_coder_says_which(tmp_path: Path, plugins: PluginManager) -> None:
    class Unknown(RansNumpy):
        name = "huffman"

    pack(tmp_path / "y.ncz", plugins, Unknown())
    with pytest.raises(PluginError, match="no coder 'huffman'"):
        restore(tmp_path / "y.ncz", tmp_path / "out", plugins)


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, WorkError, ExitCode.FAILED),
        (errno.EFBIG, WorkError, ExitCode.FAILED),
        (errno.EDQUOT, WorkError, ExitCode.FAILED),
        (errno.EROFS, DataError, ExitCode.DATA),
    ],
)
def test_no_room_is_failed_work_and_not_bad_data(
    number: int, kind: type[NcError], code: ExitCode
) -> None:
    error = describe_os_error(OSError(number, "Reason"), "x")
    assert type(error) is kind
    assert error.exit_code == code
    assert error.message == "x: reason"

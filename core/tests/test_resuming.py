"""Interrupted work: what is kept, who may go on with it, and what is never touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans.rans import Rans
from nc_core.errors import DataError, InterruptedWorkError, UsageError, WorkError
from nc_core.files import atomic_write, made_folder
from nc_core.lossless import compress_source
from nc_core.partial_file import partial_file
from nc_core.sources import ArraySource
from raw_model import BorrowingModel, RawModel

CODER = Rans()
RANDOM = np.random.default_rng(0)
ARRAY = RANDOM.integers(0, 256, (12, 60, 60), np.uint8)
OTHER = RANDOM.integers(0, 256, (12, 60, 60), np.uint8)


class Stopped(RawModel):
    """Is interrupted, or fails in another way, at its n-th push."""

    def __init__(self, push: int = 4, error: BaseException | None = None) -> None:
        self._left, self._error = push, error or KeyboardInterrupt()

    def push(self, coder: Any, message: Any, blocks: NDArray[Any]) -> float:
        self._left -= 1
        if self._left == 0:
            raise self._error
        return super().push(coder, message, blocks)


class StoppedDecoding(RawModel):
    """Is interrupted while its file is verified."""

    def pop(self, *_: Any) -> NDArray[Any]:
        raise KeyboardInterrupt


def compress(path: Path, model: RawModel, array: NDArray[Any] = ARRAY, **options: Any) -> None:
    compress_source(ArraySource(array), path, model, CODER, **options)


@pytest.fixture
def undisturbed(tmp_path: Path) -> bytes:
    path = tmp_path / "elsewhere" / "x.ncz"
    compress(path, RawModel())
    data = path.read_bytes()
    path.unlink()
    path.parent.rmdir()
    return data


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_interrupted_job_resumes_at_its_last_whole_chunk(
    tmp_path: Path, undisturbed: bytes
) -> None:
    path = tmp_path / "x.ncz"
    with pytest.raises(InterruptedWorkError, match=r"3 finished chunks of .* are kept\n.*--resume"):
        compress(path, Stopped())
    assert not path.exists()
    compress(path, RawModel(), resume=True)
    assert path.read_bytes() == undisturbed
    assert names(tmp_path) == ["x.ncz"]


def test_a_job_may_be_interrupted_again_and_again(tmp_path: Path, undisturbed: bytes) -> None:
    path = tmp_path / "x.ncz"
    for kept in ("1 finished chunk of .* is kept", "2 finished chunks", "3 finished chunks"):
        with pytest.raises(InterruptedWorkError, match=kept):
            compress(path, Stopped(2), resume=True)
    with pytest.raises(InterruptedWorkError, match="12 finished chunks"):
        compress(path, StoppedDecoding(), resume=True)
    with pytest.raises(InterruptedWorkError, match="12 finished chunks"):
        compress(path, StoppedDecoding(), resume=True, threads=2)
    compress(path, RawModel(), resume=True)
    assert path.read_bytes() == undisturbed


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left"), RuntimeError()]
)
def test_no_error_while_resuming_loses_finished_chunks(
    tmp_path: Path, undisturbed: bytes, error: BaseException
) -> None:
    path = tmp_path / "x.ncz"
    with pytest.raises(InterruptedWorkError):
        compress(path, Stopped())
    with pytest.raises((InterruptedWorkError, WorkError, type(error))):
        compress(path, Stopped(1, error), resume=True)
    compress(path, Stopped(10), resume=True)  # 9 pushes are left: all 12 less 3
    assert path.read_bytes() == undisturbed


def test_a_full_disk_keeps_finished_chunks(tmp_path: Path, undisturbed: bytes) -> None:
    path = tmp_path / "x.ncz"
    with pytest.raises(WorkError, match=r"x\.ncz: no space left on device\n.*--resume"):
        compress(path, Stopped(3, OSError(28, "No space left on device")))
    compress(path, Stopped(11), resume=True)  # 10 pushes are left: all 12 less 2
    assert path.read_bytes() == undisturbed
    assert names(tmp_path) == ["x.ncz"]


def test_a_disk_that_is_full_keeps_finished_chunks_and_says_so(
    tmp_path: Path, undisturbed: bytes
) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.ncz"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(undisturbed) // 2, hard))
    try:
        with pytest.raises(WorkError, match=r"x\.ncz: file too large\n.*--resume"):
            compress(path, RawModel())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    compress(path, Stopped(10), resume=True)
    assert path.read_bytes() == undisturbed
    assert names(tmp_path) == ["x.ncz"]


class Damaged(ArraySource):
    """Has an item that cannot be read."""

    def load(self, index: int) -> Any:
        if index == 5:
            raise DataError("x.png: damaged")
        return super().load(index)


@pytest.mark.parametrize("threads", [1, 2])
def test_input_that_cannot_be_read_leaves_only_work_that_took_long(
    tmp_path: Path, undisturbed: bytes, threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    path, source = tmp_path / "x.ncz", Damaged(ARRAY)
    with pytest.raises(DataError, match="damaged"):
        compress_source(source, path, RawModel(), CODER, threads=threads)
    assert names(tmp_path) == []
    with pytest.raises(DataError, match="damaged"):
        compress_source(source, path, RawModel(), CODER, threads=threads, journal_seconds=0)
    assert "x.ncz: what is coded so far is kept; --resume goes on" in caplog.text
    compress(path, Stopped(8), resume=True)  # 7 pushes are left: all 12 less the 5 in front
    assert path.read_bytes() == undisturbed


def test_resuming_with_another_header_is_refused_and_keeps_the_work(
    tmp_path: Path, undisturbed: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.ncz"
    with pytest.raises(InterruptedWorkError):
        compress(path, Stopped())
    for model, array in ((RawModel(), ARRAY[:5]), (BorrowingModel(), ARRAY)):
        with pytest.raises(UsageError, match="another input"):
            compress(path, model, array, resume=True)
    assert "--resume goes on" not in caplog.text  # the error says to run without it
    compress(path, RawModel(), resume=True)
    assert path.read_bytes() == undisturbed


def test_resuming_with_other_input_of_the_same_shape_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.ncz"
    with pytest.raises(InterruptedWorkError):
        compress(path, Stopped())
    with pytest.raises(WorkError, match="changed since the interruption"):
        compress(path, RawModel(), OTHER, resume=True, verify=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [0, 1, 20])
def test_a_job_stopped_inside_its_header_starts_again(
    tmp_path: Path, undisturbed: bytes, length: int
) -> None:
    (tmp_path / ".x.ncz.partial").write_bytes(undisturbed[:length])
    compress(tmp_path / "x.ncz", RawModel(), resume=True)
    assert (tmp_path / "x.ncz").read_bytes() == undisturbed


def test_a_job_stopped_in_its_first_chunk_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InterruptedWorkError, match="nothing was written"):
        compress(tmp_path / "new" / "folder" / "x.ncz", Stopped(1))
    assert names(tmp_path) == []


def test_two_writers_of_one_file_do_not_disturb_each_other(
    tmp_path: Path, undisturbed: bytes
) -> None:
    path = tmp_path / "x.ncz"

    class Second(RawModel):
        """While it codes, somebody else wants the same file."""

        def push(self, coder: Any, message: Any, blocks: NDArray[Any]) -> float:
            for resume in (False, True):
                with pytest.raises(DataError, match="another nc is writing this file"):
                    compress(path, RawModel(), OTHER, resume=resume)
            return super().push(coder, message, blocks)

    compress(path, Second())
    assert path.read_bytes() == undisturbed


def test_another_process_is_kept_out_too(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from nc_core.partial_file import partial_file\n"
        "with partial_file(Path(sys.argv[1]), resume=False, force=False): pass"
    )
    path = tmp_path / "x.ncz"
    with partial_file(path, resume=False, force=False):
        other = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, check=False
        )
    assert "another nc is writing this file" in other.stderr
    assert names(tmp_path) == []


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    partial = tmp_path / ".x.ncz.partial"
    for make in (partial.symlink_to, partial.hardlink_to):
        make(mine)
        for resume in (False, True):
            with pytest.raises(DataError, match="not a regular file"):
                compress(tmp_path / "x.ncz", RawModel(), resume=resume)
        partial.unlink()
    assert mine.read_bytes() == b"mine"


def test_force_replaces_files_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = names(tmp_path)
    for name in before:
        with pytest.raises(DataError, match=r"not a regular file|is a folder") as refused:
            compress(tmp_path / name, RawModel(), force=True)
        assert (refused.value.hint is None) == (name == "folder")
        with (
            pytest.raises(DataError, match=r"not a regular file|is a folder") as refused,
            atomic_write(tmp_path / name),
        ):
            pass
        assert refused.value.hint is None  # not every writer knows '-o -'
    assert names(tmp_path) == before


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".ncz")
    with pytest.raises(InterruptedWorkError):
        compress(path, Stopped())
    compress(path, RawModel(), resume=True)
    with atomic_write(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == [path.name]


def test_folders_that_were_made_go_when_the_work_fails(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError), made_folder(tmp_path / "mine" / "a" / "b"):
        raise RuntimeError
    assert names(tmp_path / "mine") == []
    with pytest.raises(RuntimeError), made_folder(tmp_path / "mine" / "a" / "b"):
        (tmp_path / "mine" / "a" / "theirs").touch()
        raise RuntimeError
    assert names(tmp_path / "mine" / "a") == ["theirs"]


def test_progress_covers_coding_and_comparing(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    compress(tmp_path / "x.ncz", RawModel(), progress=lambda *step: seen.append(step))
    assert len(seen) == 24
    assert seen == sorted(seen)
    assert seen[11] == (ARRAY.size // 2, ARRAY.size)
    assert seen[-1] == (ARRAY.size, ARRAY.size)
    seen.clear()
    compress(tmp_path / "y.ncz", RawModel(), verify=False, progress=lambda *step: seen.append(step))
    assert len(seen) == 12
    assert seen[-1] == (ARRAY.size, ARRAY.size)

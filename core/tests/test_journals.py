"""Work within a chunk survives a kill: encoding, verifying and decoding go on where they were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import slow_model
from nc_core import chunk_journal, saved_state
from nc_core.errors import DataError, InterruptedWorkError, UsageError, WorkError
from nc_core.file_lock import lock_folder
from raw_model import BorrowingModel, RawModel
from slow_model import STEPS, Countdown, SlowModel, compress, decompress, images

CHUNKS = 3  # of 4, 4 and 2 images
GROUPS = 5
ALL_STEPS = GROUPS * STEPS
JOURNAL = ".x.ncz.journal"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """The images in a file that nobody disturbed."""
    folder = tmp_path / "undisturbed"
    compress(folder / "x.ncz", SlowModel())
    return folder / "x.ncz"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def steps_in(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


class Interrupted:
    """Is interrupted before its n-th step, as by a kill: nothing is saved at that moment."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.done = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            if self.done == self.left:
                raise KeyboardInterrupt
            self.done += 1


def run(work: str, path: Path, target: Path, log: Path, left: int | None, **options: Any) -> int:
    """Run the program; its exit code."""
    text = json.dumps({"log": str(log), "left": left, "journal_seconds": 0, **options})
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, slow_model.__file__, work, path, target, text],
        env={**os.environ, "PYTHONPATH": here}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(done.stderr)
    return done.returncode


@pytest.mark.parametrize("threads", [1, 2])
def test_compressing_killed_again_and_again_ends_with_the_same_bytes(
    tmp_path: Path, out: Path, packed: Path, threads: int
) -> None:
    np.save(tmp_path / "x.npy", images())
    target, log = out / "x.ncz", tmp_path / "log"
    kills = 0
    while run("compress", tmp_path / "x.npy", target, log, 13, resume=True, threads=threads):
        kills += 1
        assert not target.exists()
    assert target.read_bytes() == packed.read_bytes()
    assert names(out) == ["x.ncz"]
    # Coded once and decoded once; at most the step that another thread was in was for nothing.
    assert 2 * ALL_STEPS <= steps_in(log) <= 2 * ALL_STEPS + kills * (threads - 1)
    assert kills == 3


@pytest.mark.parametrize("threads", [1, 2])
def test_decompressing_killed_again_and_again_ends_with_the_same_array(
    tmp_path: Path, out: Path, packed: Path, threads: int
) -> None:
    log = tmp_path / "log"
    kills = 0
    while run("decompress", packed, out, log, 8, resume=True, threads=threads):
        kills += 1
        assert [name for name in names(out) if not name.startswith(".nc-")] == []
    assert np.array_equal(np.load(out / "array.npy"), images())
    assert names(out) == ["array.npy"]
    assert ALL_STEPS <= steps_in(log) <= ALL_STEPS + kills * (threads - 1)
    assert kills == 3


@pytest.mark.parametrize("left", range(0, 2 * ALL_STEPS, 3))
def test_compressing_goes_on_at_the_step_where_it_stopped(
    out: Path, packed: Path, left: int
) -> None:
    with pytest.raises(InterruptedWorkError, match="--resume"):
        compress(out / "x.ncz", SlowModel(Interrupted(left)), journal_seconds=0)
    rest = Interrupted(-1)
    compress(out / "x.ncz", SlowModel(rest), journal_seconds=0, resume=True)
    assert (out / "x.ncz").read_bytes() == packed.read_bytes()
    assert names(out) == ["x.ncz"]
    assert left + rest.done == 2 * ALL_STEPS


@pytest.mark.parametrize("left", range(0, ALL_STEPS, 3))
def test_decompressing_goes_on_at_the_step_where_it_stopped(
    out: Path, packed: Path, left: int
) -> None:
    with pytest.raises(InterruptedWorkError, match="--resume"):
        decompress(packed, out, SlowModel(Interrupted(left)), journal_seconds=0)
    rest = Interrupted(-1)
    (path,) = decompress(packed, out, SlowModel(rest), journal_seconds=0, resume=True)
    assert np.array_equal(np.load(path), images())
    assert names(out) == [path.name]
    assert left + rest.done == ALL_STEPS


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_work_save_its_state_at_once(
    tmp_path: Path, out: Path, packed: Path, number: int, threads: int
) -> None:
    log = tmp_path / "log"
    for left in (7, 12, 20):  # the last one while the file is verified
        steps = Countdown(log, left, number)
        with pytest.raises(InterruptedWorkError, match="--resume"):
            compress(out / "x.ncz", SlowModel(steps), resume=True, threads=threads)
    compress(out / "x.ncz", SlowModel(Countdown(log)), resume=True, threads=threads)
    assert (out / "x.ncz").read_bytes() == packed.read_bytes()
    assert steps_in(log) == 2 * ALL_STEPS  # none was done twice
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)


class OvertakenByOthers:
    """Holds the first chunk until another thread has finished the second, then sends a signal."""

    def __init__(self, log: Path) -> None:
        self._log = Countdown(log)
        self._lock = threading.Lock()
        self._first: int | None = None
        self._steps_of_others = 0
        self._second_is_done = threading.Event()

    def __call__(self) -> None:
        with self._lock:
            thread = threading.get_ident()
            self._first = self._first or thread
            if thread != self._first:
                self._steps_of_others += 1
        if thread != self._first:
            if self._steps_of_others > 2 * STEPS:  # two groups: this step is of the third chunk
                self._second_is_done.set()
        elif not self._second_is_done.is_set():
            assert self._second_is_done.wait(60)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)  # let the main thread hear of it
        self._log()


def test_a_signal_keeps_chunks_that_overtook_earlier_ones(
    tmp_path: Path, out: Path, packed: Path
) -> None:
    log = tmp_path / "log"
    with pytest.raises(InterruptedWorkError, match="--resume"):
        compress(out / "x.ncz", SlowModel(OvertakenByOthers(log)), threads=2)
    compress(out / "x.ncz", SlowModel(Countdown(log)), resume=True, threads=2)
    assert (out / "x.ncz").read_bytes() == packed.read_bytes()
    assert steps_in(log) == 2 * ALL_STEPS  # none was done twice


def test_a_signal_lets_decoding_save_its_state_at_once(
    tmp_path: Path, out: Path, packed: Path
) -> None:
    log = tmp_path / "log"
    for left in (7, 9):
        with pytest.raises(InterruptedWorkError, match=r"x\.ncz is kept\n.*--resume"):
            decompress(packed, out, SlowModel(Countdown(log, left, signal.SIGTERM)), resume=True)
    (path,) = decompress(packed, out, SlowModel(Countdown(log)), resume=True)
    assert np.array_equal(np.load(path), images())
    assert steps_in(log) == ALL_STEPS


class Told(list[int]):
    """Samples done, as progress was told of them."""

    def __call__(self, done: int, total: int) -> None:
        assert total == images().size
        self.append(done)


STEP = images().size // ALL_STEPS  # samples, of coding or of decoding


@pytest.mark.parametrize("seconds", [0, 60, None])
@pytest.mark.parametrize("threads", [1, 2])
def test_progress_of_compressing_is_told_after_every_step(
    out: Path, threads: int, seconds: float | None
) -> None:
    told = Told()
    options: dict[str, Any] = {"threads": threads, "journal_seconds": seconds, "progress": told}
    compress(out / "x.ncz", SlowModel(), **options)
    assert told == list(range(STEP // 2, images().size + 1, STEP // 2))
    told.clear()
    compress(out / "y.ncz", SlowModel(), verify=False, **options)
    assert told == list(range(STEP, images().size + 1, STEP))


@pytest.mark.parametrize("seconds", [0, 60, None])
@pytest.mark.parametrize("threads", [1, 2])
def test_progress_of_decompressing_is_told_after_every_step(
    out: Path, packed: Path, threads: int, seconds: float | None
) -> None:
    told = Told()
    decompress(
        packed, out, SlowModel(), threads=threads, journal_seconds=seconds, progress=told
    )  # fmt: skip
    assert told == list(range(STEP, images().size + 1, STEP))


@pytest.mark.parametrize("left", [0, 3, 7, 13, ALL_STEPS, ALL_STEPS + 7, ALL_STEPS + 22])
def test_work_that_goes_on_first_tells_of_what_was_left_and_a_step(out: Path, left: int) -> None:
    with pytest.raises(InterruptedWorkError):
        compress(out / "x.ncz", SlowModel(Interrupted(left)), journal_seconds=0)
    told = Told()
    compress(out / "x.ncz", SlowModel(), journal_seconds=0, resume=True, progress=told)
    assert told == list(range((left + 1) * STEP // 2, images().size + 1, STEP // 2))


@pytest.mark.parametrize("left", [0, 3, 7, 13, 22])
def test_decoding_that_goes_on_first_tells_of_what_was_left_and_a_step(
    out: Path, packed: Path, left: int
) -> None:
    with pytest.raises(InterruptedWorkError):
        decompress(packed, out, SlowModel(Interrupted(left)), journal_seconds=0)
    told = Told()
    decompress(packed, out, SlowModel(), journal_seconds=0, resume=True, progress=told)
    assert told == list(range((left + 1) * STEP, images().size + 1, STEP))


@pytest.mark.parametrize("left", [7, ALL_STEPS + 7])
def test_progress_with_threads_that_go_on_only_grows(out: Path, left: int) -> None:
    with pytest.raises(InterruptedWorkError):
        compress(out / "x.ncz", SlowModel(Interrupted(left)), threads=2, journal_seconds=0)
    told = Told()
    compress(out / "x.ncz", SlowModel(), threads=2, resume=True, progress=told)
    assert told == sorted(set(told))
    assert (told[0], told[-1]) >= (STEP, images().size)


def test_progress_of_a_model_that_says_nothing_is_told_after_every_group(out: Path) -> None:
    class Silent(SlowModel):
        journaled = False

    told = Told()
    compress(out / "x.ncz", Silent(), verify=False, progress=told)
    assert told == list(range(STEPS * STEP, images().size + 1, STEPS * STEP))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [ValueError("closed"), WorkError("closed")])
def test_an_error_of_progress_says_nothing_of_the_file(
    out: Path, packed: Path, error: Exception, threads: int
) -> None:
    def fail(done: int, total: int) -> None:
        if 2 * done > total + 2 * STEP:  # within the second chunk of those that are decoded
            raise error

    for work in (
        lambda **options: compress(out / "x.ncz", SlowModel(), progress=fail, **options),
        lambda **options: decompress(packed, out, SlowModel(), progress=fail, **options),
    ):
        with pytest.raises(type(error), match=r"^closed$"):
            work(journal_seconds=0, threads=threads)
    assert {JOURNAL, ".x.ncz.partial"} < set(names(out))
    compress(out / "x.ncz", SlowModel(), resume=True)
    decompress(packed, out, SlowModel(), resume=True)
    assert (out / "x.ncz").read_bytes() == packed.read_bytes()
    assert names(out) == ["array.npy", "x.ncz"]


def test_a_second_signal_does_not_wait_for_a_step(out: Path) -> None:
    def hurry() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedWorkError, match="nothing was written"):
        compress(out / "x.ncz", SlowModel(hurry))
    assert names(out) == []


def test_outside_of_the_main_thread_no_signal_is_taken_over(out: Path, packed: Path) -> None:
    thread = threading.Thread(target=compress, args=(out / "x.ncz", SlowModel()))
    thread.start()
    thread.join()
    assert (out / "x.ncz").read_bytes() == packed.read_bytes()


def test_a_kill_costs_at_most_the_interval(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step takes ten seconds; a save each minute means six steps."""
    now = 0.0

    class Slowly(Interrupted):
        def __call__(self) -> None:
            nonlocal now
            super().__call__()
            now += 10

    monkeypatch.setattr(chunk_journal.time, "monotonic", lambda: now)
    monkeypatch.setattr(slow_model, "STEPS", 30)
    saves: list[Path] = []
    write = saved_state.write_state
    monkeypatch.setattr(
        saved_state, "write_state",
        lambda path, *rest, **options: (saves.append(path), write(path, *rest, **options)),
    )  # fmt: skip
    for left in (5, 29):
        with pytest.raises(InterruptedWorkError):
            compress(out / "x.ncz", SlowModel(Slowly(left)), images(2))
        assert len(saves) == left // 6
    rest = Slowly(-1)
    compress(out / "x.ncz", SlowModel(rest), images(2), resume=True, verify=False)
    assert rest.done == 30 - 24


def test_a_state_that_leads_nowhere_is_given_up(out: Path, packed: Path) -> None:
    """A model may try something, save its state, and find out later that it has to begin anew."""

    class Trying(SlowModel):
        def push(self, *arguments: Any, **options: Any) -> float:
            if options["journal"].state() is not None:
                raise WorkError("ran out of words")
            return super().push(*arguments, **options)

    with pytest.raises(InterruptedWorkError):
        compress(out / "x.ncz", SlowModel(Interrupted(7)), journal_seconds=0)
    told = Told()
    compress(out / "x.ncz", Trying(), resume=True, progress=told)
    assert told == list(range(STEP // 2, images().size + 1, STEP // 2))
    assert (out / "x.ncz").read_bytes() == packed.read_bytes()


def test_words_above_a_raised_low_water_mark_are_kept(out: Path) -> None:
    """A model may raise the mark for a while, to measure what a part of its work borrows."""

    class Measuring(SlowModel):
        def push(
            self, coder: Any, message: Any, blocks: NDArray[Any], *, journal: Any = None
        ) -> float:
            if journal is None or journal.state() is None:
                RawModel.push(self, coder, message, blocks)
                message.cursor[1] = message.size
            bits = super().push(coder, message, blocks, journal=journal)
            message.cursor[1] = min(message.initial_words, message.low_water)
            return bits + 8.0 * blocks.size

        def pop(self, coder: Any, message: Any, *arguments: Any, journal: Any) -> NDArray[Any]:
            super().pop(coder, message, *arguments, journal=journal)
            return RawModel.pop(self, coder, message, *arguments)

    compress(out / "y.ncz", Measuring(), images(2))
    for left in (3, 1, 3):
        with pytest.raises(InterruptedWorkError):
            compress(
                out / "x.ncz", Measuring(Interrupted(left)), images(2),
                journal_seconds=0, resume=True,
            )  # fmt: skip
    compress(out / "x.ncz", Measuring(), images(2), resume=True)
    assert (out / "x.ncz").read_bytes() == (out / "y.ncz").read_bytes()


def test_quick_work_leaves_no_trace(out: Path, packed: Path) -> None:
    with pytest.raises(InterruptedWorkError, match="nothing was written"):
        compress(out / "x.ncz", SlowModel(Interrupted(3)))
    assert names(out) == []


def test_models_without_journals_are_kept_between_groups(out: Path) -> None:
    class Counted(BorrowingModel):
        pushes, pops, stop_at = 0, 0, 0

        def push(self, *arguments: Any) -> float:
            self._count("pushes")
            return super().push(*arguments)

        def pop(self, *arguments: Any) -> NDArray[Any]:
            self._count("pops")
            return super().pop(*arguments)

        def _count(self, name: str) -> None:
            setattr(self, name, getattr(self, name) + 1)
            if self.pushes + self.pops == self.stop_at:
                raise KeyboardInterrupt

    compress(out / "y.ncz", BorrowingModel())
    first, rest = Counted(), Counted()
    first.stop_at = 4
    with pytest.raises(InterruptedWorkError, match="what was coded of"):
        compress(out / "x.ncz", first, journal_seconds=0)
    compress(out / "x.ncz", rest, journal_seconds=0, resume=True)
    assert (out / "x.ncz").read_bytes() == (out / "y.ncz").read_bytes()
    assert (rest.pushes, rest.pops) == (2, 5)


def test_a_model_without_journals_is_given_none_and_interrupted_at_once(out: Path) -> None:
    class Strict(RawModel):
        def push(self, *arguments: Any) -> float:
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not interrupted")

    with pytest.raises(InterruptedWorkError, match="nothing was written"):
        compress(out / "x.ncz", Strict())


def stop_encoding(out: Path) -> Path:
    """Leave the state within the first chunk; its file."""
    with pytest.raises(InterruptedWorkError):
        compress(out / "x.ncz", SlowModel(Interrupted(7)), journal_seconds=0)
    return out / JOURNAL / "encode-0"


def test_other_input_is_refused_and_the_work_kept(out: Path, packed: Path) -> None:
    stop_encoding(out)
    for array in (images(seed=1), images(4)):
        with pytest.raises(UsageError, match="another input, model or version"):
            compress(out / "x.ncz", SlowModel(), array, resume=True)
    compress(out / "x.ncz", SlowModel(), resume=True)
    assert (out / "x.ncz").read_bytes() == packed.read_bytes()


def test_another_version_or_model_is_refused(out: Path) -> None:
    class Newer(SlowModel):
        package = ("nc-test", "2")

    class Other(SlowModel):
        id = "3" * 64

    stop_encoding(out)
    for model in (Newer(), Other()):
        with pytest.raises(UsageError, match="another input, model or version"):
            compress(out / "x.ncz", model, resume=True)


def test_decoding_with_another_version_is_refused(out: Path, packed: Path) -> None:
    class Newer(SlowModel):
        package = ("nc-test", "2")

    with pytest.raises(InterruptedWorkError):
        decompress(packed, out, SlowModel(Interrupted(7)), journal_seconds=0)
    with pytest.raises(UsageError, match="another input, model or version"):
        decompress(packed, out, Newer(), resume=True)
    decompress(packed, out, SlowModel(), resume=True)
    assert names(out) == ["array.npy"]


def cut_off(data: bytes) -> bytes:
    return data[:-1]


def flipped(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


@pytest.mark.parametrize("spoil", [lambda data: b"", cut_off, flipped, lambda data: data + b"x"])
def test_a_damaged_journal_is_told_of_and_not_used(
    out: Path, packed: Path, spoil: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    journal = stop_encoding(out)
    journal.write_bytes(spoil(journal.read_bytes()))
    rest = Interrupted(-1)
    compress(out / "x.ncz", SlowModel(rest), resume=True)
    assert (out / "x.ncz").read_bytes() == packed.read_bytes()
    assert rest.done == 2 * ALL_STEPS
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "encode-0: damaged" in caplog.text


def test_without_resume_the_work_begins_again_and_says_so(
    tmp_path: Path, out: Path, packed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop_encoding(out)
    rest = Interrupted(-1)
    compress(out / "x.ncz", SlowModel(rest))
    assert rest.done == 2 * ALL_STEPS
    assert "x.ncz: the work begins again; --resume goes on" in caplog.text
    caplog.clear()
    with pytest.raises(InterruptedWorkError):
        decompress(packed, out, SlowModel(Interrupted(7)), journal_seconds=0)
    rest = Interrupted(-1)
    decompress(packed, out, SlowModel(rest))
    assert rest.done == ALL_STEPS
    assert "x.ncz: decoding begins again; --resume goes on" in caplog.text
    assert names(out) == ["array.npy", "x.ncz"]


def test_a_full_disk_keeps_what_was_saved(
    out: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = saved_state.write_state, [6]

    def full(*arguments: Any, **options: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        write(*arguments, **options)

    monkeypatch.setattr(saved_state, "write_state", full)
    with pytest.raises(WorkError, match=r"x\.ncz: no space left on device\n.*--resume"):
        compress(out / "x.ncz", SlowModel(), journal_seconds=0)
    left[0] = 6
    with pytest.raises(WorkError, match=r"out: no space left on device\n.*--resume"):
        decompress(packed, out, SlowModel(), journal_seconds=0)
    monkeypatch.undo()
    compress(out / "x.ncz", SlowModel(), resume=True)
    decompress(packed, out, SlowModel(), resume=True)
    assert names(out) == ["array.npy", "x.ncz"]


def test_no_room_for_quick_chunks_does_not_end_the_work(
    out: Path, packed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_state, "write_state", full)
    decompress(packed, out, SlowModel())
    assert names(out) == ["array.npy"]
    (record,) = caplog.records
    assert "an interruption will cost more" in record.getMessage()


def test_a_link_in_the_place_of_a_journal_folder_is_refused(
    tmp_path: Path, out: Path, packed: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "encode-0").write_bytes(b"mine")
    (out / JOURNAL).symlink_to(mine)
    for resume in (False, True):
        with pytest.raises(DataError, match=r"\.journal: not a folder\nremove it"):
            compress(out / "x.ncz", SlowModel(), resume=resume, journal_seconds=0)
    assert names(mine) == ["encode-0"]


def test_two_processes_do_not_share_the_state_of_one_decoding(out: Path, packed: Path) -> None:
    with pytest.raises(InterruptedWorkError):
        decompress(packed, out, SlowModel(Interrupted(7)), journal_seconds=0)
    (folder,) = out.iterdir()
    with lock_folder(folder), pytest.raises(DataError, match="in use by process"):
        decompress(packed, out, SlowModel(), resume=True)
    decompress(packed, out, SlowModel(), resume=True)
    assert names(out) == ["array.npy"]


def test_a_renamed_container_finds_its_state(tmp_path: Path, out: Path, packed: Path) -> None:
    with pytest.raises(InterruptedWorkError):
        decompress(packed, out, SlowModel(Interrupted(7)), journal_seconds=0)
    rest = Interrupted(-1)
    decompress(packed.rename(tmp_path / "y.ncz"), out, SlowModel(rest), resume=True)
    assert rest.done == ALL_STEPS - 7


def test_other_items_use_what_is_decoded(out: Path, packed: Path) -> None:
    with pytest.raises(InterruptedWorkError):
        decompress(packed, out, SlowModel(Interrupted(12)), journal_seconds=0)
    rest = Interrupted(-1)
    (path,) = decompress(packed, out, SlowModel(rest), wanted=[2], resume=True)
    assert rest.done == 0
    assert np.array_equal(np.load(path), images()[2])

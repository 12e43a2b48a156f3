"""Running the points of a sweep, each once, however often and by how many processes it is asked.

Several processes may work in one folder: each takes points that nobody holds. A point's lock is
dropped by the system when its holders die, so a point that was killed half way is free again.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from nc_core.errors import DataError, InterruptedWorkError, UsageError
from nc_core.file_lock import lock_folder
from nc_core.files import describe_os_error, remove_leftovers
from nc_core.launch.point import Point, PointRecord, State, point_folder
from nc_core.launch.process import PointProcess, limited_threads
from nc_core.launch.stopping import StopRequests

__all__ = ["add_points", "is_held", "run_sweep"]

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 10.0

_log = logging.getLogger(__name__)


def run_sweep(
    folder: Path,
    points: Sequence[Point],
    *,
    program: Sequence[str],
    jobs: int = 1,
    threads: int = 1,
    force: bool = False,
    progress: Callable[[PointRecord], None] | None = None,
    go_on: str = "the same command goes on where this one stopped",
) -> list[PointRecord]:
    """Run every point that is not finished; those that failed before run again.

    The first Ctrl-C or SIGTERM is passed on to the processes, which may save their state, and
    waits for them; the second kills them. Points that another process runs are waited for.

    Args:
        folder: of the sweep; made if need be.
        points: of different names.
        program: what takes their commands: ``(sys.executable, "-m", "nc_cli")``.
        jobs: points that run at a time.
        threads: of each, where several run; what the environment says of threads stays.
        force: forget what is finished, and remove its files first.
        progress: called with each point that has ended, or had ended before.
        go_on: how to go on after an interruption, for the message.

    Returns:
        the points in the order in which they were given, each finished or failed.

    Raises:
        UsageError: a point of that name and another command is there.
        DataError: the folder cannot be used, or a point to forget is running.
        InterruptedWorkError: it was interrupted.
    """
    before = add_points(folder, points, force=force)
    workers = _Workers(
        folder, program, jobs, limited_threads(threads) if jobs > 1 else {}, before, progress
    )
    waiting = list(points)
    with StopRequests() as stop, workers:
        while waiting or workers.running:
            if stop.count:
                waiting = []
                workers.stop(kill=stop.count > 1)
            waiting = [point for point in waiting if not workers.take(point)]
            workers.collect()
            if waiting or workers.running:
                time.sleep(_POLL_SECONDS)
    ended = [workers.ended[point.name] for point in points if point.name in workers.ended]
    if len(ended) < len(points) or any(record.state == State.INTERRUPTED for record in ended):
        finished = sum(record.state == State.FINISHED for record in ended)
        raise InterruptedWorkError(
            f"interrupted; {finished} of {len(points)} points are finished", go_on
        )
    return ended


def add_points(
    folder: Path, points: Sequence[Point], *, force: bool = False
) -> dict[str, PointRecord]:
    """Write down the points that are not there yet, to wait.

    Args:
        folder: of the sweep; made if need be.
        points: of different names.
        force: let all of them wait, and remove what earlier runs left.

    Returns:
        what is known of each, by name.

    Raises:
        UsageError: a point of that name and another command is there.
        DataError: the folder cannot be used, or a point to forget is running.
    """
    if len({point.name for point in points}) < len(points):
        raise ValueError("two points of one name")
    _refuse_foreign(folder)
    known = {point.name: PointRecord.read(folder, point.name) for point in points}
    for point in [] if force else points:
        record = known[point.name]
        if record is not None and record.command != tuple(point.command):
            raise UsageError(
                f"{folder}: point {point.name} is of another command: {shlex.join(record.command)}",
                "--force runs it again, --out names another folder",
            )
    return {
        point.name: _added(folder, point, force)
        if force or (record := known[point.name]) is None
        else record
        for point in points
    }


def is_held(folder: Path, name: str) -> bool:
    """Whether a process runs a point, or has just taken it."""
    try:
        lock_folder(point_folder(folder, name)).close()
    except DataError:
        return True
    except OSError:  # a folder that cannot be written, where nobody can run anything
        pass
    return False


class _Workers:
    """The processes of this sweep, and the points that have ended.

    On leaving its block early, it asks the processes to stop, and waits a little.
    """

    def __init__(
        self,
        folder: Path,
        program: Sequence[str],
        jobs: int,
        environment: Mapping[str, str],
        before: Mapping[str, PointRecord],
        progress: Callable[[PointRecord], None] | None,
    ) -> None:
        self.running: list[PointProcess] = []
        self.ended: dict[str, PointRecord] = {}
        self._folder = folder
        self._program = program
        self._jobs = jobs
        self._environment = environment
        self._before = before
        self._progress = progress
        self._stopped = self._killed = False

    def take(self, point: Point) -> bool:
        """Start a point, or find that it has ended; False where neither can be now."""
        before = self._before[point.name]
        if before.state == State.FINISHED:
            self._end(before)
            return True
        if len(self.running) >= self._jobs:
            return False
        lock = _hold(self._folder, point.name)
        if lock is None:
            return False
        try:
            record = PointRecord.read(self._folder, point.name) or before
            # A point that failed runs again once, not once more in every process.
            failed_since = record.state == State.FAILED and record.attempts > before.attempts
            if record.state == State.FINISHED or failed_since:
                lock.close()
                self._end(record)
            else:
                self._start(point, record, lock)
        except BaseException:
            lock.close()
            raise
        return True

    def collect(self) -> None:
        """Record the processes that have ended."""
        for process in list(self.running):
            record = process.ended()
            if record is not None:
                self.running.remove(process)
                self._end(record)

    def stop(self, *, kill: bool) -> None:
        """Ask all processes to stop, or end them, once."""
        if kill and not self._killed:
            self._killed = True
            for process in self.running:
                process.kill()
        elif not self._stopped:
            self._stopped = True
            if self.running:
                _log.warning(
                    "waiting for the running points (%d), which may save their state; "
                    "a second signal kills them",
                    len(self.running),
                )
            for process in self.running:
                process.interrupt()

    def _start(self, point: Point, record: PointRecord, lock: BinaryIO) -> None:
        remove_leftovers(point_folder(self._folder, point.name))
        _log.info("point %s: starts (attempt %d)", point.name, record.attempts + 1)
        process = PointProcess(self._folder, point, record, lock, self._program, self._environment)
        self.running.append(process)

    def _end(self, record: PointRecord) -> None:
        _log.info("point %s: %s", record.name, record.state)
        self.ended[record.name] = record
        if self._progress is not None:
            self._progress(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress = None
        patient_until = time.monotonic() + _PATIENCE_SECONDS
        while self.running:
            self.stop(kill=time.monotonic() > patient_until)
            self.collect()
            time.sleep(_POLL_SECONDS)


def _refuse_foreign(folder: Path) -> None:
    """Nothing is written into a folder that holds something else."""
    try:
        foreign = folder.exists() and not (folder / "points").is_dir()
        if foreign and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder}: exists, and is not a sweep", "choose another --out")
    except OSError as error:
        raise describe_os_error(error, folder) from error


def _added(folder: Path, point: Point, force: bool) -> PointRecord:
    """A point that waits; somebody else may have written it down, and even run it, meanwhile."""
    fresh = PointRecord.of(point)
    lock = _hold(folder, point.name)
    if lock is None:
        if force:
            raise DataError(f"{folder}: point {point.name} is running", "wait for it")
        return fresh
    with lock:
        if force:
            _remove_files(point_folder(folder, point.name))
        known = None if force else PointRecord.read(folder, point.name)
        if known is None:
            fresh.write(folder)
    return known or fresh


def _hold(folder: Path, name: str) -> BinaryIO | None:
    """The lock of a point; None where another process has it."""
    own = point_folder(folder, name)
    try:
        own.mkdir(parents=True, exist_ok=True)
        return lock_folder(own)
    except DataError:
        return None
    except OSError as error:
        raise describe_os_error(error, own) from error


def _remove_files(own: Path) -> None:
    """Remove what the runs of a point left: what we made, and nothing beside it."""
    try:
        if (own / "out").exists():
            shutil.rmtree(own / "out")
        for name in ("stdout.txt", "stderr.txt", "point.json"):
            (own / name).unlink(missing_ok=True)
    except OSError as error:
        raise describe_os_error(error, own) from error

"""The process of one point: started under the point's lock, recorded when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from nc_core.files import describe_os_error
from nc_core.launch.point import Point, PointRecord, State, point_folder

__all__ = ["PointProcess", "limited_threads"]

_OUTPUT, _MESSAGES = "stdout.txt", "stderr.txt"
_LAST_LINES = 20
_LAST_BYTES = 1 << 14
_LARGEST_RESULT = 1 << 26
_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)  # fmt: skip


def limited_threads(threads: int) -> dict[str, str]:
    """Environment variables that limit the threads of libraries; what the user set stays."""
    return {name: str(threads) for name in _THREADS if name not in os.environ}


class PointProcess:
    """A point that runs.

    It leads a process group of its own: Ctrl-C in a terminal reaches the sweep only, which passes
    it on once. It shares the lock, so that nobody takes a point whose sweep died before it did.

    Args:
        folder: of the sweep.
        point: what to run.
        record: as it was before; the point's lock is held.
        lock: of the point; closed when the process has ended and is recorded.
        program: what takes the command's arguments.
        environment: variables beside those of this process.

    Raises:
        DataError: the folder cannot be written, or the program cannot be started.
    """

    def __init__(
        self,
        folder: Path,
        point: Point,
        record: PointRecord,
        lock: BinaryIO,
        program: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._own = point_folder(folder, point.name)
        self._lock = lock
        self._asked_to_stop = False
        self._record = replace(
            PointRecord.of(point), state=State.RUNNING, attempts=record.attempts + 1
        )
        self._record.write(folder)
        self._started = time.monotonic()
        arguments = [*program, *point.arguments(folder, again=record.attempts > 0)]
        try:
            with ExitStack() as files:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=files.enter_context((self._own / _OUTPUT).open("wb")),
                    stderr=files.enter_context((self._own / _MESSAGES).open("wb")),
                    env={**os.environ, **environment},
                    start_new_session=True,
                    pass_fds=() if sys.platform == "win32" else (lock.fileno(),),
                )
        except OSError as error:
            raise describe_os_error(error, error.filename or program[0]) from error

    def interrupt(self) -> None:
        """Ask it to stop; it may save its state first."""
        self._asked_to_stop = True
        self._send("SIGINT")

    def kill(self) -> None:
        """End it at once."""
        self._asked_to_stop = True
        self._send("SIGKILL")

    def ended(self) -> PointRecord | None:
        """What became of it, recorded on disk; None while it runs.

        Raises:
            DataError, WorkError: the record cannot be written.
        """
        code = self._process.poll()
        if code is None:
            return None
        state = State.INTERRUPTED if self._asked_to_stop else State.FAILED
        record = replace(
            self._record,
            state=State.FINISHED if code == 0 else state,
            exit_code=code,
            seconds=round(time.monotonic() - self._started, 3),
            result=_read_result(self._own / _OUTPUT) if code == 0 else None,
            error=_last_lines(self._own / _MESSAGES),
        )
        with self._lock:
            record.write(self._folder)
        return record

    if sys.platform == "win32":

        def _send(self, name: str) -> None:
            self._process.terminate()

    else:

        def _send(self, name: str) -> None:
            with suppress(ProcessLookupError, PermissionError):  # it has just ended
                os.killpg(self._process.pid, getattr(signal, name))


def _read_result(path: Path) -> Any:
    """The JSON document in a file; None where there is none, and in it for what JSON has not."""
    try:
        if path.stat().st_size > _LARGEST_RESULT:
            return None
        return json.loads(path.read_bytes(), parse_constant=lambda _: None)
    except (OSError, ValueError, RecursionError):
        return None


def _last_lines(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _LAST_BYTES, 0))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-_LAST_LINES:]

"""One process that mutates and reads: bounded memory and time, and an eye on what it does."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random
from typing import Any, TextIO

from fuzzing.targets import TARGETS
from nc_core.errors import NcError

__all__ = ["case", "work"]

_SECONDS = 20
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen",
              "pickle.find_class", "socket.connect", "code.__new__")  # fmt: skip


class _TooSlow(BaseException):
    """A case took longer than its limit."""


class _Executed(BaseException):
    """A case made the process do what no reader has to."""


def case(target: str, seed: int, number: int) -> tuple[bytes, int]:
    """The bytes of a case, and the seed file that they were made of."""
    return _mutated(TARGETS[target](), target, seed, number)


def _mutated(target: Any, name: str, seed: int, number: int) -> tuple[bytes, int]:
    random = Random(f"{name} {seed} {number}")
    index = random.randrange(len(target.seeds))
    return random.choice(target.mutators)(target.seeds[index], random), index


def work(name: str, seed: int, first: int, last: int, extra_bytes: int, out: TextIO) -> None:
    """Run the cases ``first`` to ``last - 1``; a line each for what goes wrong.

    Args:
        name: of the target.
        seed: of all cases.
        first, last: numbers of the cases.
        extra_bytes: memory that a case may take above what an honest file of its kind takes.
        out: gets ``start N`` before each block of cases, ``finding N KIND TEXT``, and ``done``.
    """
    target = TARGETS[name]()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        path = Path(folder) / f"case{target.suffix}"
        for index, data in enumerate(target.seeds):  # loads whatever reading needs
            path.write_bytes(data)
            try:
                target.read(path, index)
            except NcError:
                continue
        _bound_memory(extra_bytes)
        sys.addaudithook(_watch)
        signal.signal(signal.SIGALRM, _alarm)
        for number in range(first, last):
            if (number - first) % 50 == 0:
                print("start", number, file=out, flush=True)
            data, index = _mutated(target, name, seed, number)
            path.write_bytes(data)
            signal.alarm(_SECONDS)
            fault = _run(target, path, index)
            signal.alarm(0)
            if fault:
                print("finding", number, *fault, file=out, flush=True)
            names = [entry.name for entry in Path(folder).iterdir()]
            if names != [path.name]:
                print("finding", number, "files", names, file=out, flush=True)
    print("done", file=out, flush=True)


def _run(target: Any, path: Path, index: int) -> tuple[str, str] | None:
    """Kind and text of what went wrong."""
    try:
        wrong = target.read(path, index)
    except NcError as error:
        lines = str(error).splitlines()
        return ("message", repr(error)) if len(lines) > 2 or not error.message else None
    except _TooSlow:
        return "slow", f"over {_SECONDS} s"
    except _Executed as error:
        return "executed", str(error)
    except MemoryError:
        return "memory", _where()
    except Exception as error:  # noqa: BLE001 - any is a finding
        return "crash", f"{type(error).__name__}: {error!s:.100} {_where()}".replace("\n", " ")
    return None if wrong is None else ("wrong", wrong)


def _where() -> str:
    """The innermost line of our own code in the current traceback."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [frame for frame in frames if "nc_" in frame.filename]
    frame = (ours or frames)[-1]
    return f"({Path(frame.filename).name}:{frame.lineno})"


def _bound_memory(extra_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _watch(event: str, arguments: Any) -> None:
    if event in _FORBIDDEN:
        raise _Executed(f"{event} {arguments!r:.80}")


def _alarm(_number: int, _frame: Any) -> None:
    raise _TooSlow

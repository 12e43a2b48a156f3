"""One point of a sweep: its folder, and what is known of it.

points/NAME/point.json     what runs there, and how it ended
points/NAME/stdout.txt     what it printed; a JSON document is in point.json too
points/NAME/stderr.txt     what else it said
points/NAME/out/           ``{out}``, for files of the command itself
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from nc_core.errors import DataError
from nc_core.files import atomic_write, describe_os_error

__all__ = ["OUT", "RESUME", "Point", "PointRecord", "State", "Value", "point_folder", "read_points"]

POINT_SCHEMA = "nc.sweep-point/1"

OUT = "{out}"
"""Stands in a command for the folder of its files."""
RESUME = "{resume}"
"""An argument of a command that is ``--resume`` when it runs again, and nothing at first."""

Value = int | float | str

_RECORD = "point.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.,=+_-]*")


class State(StrEnum):
    """How far a point is."""

    WAITING = "waiting"
    RUNNING = "running"
    """Somebody runs it, or was killed while running it: its lock tells."""
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point to run.

    Args:
        name: of its folder; letters, digits and ``.,=+_-``.
        values: what distinguishes it, for tables.
        command: arguments; may hold ``{out}`` inside of an argument, and ``{resume}`` as one.
    """

    name: str
    values: Mapping[str, Value]
    command: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot be the name of a point")

    def arguments(self, folder: Path, *, again: bool) -> list[str]:
        """The command as it runs.

        Args:
            folder: of the sweep.
            again: an earlier attempt may have left something to go on with.
        """
        out = str(point_folder(folder, self.name) / "out")
        kept = (word for word in self.command if again or word != RESUME)
        return ["--resume" if word == RESUME else word.replace(OUT, out) for word in kept]


@dataclass(frozen=True, kw_only=True)
class PointRecord:
    """A point and what became of it.

    Args:
        name, values, command: as of :class:`Point`.
        state: how far it is.
        attempts: how often it was started.
        exit_code: of the last attempt; negative: the signal that killed it.
        seconds: wall time of the last attempt.
        result: the JSON document that it printed, None where it printed something else.
        error: the last lines that it wrote to standard error.
    """

    name: str
    values: Mapping[str, Value]
    command: tuple[str, ...]
    state: State = State.WAITING
    attempts: int = 0
    exit_code: int | None = None
    seconds: float | None = None
    result: Any = None
    error: tuple[str, ...] = ()

    @classmethod
    def of(cls, point: Point) -> Self:
        """A point that waits."""
        return cls(name=point.name, values=dict(point.values), command=tuple(point.command))

    @property
    def reason(self) -> str:
        """Why it failed, in a line."""
        if self.exit_code is not None and self.exit_code < 0:
            return f"killed by signal {-self.exit_code}"
        last = self.error[-1].removeprefix("nc: ") if self.error else "no message"
        # An error of nc is its message and, below it, what to do about it.
        said = [line for line in self.error if line.startswith("nc: error: ")]
        return f"exit code {self.exit_code}: {said[-1].removeprefix('nc: ') if said else last}"

    def write(self, folder: Path) -> None:
        """Write ``point.json``, whole or not at all.

        Args:
            folder: of the sweep.

        Raises:
            DataError: it cannot be written.
        """
        document = {"schema": POINT_SCHEMA} | asdict(self)
        with atomic_write(point_folder(folder, self.name) / _RECORD) as file:
            file.write(json.dumps(document, indent=2, allow_nan=False).encode() + b"\n")

    @classmethod
    def read(cls, folder: Path, name: str) -> Self | None:
        """The record of a point; None where there is none.

        Raises:
            DataError: it cannot be read, or is no such record.
        """
        path = point_folder(folder, name) / _RECORD
        try:
            document = json.loads(path.read_bytes())
            if document["schema"] != POINT_SCHEMA:
                raise ValueError(document["schema"])
            values = {field.name: document[field.name] for field in fields(cls)}
            values["state"] = State(values["state"])
            values["command"], values["error"] = tuple(values["command"]), tuple(values["error"])
            return cls(**values)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise describe_os_error(error, path) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: not the record of a point", f"remove {path.parent}, and it runs again"
            ) from error


def point_folder(folder: Path, name: str) -> Path:
    """Where a point of a sweep is."""
    return folder / "points" / name


def read_points(folder: Path, names: Sequence[str] | None = None) -> list[PointRecord]:
    """The points of a sweep, ordered by their values.

    Args:
        folder: of the sweep; it need not exist.
        names: of the points to read; by default, all that were ever asked for.

    Raises:
        DataError: a record is damaged.
    """
    if names is None:
        names = [path.parent.name for path in (folder / "points").glob(f"*/{_RECORD}")]
    found = [PointRecord.read(folder, name) for name in names]
    return sorted((record for record in found if record is not None), key=_place)


def _place(record: PointRecord) -> tuple[tuple[str, bool, Any], ...]:
    """Numbers in their order, before texts."""
    return tuple((name, isinstance(value, str), value) for name, value in record.values.items())

"""Points and lines of rate and distortion in a run directory: ``results/points-NAME.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from nc_core.errors import DataError, UsageError
from nc_core.files import atomic_write, describe_os_error
from nc_core.rates import RatePoint
from nc_core.runs import RunDirectory

__all__ = [
    "POINTS_SCHEMA",
    "points_of_one_source",
    "read_points",
    "read_points_file",
    "write_points",
    "write_points_file",
]

POINTS_SCHEMA = "nc.rate-points/1"

_PREFIX = "points-"
_MOST_BYTES = 1 << 26
_UNSAFE = re.compile(r"[^\w.+@-]+", re.ASCII)
_NUMBERS = frozenset(
    field.name for field in fields(RatePoint) if field.type in ("int", "int | None", "float | None")
)
_HELD_OUT = re.compile(r" \([\d,]+ of [\d,]+ rows\)$")
_SPLIT = re.compile(r":(train|test|validation)$")
_PAIRS = ("interval", "value_range")


def write_points(run: RunDirectory, name: str, points: Sequence[RatePoint]) -> None:
    """Write ``results/points-NAME.json``, replacing one of that name.

    Args:
        run: the run directory.
        name: what the points are of; characters that no file name should have become ``-``.
        points: in any units; each says its own.

    Raises:
        DataError: it cannot be written.
    """
    run.save_result(_PREFIX + _UNSAFE.sub("-", name), _document(points))


def write_points_file(path: Path, points: Sequence[RatePoint]) -> None:
    """Write points to a file of their own, replacing one of that name.

    Raises:
        DataError: it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(json.dumps(_document(points), indent=2, allow_nan=False).encode() + b"\n")


def read_points(folder: Path) -> list[RatePoint]:
    """All points of a run directory, by the names of their files; empty where there are none.

    Raises:
        DataError: no run directory, or a damaged file.
    """
    results = RunDirectory.open(folder).path / "results"
    return [
        point
        for path in sorted(results.glob(f"{_PREFIX}*.json"))
        for point in read_points_file(path)
    ]


def read_points_file(path: Path) -> list[RatePoint]:
    """The points of one file.

    Raises:
        DataError: it cannot be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise describe_os_error(error, path) from error
    if len(content) > _MOST_BYTES:
        raise DataError(f"{path}: larger than any file of points")
    try:
        document: Any = json.loads(content)
        if not isinstance(document, Mapping) or document.get("schema") != POINTS_SCHEMA:
            raise ValueError(f"not a file of {POINTS_SCHEMA}")
        return [_point(record) for record in document["points"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: damaged, or no file of points", "run the command that wrote it again"
        ) from error


def _document(points: Sequence[RatePoint]) -> dict[str, Any]:
    return {"schema": POINTS_SCHEMA, "points": [point.to_json() for point in points]}


def _point(record: Any) -> RatePoint:
    """One record, whose numbers are numbers and whose texts are texts."""
    point = RatePoint.from_json(record)
    for name in _NUMBERS:
        value = getattr(point, name)
        if value is not None and not _is_number(value):
            raise ValueError(f"{name} is no number")
    for name in _PAIRS:
        pair = getattr(point, name)
        if pair is not None and not (len(pair) == 2 and all(map(_is_number, pair))):
            raise ValueError(f"{name} is no pair of numbers")
    texts = (point.method, "" if point.dataset is None else point.dataset, *point.notes)
    are_listed = isinstance(record.get("notes", []), list)
    if not are_listed or not all(isinstance(text, str) for text in texts):
        raise ValueError("method, dataset or a note is no text")
    return point


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def points_of_one_source(
    points: Iterable[RatePoint], datasets: Sequence[str] = ()
) -> list[RatePoint]:
    """Points that may share a figure.

    Args:
        points: of any datasets; those without one belong to all.
        datasets: names to choose, which a user says are of one source; empty: all, if they are
            of one dataset but for its splits, seeds and held-out rows.

    Raises:
        UsageError: points of several datasets, or none of a chosen one.
    """
    found = list(points)
    names = list(dict.fromkeys(_base_name(p.dataset) for p in found if p.dataset is not None))
    chosen = {_base_name(name) for name in datasets}
    if chosen - set(names):
        unknown = min(chosen - set(names))
        raise UsageError(f"no points of '{unknown}'", f"there are: {', '.join(names)}")
    if len(names) > 1 and not chosen:
        raise UsageError(
            f"points of several sources: {', '.join(names)}",
            "--dataset NAME takes those of one; repeat it for names of the same source",
        )
    return [p for p in found if not chosen or p.dataset is None or _base_name(p.dataset) in chosen]


def _base_name(dataset: str) -> str:
    """The name of a dataset without split, seed and the remark on held-out rows.

    Example:
        >>> _base_name("banana:test?dim=4&seed=1"), _base_name("npy:x.npy (10 of 100 rows)")
        ('banana?dim=4', 'npy:x.npy')
    """
    head, _, options = _HELD_OUT.sub("", dataset).partition("?")
    kept = "&".join(part for part in options.split("&") if not part.startswith("seed="))
    return _SPLIT.sub("", head) + (f"?{kept}" if kept else "")

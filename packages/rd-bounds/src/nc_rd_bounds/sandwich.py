"""The sandwich of a source: every method that applies, at several slopes, and all its points.

Each method at each slope is one point of a sweep: a command of this package, in a process and a
run directory of its own, so that a sandwich may be killed, resumed and shared by several processes.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nc_core.config import recipe_names
from nc_core.errors import DataError, UsageError
from nc_core.files import atomic_write, describe_os_error
from nc_core.launch import Point, State
from nc_core.launch import read_points as read_records
from nc_core.launch.point import point_folder
from nc_core.launch.sweep import is_held
from nc_core.lookup import did_you_mean
from nc_core.rates import RatePoint
from nc_core.rd_figure import Units
from nc_rd_bounds.points import read_points, read_points_file, write_points_file
from nc_rd_bounds.sources.vectors import Source, sample

__all__ = [
    "METHODS",
    "RUN",
    "Method",
    "Plan",
    "applicable",
    "claim_folder",
    "collect_points",
    "command_point",
    "default_slopes",
    "plan_points",
    "read_codec_points",
    "recipe_for",
    "reference_of",
    "save_codec_points",
    "sorted_points",
]

Method = Literal["analytic", "blahut-arimoto", "upper", "ntc", "lower"]
METHODS: tuple[Method, ...] = ("analytic", "blahut-arimoto", "upper", "ntc", "lower")

RUN = "{out}/run"
"""Where the command of a point keeps its run directory."""

_MOST_GRID_DIMS = 3
_BINS = {1: 1000, 2: 80, 3: 30}
_SHARES = (0.5, 0.15, 0.05, 0.015)
_SAMPLES = 10_000
_CURVE_POINTS = 24
_CODECS = "codecs.json"
_PLAN = "plan.json"
_RESULTS = ("points.json", "sandwich.svg", "sandwich.csv")
_COLUMNS = ("name", "rate", "distortion")


@dataclass(frozen=True)
class Plan:
    """What a sandwich consists of.

    Args:
        dataset: source of the bounds.
        evaluate_on: data that bounds are evaluated on; None: apart from the training data, as
            :func:`nc_rd_bounds.sources.vectors.evaluation_pair` divides them.
        reference: data of closed forms, estimates and histograms.
        lambs: slopes, in nats per vector and unit of mean squared error.
        methods: which bounds.
        size: ``small`` recipes, of a minute or two a point, or those of the ``paper``.
        seed: of samples and noise.
        settings: changes to the recipes of both bounds, ``NAME=VALUE``.
    """

    dataset: str
    evaluate_on: str | None
    reference: str
    lambs: tuple[float, ...]
    methods: tuple[Method, ...]
    size: Literal["small", "paper"] = "small"
    seed: int = 0
    settings: tuple[str, ...] = ()

    def in_common(self) -> dict[str, Any]:
        """What all points of a folder have in common, as plain data."""
        return {
            "dataset": self.dataset,
            "evaluate_on": self.evaluate_on,
            "reference": self.reference,
            "size": self.size,
            "seed": self.seed,
            "settings": list(self.settings),
        }


def default_slopes(source: Source) -> tuple[float, ...]:
    """Four slopes at which a Gaussian of this variance keeps a half to an 80th of it.

    A Gaussian of n equal coordinates has its optimum at a distortion of n / (2 lambda) each.
    """
    variance = float(sample(source, _SAMPLES).astype(np.float64).var(axis=0).mean())
    if not variance > 0:
        raise DataError(f"{source.name}: all samples are equal", "nothing needs to be coded")
    return tuple(_rounded(source.dims / (2 * share * variance)) for share in _SHARES)


def applicable(methods: Iterable[str], source: Source) -> tuple[Method, ...]:
    """The methods that a source allows, in the order of :data:`METHODS`.

    Blahut-Arimoto needs a grid, which is too large from four dimensions on.

    Raises:
        UsageError: an unknown method.
    """
    wanted = list(methods) or list(METHODS)
    for name in wanted:
        if name not in METHODS:
            raise UsageError(
                f"no method '{name}'{did_you_mean(name, METHODS)}", f"known: {', '.join(METHODS)}"
            )
    refused = {"blahut-arimoto"} if source.dims > _MOST_GRID_DIMS else set()
    return tuple(name for name in METHODS if name in wanted and name not in refused)


def reference_of(dataset: str, evaluate_on: str | None, evaluation: Source) -> str:
    """What closed forms and histograms are of: the data that bounds are evaluated on.

    Where these are rows held out of a file, all its rows take their place, which are more.
    """
    if evaluate_on is not None:
        return evaluate_on
    if evaluation.held_out:
        return dataset
    # Names of sources leave out the folders of files in options: the text is what can be opened.
    name, question, text = dataset.partition("?")
    split = evaluation.name.partition("?")[0].partition(":")[2]
    return f"{name.partition(':')[0]}:{split}{question}{text}"


def plan_points(plan: Plan, source: Source) -> list[Point]:
    """The points of a sweep: each method at each slope, and a curve of closed forms."""
    points = []
    for method in plan.methods:
        if method == "analytic":
            slopes = [word for lamb in _curve_slopes(source) for word in ("--lamb", lamb)]
            command = ["analytic", *_reference(plan), *slopes, "-o", RUN, "--force"]
            points.append(command_point("analytic,curve", {"method": method}, command))
        for lamb in dict.fromkeys(map(_text, plan.lambs)):
            values = {"method": method, "lamb": float(lamb)}
            command = _command(plan, method, lamb, source)
            points.append(command_point(f"{method},lamb={lamb}", values, command))
    return points


def claim_folder(folder: Path, plan: Mapping[str, Any], *, force: bool) -> None:
    """Make a folder that of a plan's points, which all are of the same data.

    Args:
        folder: made if need be.
        plan: what all points have in common.
        force: let another plan have the folder, and remove the points of the former.

    Raises:
        UsageError: the folder is of another plan.
        DataError: it cannot be read or written, or is something else.
    """
    path = folder / _PLAN
    before = _read_plan(path, force=force)
    if before is None and folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder}: exists, and is not a sandwich", "choose another --out")
    if before is not None and before != plan and not force:
        name = next((name for name in plan if before.get(name) != plan[name]), "plan")
        raise UsageError(
            f"{folder}: a sandwich with {name} {before.get(name)!r}, not {plan.get(name)!r}",
            "choose another --out, or --force to replace it",
        )
    running = [record.name for record in read_records(folder) if is_held(folder, record.name)]
    if force and running:
        raise DataError(f"{folder}: point {running[0]} is running", "wait for it, or stop it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(json.dumps(plan, indent=2).encode() + b"\n")
        if force:
            if (folder / "points").is_dir():
                shutil.rmtree(folder / "points")
            for name in (_CODECS, *_RESULTS):
                (folder / name).unlink(missing_ok=True)
        (folder / "points").mkdir(exist_ok=True)
    except OSError as error:
        raise describe_os_error(error, path) from error


def _read_plan(path: Path, *, force: bool) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise describe_os_error(error, path) from error
    except ValueError as error:
        if force:
            return {}
        raise DataError(f"{path}: damaged", "--force starts again") from error
    return document if isinstance(document, dict) else {}


def collect_points(folder: Path) -> list[RatePoint]:
    """All points of a sandwich's finished points, or of one run directory; each once.

    Raises:
        DataError: neither, or damaged files.
    """
    records = read_records(folder)
    if not records:
        return read_points(folder)
    finished = [record.name for record in records if record.state == State.FINISHED]
    runs = (point_folder(folder, name) / "out" / "run" for name in finished)
    found = [point for run in runs for point in read_points(run)]
    codecs = folder / _CODECS
    found += read_points_file(codecs) if codecs.exists() else []
    return list(dict.fromkeys(found))  # a curve may have a slope that was asked for as well


def read_codec_points(path: Path, dims: int, units: Units) -> list[RatePoint]:
    """Operating points of codecs from a CSV file with the columns name, rate, distortion.

    Args:
        path: of the file; further columns are ignored.
        dims: numbers per vector of the source.
        units: of both columns.

    Raises:
        DataError: missing, without these columns, or with a cell that is no number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise describe_os_error(error, path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file") from error
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"{path}: no column '{missing[0]}'", f"expected the columns {', '.join(_COLUMNS)}"
        )
    return [
        RatePoint(
            kind="operating-point",
            method=row["name"] or path.stem,
            dims=dims,
            rate=_number(row["rate"], path, line),
            distortion=_number(row["distortion"], path, line),
            rate_unit=units.rate_unit,
            rate_per=units.rate_per,
            measure=units.measure,
        )
        for line, row in enumerate(reader, start=2)
    ]


def save_codec_points(folder: Path, points: Sequence[RatePoint]) -> None:
    """Keep the user's operating points with a sandwich, so that ``plot`` shows them again."""
    write_points_file(folder / _CODECS, points)


def _reference(plan: Plan) -> list[str]:
    return ["--dataset", plan.reference, "--seed", str(plan.seed)]


def _command(plan: Plan, method: Method, lamb: str, source: Source) -> list[str]:
    at = ["--lamb", lamb, "-o", RUN]
    if method == "analytic":
        return ["analytic", *_reference(plan), *at, "--force"]
    if method == "blahut-arimoto":
        bins = ["--bins", str(_BINS[source.dims])]
        return ["blahut-arimoto", *_reference(plan), *bins, *at, "--force"]
    kind = "lower" if method == "lower" else "upper"
    # Some recipes count in bits per dimension; the slopes of a sandwich are in nats per vector.
    settings = ("unit=nats", "per_dimension=false") if kind == "upper" else ()
    changes = [word for setting in (*settings, *plan.settings) for word in ("--set", setting)]
    apart = [] if plan.evaluate_on is None else ["--evaluate-on", plan.evaluate_on]
    recipe = recipe_for(plan.dataset, source.dims, method, plan.size)
    return [
        f"train-{kind}", "--recipe", recipe, "--dataset", plan.dataset, *apart, *changes,
        "--seed", str(plan.seed), "--threads", "1", "--evaluate", *at, "{resume}",
    ]  # fmt: skip


def recipe_for(dataset: str, dims: int, method: Method, size: str) -> str:
    """The recipe for a source: its own where the package has one, else the general one.

    Args:
        dataset: full name.
        dims: numbers per vector.
        method: of a bound that is trained.
        size: ``small`` or ``paper``.

    Raises:
        UsageError: there is none.

    Example:
        >>> recipe_for("banana?dim=16", 16, "ntc", "small")
        'upper-banana-16-ntc-small'
    """
    known = recipe_names("nc_rd_bounds")
    head = "lower" if method == "lower" else "upper"
    tail = ("-ntc" if method == "ntc" else "") + ("-small" if size == "small" else "")
    source = re.split("[:?@]", dataset, maxsplit=1)[0]
    for place in (f"{source}-{dims}", source, "vectors"):
        if f"{head}-{place}{tail}" in known:
            return f"{head}-{place}{tail}"
    raise UsageError(f"no {size} recipe of {head} bounds for '{dataset}'", "choose another --size")


def command_point(name: str, values: Mapping[str, Any], command: Sequence[str]) -> Point:
    """A command of this package as a point; it takes :data:`RUN` as its run directory."""
    words = ("run", "rd-bounds", *command, "--json")
    return Point(name=name, values=values, command=words)


def _curve_slopes(source: Source) -> list[str]:
    """Slopes from hardly any rate to a high one, whatever the slopes of the other methods are."""
    slopes = default_slopes(source)
    between = np.geomspace(min(slopes) / 3, max(slopes) * 10, _CURVE_POINTS)
    return [f"{lamb:.3g}" for lamb in between]


def _text(lamb: float) -> str:
    """A slope as it is typed; close ones have different texts."""
    return f"{lamb:.15g}"


def _rounded(value: float) -> float:
    """With one significant digit, so that slopes are easy to name."""
    return float(f"{value:.0e}")


def _number(text: str | None, path: Path, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{path}, line {line}: '{text}' is no number from 0 on")
    return value


def sorted_points(points: Iterable[RatePoint]) -> list[RatePoint]:
    """By kind, method and slope, as a reader of a table expects."""
    kinds = ("analytic", "lower", "upper", "estimate", "operating-point")
    return sorted(
        points, key=lambda p: (kinds.index(p.kind), p.method, p.slope or 0.0, p.rate or 0.0)
    )

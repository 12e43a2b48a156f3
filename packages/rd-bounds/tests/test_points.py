"""Points in run directories, and the notes that they carry."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nc_core.errors import DataError, UsageError
from nc_core.rates import RatePoint
from nc_core.runs import RunDirectory
from nc_rd_bounds.honesty import discretisation_note, limit_note, same_data_note
from nc_rd_bounds.points import points_of_one_source, read_points, write_points

UPPER = RatePoint(
    kind="upper", method="beta-vae", dims=2, rate=1.5, distortion=0.25, slope=3.0, intercept=2.25,
    rate_error=0.01, n=1000, dataset="banana:test", seed=1, notes=("a note",),
)  # fmt: skip
LOWER = RatePoint(
    kind="lower", method="csiszar-dual", dims=2, slope=3.0, intercept=2.0,
    interval=(1.9, 2.1), confidence=0.95,
)  # fmt: skip


def written(folder: Path, **files: list[RatePoint]) -> Path:
    with RunDirectory.create(folder, {"lamb": 3}) as run:
        for name, points in files.items():
            write_points(run, name, points)
    return folder


def test_points_come_back_as_they_were_written(tmp_path: Path) -> None:
    run = written(tmp_path / "run", upper=[UPPER], lower=[LOWER, LOWER])
    assert read_points(run) == [LOWER, LOWER, UPPER]


def test_a_run_without_points_has_none(tmp_path: Path) -> None:
    assert read_points(written(tmp_path / "run")) == []


def test_names_with_characters_of_no_file_are_made_safe(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", {}) as run:
        write_points(run, "lamb=3/../x", [UPPER])
    assert [path.name for path in (tmp_path / "run" / "results").iterdir()] == [
        "points-lamb-3-..-x.json"
    ]


def test_other_results_are_left_alone(tmp_path: Path) -> None:
    run = written(tmp_path / "run", upper=[UPPER])
    (run / "results" / "curve.json").write_text("[1, 2]")
    assert read_points(run) == [UPPER]


def record(**changes: Any) -> dict[str, Any]:
    return {"schema": "nc.rate-points/1", "points": [UPPER.to_json() | changes]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"schema": "nc.rate-points/2", "points": []}',
        b'{"schema": "nc.rate-points/1"}',
        b'{"schema": "nc.rate-points/1", "points": [1]}',
        b"[" * 100_000,
        json.dumps(record(rate="1.5")).encode(),
        json.dumps(record(dims=0)).encode(),
        json.dumps(record(kind="guess")).encode(),
        json.dumps(record(interval=[1.0])).encode(),
        json.dumps(record(interval=["low", "high"])).encode(),
        json.dumps(record(seed=True)).encode(),
        json.dumps(record(method=None)).encode(),
        json.dumps(record(dataset=0)).encode(),
        json.dumps(record(dataset=["banana"])).encode(),
        json.dumps(record(notes="a note")).encode(),
        json.dumps(record(notes=[1])).encode(),
        json.dumps(record(notes=None)).encode(),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    run = written(tmp_path / "run", upper=[UPPER])
    (run / "results" / "points-upper.json").write_bytes(content)
    with pytest.raises(DataError, match=r"points-upper\.json: damaged"):
        read_points(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_points(tmp_path)


def test_a_rate_near_the_logarithm_of_the_samples_is_noted() -> None:
    limit = math.log(10_000)
    assert limit_note(0.5 * limit, 10_000) is None
    assert limit_note(0.95 * limit, None) is None
    note = limit_note(0.95 * limit, 10_000)
    assert note is not None and "ln(10,000) = 9.21 nats" in note
    assert limit_note(2 * limit, 10_000) is not None
    assert limit_note(math.nan, 10_000) is None


def test_fitting_and_evaluating_on_the_same_samples_is_noted() -> None:
    assert "same samples (npy:x.npy)" in same_data_note("npy:x.npy")


def test_points_of_one_source_share_a_figure() -> None:
    names = ("banana:train", "banana:test?seed=3", "banana", None)
    points = [replace(UPPER, dataset=name) for name in names]
    assert points_of_one_source(points) == points
    held_out = replace(UPPER, dataset="npy:x.npy (1,000 of 10,000 rows)")
    whole = replace(UPPER, dataset="npy:x.npy")
    assert points_of_one_source([held_out, whole]) == [held_out, whole]


@pytest.mark.parametrize("other", ["gaussian:test", "banana:test?dim=4", "npy:x.npy"])
def test_points_of_several_sources_are_refused_until_some_are_chosen(other: str) -> None:
    second, codec = replace(UPPER, dataset=other), replace(LOWER, kind="operating-point")
    points = [UPPER, second, codec]
    with pytest.raises(UsageError, match="points of several sources: banana, ") as error:
        points_of_one_source(points)
    assert "--dataset NAME" in (error.value.hint or "")
    assert points_of_one_source(points, ["banana"]) == [UPPER, codec]
    assert points_of_one_source(points, [other]) == [second, codec]
    assert points_of_one_source(points, ["banana:train", other]) == points
    with pytest.raises(UsageError, match="no points of 'speech'"):
        points_of_one_source(points, ["speech"])


def test_a_distortion_below_the_bin_width_is_noted() -> None:
    assert discretisation_note(0.01, 0.007) is None
    assert "histogram" in (discretisation_note(0.002, 0.007) or "")

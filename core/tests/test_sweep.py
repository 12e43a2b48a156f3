"""Sweeps: every point once, whatever happens to the processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nc_core.errors import DataError, UsageError
from nc_core.launch import (
    Point,
    PointRecord,
    State,
    collect,
    grid_points,
    parse_grids,
    read_points,
    run_sweep,
    write_table,
)
from nc_core.launch.sweep import is_held

# Appends a line to a journal, and does what its first argument says.
COMMAND = """
import json, os, signal, sys, time
from pathlib import Path
what, journal, out, *rest = sys.argv[1:]
with open(journal, "a") as file:
    file.write(" ".join([what, *rest]) + "\\n")
folder = Path(out)
folder.mkdir(parents=True, exist_ok=True)
if what == "fail" and not (folder / "mended").exists():
    print("nc: error: diverged at step 3\\nlower the learning rate", file=sys.stderr)
    sys.exit(1)
if what == "save":
    # Ends well at a signal, as training does; when it goes on, it has what it saved.
    if "--resume" in rest:
        print(json.dumps([{"name": "steps", "value": int((folder / "saved").read_text())}]))
        sys.exit(0)
    def stop(number, frame):
        (folder / "saved").write_text("7")
        sys.exit(130)
    signal.signal(signal.SIGINT, stop)
    (folder / "ready").write_text(str(os.getpid()))
    time.sleep(60)
if what == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "ready").write_text(str(os.getpid()))
    time.sleep(60)
if what == "slow":
    time.sleep(0.3)
print(json.dumps([
    {"name": "rate", "value": 2.5, "unit": "nats", "standard_error": 0.1, "n": 4},
    {"name": "threads", "value": int(os.environ["OMP_NUM_THREADS"])},
]))
"""
SWEEP = """
import sys
from pathlib import Path
from nc_core.errors import NcError
from nc_core.launch import Point, read_points, run_sweep
folder, command, journal, *words = sys.argv[1:]
points = [
    Point(name=f"{index}", values={"index": index}, command=(word, journal, "{out}", "{resume}"))
    for index, word in enumerate(words)
]
try:
    run_sweep(Path(folder), points, program=(sys.executable, command), jobs=2, go_on="again!")
except NcError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


class Sweep:
    """A sweep of the test's own command, in this process or another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "sweep"
        self.journal = folder / "journal.txt"
        self.command = folder / "command.py"
        self.command.write_text(COMMAND)
        self._sweep = folder / "sweep.py"
        self._sweep.write_text(SWEEP)

    def points(self, *words: str) -> list[Point]:
        return [
            Point(
                name=str(index),
                values={"index": index},
                command=(word, str(self.journal), "{out}", "{resume}"),
            )
            for index, word in enumerate(words)
        ]

    def run(self, *words: str, **settings: Any) -> list[PointRecord]:
        program = (sys.executable, str(self.command))
        return run_sweep(self.folder, self.points(*words), program=program, **settings)

    def start(self, *words: str) -> subprocess.Popen[str]:
        arguments = [self._sweep, self.folder, self.command, self.journal, *words]
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)], stderr=subprocess.PIPE, text=True
        )

    def started(self) -> list[str]:
        """What was started, in order."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def out(self, name: str) -> Path:
        return self.folder / "points" / name / "out"

    def ready(self, *names: str) -> bool:
        files = [self.out(name) / "ready" for name in names]
        return all(file.exists() and file.read_text() for file in files)

    def state(self, name: str) -> State:
        record = PointRecord.read(self.folder, name)
        assert record is not None
        return record.state


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    return Sweep(tmp_path)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def test_a_finished_point_is_never_run_twice(sweep: Sweep) -> None:
    first = sweep.run("good", "good")
    assert [record.state for record in first] == [State.FINISHED] * 2
    again: list[PointRecord] = []
    assert sweep.run("good", "good", progress=again.append) == first == again
    assert sweep.started() == ["good", "good"]
    assert first[0].result[0]["value"] == 2.5
    assert first[0].seconds is not None and first[0].exit_code == 0 and first[0].attempts == 1


def test_points_are_added_to_a_sweep(sweep: Sweep) -> None:
    sweep.run("good")
    sweep.run("good", "slow")
    assert sweep.started() == ["good", "slow"]
    assert [record.name for record in read_points(sweep.folder)] == ["0", "1"]


def test_a_failing_point_stops_no_other_and_runs_again_at_the_next_call(sweep: Sweep) -> None:
    states = [record.state for record in sweep.run("fail", "good")]
    assert states == [State.FAILED, State.FINISHED]
    record = PointRecord.read(sweep.folder, "0")
    assert record is not None
    assert record.reason == "exit code 1: error: diverged at step 3"
    assert record.error[-1] == "lower the learning rate"
    (sweep.out("0") / "mended").touch()
    assert [record.state for record in sweep.run("fail", "good")] == [State.FINISHED] * 2
    assert sweep.started() == ["fail", "good", "fail --resume"]


def test_another_command_under_the_name_of_a_point_is_refused(sweep: Sweep) -> None:
    sweep.run("good", "slow")
    with pytest.raises(UsageError, match=r"point 0 is of another command: good .*journal") as error:
        sweep.run("slow", "slow")
    assert "--force" in str(error.value.hint)
    assert sweep.started() == ["good", "slow"]


def test_force_runs_again_from_nothing(sweep: Sweep) -> None:
    sweep.run("good")
    (sweep.out("0") / "old").touch()
    records = sweep.run("slow", force=True)
    assert records[0].attempts == 1
    assert sweep.started() == ["good", "slow"]
    assert not (sweep.out("0") / "old").exists()


def test_threads_are_limited_where_several_points_run(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sweep.run("good", jobs=2)[0].result[1]["value"] == 3  # the user's own stays
    monkeypatch.delenv("OMP_NUM_THREADS")
    record = sweep.run("good", jobs=2, threads=2, force=True)[0]
    assert record.result[1]["value"] == 2
    assert "OMP_NUM_THREADS" not in os.environ


def test_jobs_run_side_by_side(sweep: Sweep) -> None:
    process = sweep.start("save", "save", "save")
    wait_until(lambda: sweep.ready("0", "1"))
    assert sweep.state("2") == State.WAITING
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_lets_points_save_and_goes_on(
    sweep: Sweep, number: signal.Signals
) -> None:
    process = sweep.start("good", "save", "save", "good")
    wait_until(lambda: sweep.ready("1", "2"))
    process.send_signal(number)
    _, message = process.communicate(timeout=30)
    assert process.returncode == 130
    assert message.splitlines() == [
        "waiting for the running points (2), which may save their state; "
        "a second signal kills them",
        "interrupted; 1 of 4 points are finished",
        "again!",
    ]
    assert [sweep.state(name) for name in "0123"] == [
        State.FINISHED, State.INTERRUPTED, State.INTERRUPTED, State.WAITING,
    ]  # fmt: skip
    records = sweep.run("good", "save", "save", "good")
    assert {record.state for record in records} == {State.FINISHED}
    assert records[1].result == [{"name": "steps", "value": 7}]
    assert sorted(sweep.started()) == sorted(
        ["good", "save", "save", "save --resume", "save --resume", "good"]
    )


def test_a_second_signal_kills_points_that_do_not_stop(sweep: Sweep) -> None:
    process = sweep.start("deaf")
    wait_until(lambda: sweep.ready("0"))
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    record = PointRecord.read(sweep.folder, "0")
    assert record is not None
    assert (record.state, record.exit_code) == (State.INTERRUPTED, -signal.SIGKILL)


def test_a_sweep_that_was_killed_half_way_goes_on(sweep: Sweep) -> None:
    process = sweep.start("good", "save")
    wait_until(lambda: sweep.ready("1"))
    wait_until(lambda: sweep.state("0") == State.FINISHED)
    process.kill()
    process.communicate()
    # The point outlives its sweep, and keeps its lock: nobody runs it beside itself.
    assert sweep.state("1") == State.RUNNING
    assert is_held(sweep.folder, "1")
    os.kill(int((sweep.out("1") / "ready").read_text()), signal.SIGINT)
    wait_until(lambda: not is_held(sweep.folder, "1"))
    records = sweep.run("good", "save")
    assert {record.state for record in records} == {State.FINISHED}
    assert records[1].attempts == 2
    assert sorted(sweep.started()) == ["good", "save", "save --resume"]


def test_two_processes_share_the_points_of_one_sweep(sweep: Sweep) -> None:
    words = ["slow"] * 6 + ["fail"]
    both = [sweep.start(*words), sweep.start(*words)]
    for process in both:
        process.communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(sweep.started()) == ["fail"] + ["slow"] * 6
    states = [record.state for record in read_points(sweep.folder)]
    assert states == [State.FINISHED] * 6 + [State.FAILED]


def test_a_folder_that_holds_something_else_is_left_alone(sweep: Sweep) -> None:
    sweep.folder.mkdir()
    (sweep.folder / "thesis.tex").touch()
    with pytest.raises(DataError, match="is not a sweep"):
        sweep.run("good")
    assert [path.name for path in sweep.folder.iterdir()] == ["thesis.tex"]


def test_a_damaged_record_is_reported_by_name(sweep: Sweep) -> None:
    sweep.run("good")
    (sweep.folder / "points" / "0" / "point.json").write_text('{"schema": "nc.sweep-point/1"}')
    with pytest.raises(DataError, match=r"0/point\.json: not the record of a point"):
        sweep.run("good")


def test_a_program_that_is_not_there_is_reported_by_name(sweep: Sweep) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file"):
        run_sweep(sweep.folder, sweep.points("good"), program=(str(sweep.folder / "nowhere"),))


def test_the_table_has_grid_and_measurements_with_units(sweep: Sweep) -> None:
    table = collect(sweep.run("good", "fail", "good"))
    write_table(sweep.folder, table)
    with (sweep.folder / "table.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["point", "index", "rate [nats]", "rate standard error [nats]", "threads"],
        ["0", "0", "2.5", "0.1", "3"],
        ["2", "2", "2.5", "0.1", "3"],
    ]
    document = json.loads((sweep.folder / "table.json").read_text())
    assert document["rows"][1]["rate"] == 2.5
    assert document["units"]["rate"] == "nats"


def record(name: str, values: dict[str, Any], result: Any) -> PointRecord:
    return PointRecord(
        name=name, values=values, command=(), state=State.FINISHED, result=result
    )  # fmt: skip


def test_other_documents_are_read_as_far_as_they_go() -> None:
    table = collect([
        record("a", {"seed": 0}, {"schema": "x/1", "seed": 0, "bits": 8, "deep": {"no": 1}}),
        record("b", {"seed": 1}, [{"name": "rate", "value": 1.0, "unit": "nats"}, {"odd": 1}]),
        record("c", {"seed": 2}, [{"name": "rate", "value": 2.0, "unit": "bits"}]),
        record("d", {"seed": 3}, "text"),
    ])  # fmt: skip
    columns = ("point", "seed", "seed (measured)", "bits", "rate in nats", "rate in bits")
    assert table.columns == columns
    assert table.cells() == [
        ["a", 0, 0, 8, None, None],
        ["b", 1, None, None, 1.0, None],
        ["c", 2, None, None, None, 2.0],
        ["d", 3, None, None, None, None],
    ]


def test_a_grid_is_the_product_in_the_order_of_its_values(tmp_path: Path) -> None:
    grids = parse_grids(["lamb=0.3,1e1,3", "data=banana,npy:/x.npy"])
    points = grid_points(["run", "--lamb={lamb}", "{data}", "-o", "{out}", "{resume}"], grids)
    assert [point.values for point in points][:3] == [
        {"lamb": 0.3, "data": "banana"},
        {"lamb": 0.3, "data": "npy:/x.npy"},
        {"lamb": 10.0, "data": "banana"},
    ]
    assert points[2].command == ("run", "--lamb=1e1", "banana", "-o", "{out}", "{resume}")
    assert points[2].name == "lamb=1e1,data=banana"
    assert points[2].arguments(tmp_path, again=False)[-2:] == [
        "-o", str(tmp_path / "points" / points[2].name / "out"),
    ]  # fmt: skip
    assert points[2].arguments(tmp_path, again=True)[-1] == "--resume"
    run_sweep(tmp_path / "s", [], program=())
    names = {point.name for point in points}
    assert len(names) == 6 and all("/" not in name and ":" not in name for name in names)


def test_points_are_listed_in_the_order_of_numbers(tmp_path: Path) -> None:
    for lamb in (10, 0.3, 3):
        record(f"p{lamb}".replace(".", "-"), {"lamb": lamb}, None).write(tmp_path)
    assert [found.values["lamb"] for found in read_points(tmp_path)] == [0.3, 3, 10]


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        (["lamb"], "not NAME=VALUE"), (["lamb="], "not NAME=VALUE"), (["1x=3"], "not NAME=VALUE"),
        (["a=1,,2"], "not NAME=VALUE"), (["a=1", "a=2"], "given twice"),
        (["a=1,1.0"], "value is given twice"), (["out=1"], "meaning of its own"),
    ],
)  # fmt: skip
def test_other_grids_are_refused(grids: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_grids(grids)


def test_placeholders_and_grids_belong_together() -> None:
    with pytest.raises(UsageError, match=r"\{lam\} in the command.*did you mean 'lamb'"):
        grid_points(["{lam}", "{lamb}"], {"lamb": ("1",)})
    with pytest.raises(UsageError, match=r"--grid seed: the command has no \{seed\}"):
        grid_points(["{lamb}"], {"lamb": ("1",), "seed": ("0",)})
    point = grid_points(["--set", 'a={"b": 1}'], {})[0]
    assert (point.name, point.command) == ("only", ("--set", 'a={"b": 1}'))


def test_names_that_are_paths_are_refused() -> None:
    for name in ("", "..", "a/b", ".hidden", "a b"):
        with pytest.raises(ValueError, match="cannot be the name"):
            Point(name=name, values={}, command=())

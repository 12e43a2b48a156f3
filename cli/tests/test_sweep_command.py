"""``nc sweep``: points are processes of nc, with plugins as they are installed."""

from __future__ import annotations

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

from nc_core.testing.distributions import write_distribution

PLUGIN = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec

@hookimpl
def nc_commands():
    return [CommandSpec(name="toy", summary="A paper.", target="toy_cli:command")]
"""
CLI = """
import sys, time
from pathlib import Path
import click
from nc_core.errors import WorkError
from nc_core.command_line.console import print_json

@click.group()
def command():
    "A paper."

@command.command()
@click.option("--lamb", type=float)
@click.option("--seed", type=int, default=0)
def measure(lamb, seed):
    "Measures."
    if lamb < 0:
        raise WorkError("lambda is negative", "choose another")
    with open("started.txt", "a") as file:
        file.write(f"{lamb:g} {seed}\\n")
    print_json([{"name": "rate", "value": 2 * lamb, "unit": "nats", "standard_error": 0.5, "n": 4}])

@command.command()
@click.option("--out", type=Path)
@click.option("--resume", is_flag=True)
def train(out, resume):
    "Trains."
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        print_json({"saved": (out / "saved").read_text()})
        return
    (out / "ready").touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        (out / "saved").write_text("step 7")
        raise
"""
ONE_FILE = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec

@hookimpl
def nc_commands():
    return [CommandSpec(name="mine", summary="A paper.", target="toy_cli:command")]
"""

Start = Callable[..., subprocess.Popen[str]]
MEASURE = ("run", "toy", "measure", "--lamb", "{lamb}")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A function that starts ``nc`` in ``tmp_path``, with the paper ``toy`` installed."""
    installed = tmp_path / "installed"
    modules = {"toy_plugin": PLUGIN, "toy_cli": CLI}
    write_distribution(installed, "nc-toy", modules, {"toy": "toy_plugin"})

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "nc_cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed), "NC_PLUGINS": "nc-toy"},
        )

    return start


@pytest.fixture
def nc_process(start: Start) -> Callable[..., tuple[int, str, str]]:
    """A function that runs ``nc``: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        process = start(*arguments)
        stdout, stderr = process.communicate(timeout=120)
        return process.returncode, stdout, stderr

    return run


def test_a_grid_runs_once_and_gives_one_table(nc_process: Any, tmp_path: Path) -> None:
    arguments = ("sweep", "-o", "s", "--grid", "lamb=10,1", "--grid", "seed=0,1", "--jobs", "2",
                 "--", *MEASURE, "--seed", "{seed}")  # fmt: skip
    code, stdout, stderr = nc_process(*arguments)
    assert (code, stderr) == (0, "")
    assert [line.split() for line in stdout.splitlines()] == [
        ["point", "lamb", "seed", "rate", "[nats]", "rate", "standard", "error", "[nats]"],
        ["lamb=1,seed=0", "1", "0", "2", "0.5"],
        ["lamb=1,seed=1", "1", "1", "2", "0.5"],
        ["lamb=10,seed=0", "10", "0", "20", "0.5"],
        ["lamb=10,seed=1", "10", "1", "20", "0.5"],
        ["wrote", "s/table.csv", "and", ".json"],
    ]
    assert (tmp_path / "s" / "table.csv").read_text().count("\n") == 5
    assert nc_process(*arguments) == (code, stdout, stderr)
    assert len((tmp_path / "started.txt").read_text().splitlines()) == 4
    document = json.loads(nc_process("sweep", "-o", "s", "--json")[1])
    assert document["schema"] == "nc.sweep/1"
    assert document["failed"] == []
    assert document["rows"][3]["rate"] == 20


def test_a_failing_point_is_named_and_the_others_are_kept(nc_process: Any) -> None:
    code, stdout, stderr = nc_process(
        "sweep", "-o", "s", "--grid", "lamb=-1,1", "--json", "--", *MEASURE
    )
    assert code == 1
    assert stderr.splitlines() == [
        "nc: point lamb=-1: exit code 1: error: lambda is negative",
        "nc: error: 1 of 2 points failed",
        "they run again with: nc sweep -o s",
        "all that they said: s/points/lamb=-1/stderr.txt",
    ]
    document = json.loads(stdout)
    assert [row["point"] for row in document["rows"]] == ["lamb=1"]
    assert document["failed"][0]["error"] == ["nc: error: lambda is negative", "choose another"]
    code, stdout, stderr = nc_process("sweep", "-o", "s", "--list")
    assert (code, stderr) == (0, "")
    assert [line.split()[:3] for line in stdout.splitlines()[1:]] == [
        ["lamb=-1", "failed", "1"], ["lamb=1", "finished", "1"],
    ]  # fmt: skip
    assert "error: lambda is negative" in stdout


def test_an_interrupted_sweep_says_how_to_go_on_and_does(
    start: Start, nc_process: Any, tmp_path: Path
) -> None:
    process = start("sweep", "-o", "s", "run", "toy", "train", "--out", "{out}", "{resume}")
    ready = tmp_path / "s" / "points" / "only" / "out" / "ready"
    until = time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.splitlines() == [
        "nc: warning: waiting for the running points (1), which may save their state; "
        "a second signal kills them",
        "nc: interrupted; 0 of 1 points are finished",
        "go on with: nc sweep -o s",
    ]
    code, stdout, stderr = nc_process("sweep", "-o", "s")
    assert (code, stderr) == (0, "")
    assert "step 7" in stdout


def test_plugin_files_are_passed_on(nc_process: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ONE_FILE)
    command = ("run", "mine", "measure", "--lamb", "{lamb}")
    code, stdout, stderr = nc_process(
        "--plugin", "mine.py", "sweep", "-o", "s", "--grid", "lamb=1", *command
    )
    assert (code, stderr) == (0, "")
    assert "lamb=1" in stdout
    code, _, stderr = nc_process(
        "--plugin", "mine.py", "sweep", "-o", "t", "--grid", "lamb=-1", *command
    )
    assert code == 1
    assert "they run again with: nc --plugin mine.py sweep -o t\n" in stderr


def test_the_command_may_be_a_value_of_a_grid(nc: Any, tmp_path: Path) -> None:
    arguments = ("sweep", "-o", tmp_path / "s", "--list", "--json", "--grid")
    outcome = nc(*arguments, "a=list,doctor", "--", "{a}", "--json")
    assert [point["point"] for point in outcome.json()["points"]] == ["a=list", "a=doctor"]
    outcome = nc(*arguments, "a=list,docter", "--", "{a}", "--json")
    assert outcome.exit_code == 2
    assert "no command 'docter' to sweep; did you mean 'doctor'?" in outcome.stderr


def test_a_file_in_the_current_folder_is_no_module_of_a_point(
    nc_process: Any, tmp_path: Path
) -> None:
    (tmp_path / "pluggy.py").write_text("raise ImportError")
    code, _, stderr = nc_process("sweep", "-o", "s", "list")
    assert code == 0
    assert stderr == "nc: warning: no point printed measurements; does COMMAND have --json?\n"
    record = json.loads((tmp_path / "s" / "points" / "only" / "point.json").read_text())
    assert (record["state"], record["command"]) == ("finished", ["list"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("-o s -- nc list", 2, "no command 'nc' to sweep; leave out the word nc"),
        ("-o s -- lits", 2, "no command 'lits' to sweep; did you mean 'list'?"),
        ("-o s --grid a=1", 2, "--grid without a command"),
        ("-o s --grid a=1 -- list {b}", 2, "{b} in the command: no grid of that name"),
        ("-o s", 4, "no sweep is there, and no command to run"),
        ("list", 2, "missing option '-o' / '--out'"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    nc: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = nc("sweep", *arguments.split())
    assert outcome.exit_code == code
    assert message in outcome.stderr
    assert not (tmp_path / "s").exists()


def test_a_list_runs_and_writes_nothing(nc: Any, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    outcome = nc("sweep", "-o", folder, "--grid", "a=2,1", "--list", "--json", "--", "list", "{a}")
    assert [(p["point"], p["state"]) for p in outcome.json()["points"]] == [
        ("a=2", "waiting"), ("a=1", "waiting"),
    ]  # fmt: skip
    assert not folder.exists()


def test_another_command_in_the_same_folder_is_refused(nc_process: Any) -> None:
    nc_process("sweep", "-o", "s", "list")
    code, _, stderr = nc_process("sweep", "-o", "s", "list", "models")
    assert code == 2
    assert "point only is of another command: list" in stderr
    assert nc_process("sweep", "-o", "s", "--force", "list", "models")[0] == 0

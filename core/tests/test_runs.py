"""Run directories: what is refused, what is kept, and what survives accidents."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nc_core import files
from nc_core.errors import DataError, ExitCode, UsageError, WorkError
from nc_core.model_file import MAX_NAME
from nc_core.run_logs import read_records
from nc_core.runs import RunDirectory, is_main_process

CONFIG = {"width": 2, "training": {"duration": 10, "ema": None}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "a"


def test_a_run_holds_its_configuration_and_versions(path: Path) -> None:
    about: Any = {"command": "toy train", "recipe": "small", "overrides": ["width=2"]}
    with RunDirectory.create(path, CONFIG, **about) as run:
        assert not run.resumed
    opened = RunDirectory.open(path)
    assert opened.config == CONFIG
    assert opened.about["overrides"] == ["width=2"]
    assert (opened.about["command"], opened.about["recipe"]) == ("toy train", "small")
    assert opened.about["versions"]["python"] == sys.version.split()[0]


def test_an_existing_run_is_not_overwritten(path: Path) -> None:
    with RunDirectory.create(path, CONFIG) as run:
        run.log({"step": 1})
    with pytest.raises(DataError, match="run directory exists") as caught:
        RunDirectory.create(path, CONFIG)
    assert "--resume" in str(caught.value.hint)
    assert "--force" in str(caught.value.hint)
    with pytest.raises(DataError, match="run directory exists") as caught:
        RunDirectory.create(path, CONFIG, can_resume=False)
    assert caught.value.hint == "--force starts again, --out names another"
    assert RunDirectory.open(path).metrics() == [{"step": 1}]


def test_force_starts_again_and_leaves_what_is_not_its_own(path: Path) -> None:
    with RunDirectory.create(path, CONFIG) as run:
        run.log({"step": 1})
        run.save_result("rate", [1])
        run.checkpoint_path(3).parent.mkdir()
        run.checkpoint_path(3).write_bytes(b"")
    mine = ["model-backup.safetensors", "notes.txt"]
    for name in (*mine, "log.txt", "progress.csv", "model-0.9.safetensors"):
        (path / name).write_text("mine")
    with RunDirectory.create(path, {"width": 3}, force=True) as run:
        assert (run.metrics(), run.checkpoint_steps(), run.results()) == ([], [], {})
        assert run.config == {"width": 3}
    assert sorted(file.name for file in path.glob("[a-z]*.*")) == ["config.json", *mine]


def test_a_folder_of_something_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    for force in (False, True):
        with pytest.raises(DataError, match="not a run directory"):
            RunDirectory.create(tmp_path, CONFIG, force=force)
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.png"]
    with pytest.raises(DataError, match="not a folder"):
        RunDirectory.create(tmp_path / "photo.png", CONFIG)
    with pytest.raises(DataError, match="not a run directory"):
        RunDirectory.open(tmp_path)


def test_an_empty_folder_and_one_where_a_start_was_killed_are_fine(path: Path) -> None:
    path.mkdir(parents=True)
    RunDirectory.create(path, CONFIG).close()
    (path / "config.json").unlink()
    (path / ".nc-0123456789abcdef.tmp").write_bytes(b"{")
    RunDirectory.create(path, CONFIG).close()
    assert not (path / ".nc-0123456789abcdef.tmp").exists()


def test_a_resumed_run_must_have_the_same_configuration(path: Path) -> None:
    with RunDirectory.create(path, CONFIG, resume=True) as run:
        assert not run.resumed
        run.log({"step": 1})
    with RunDirectory.create(path, CONFIG, resume=True) as run:
        assert run.resumed
    other = {"width": 2, "training": {"duration": 20, "ema": {"decay": 0.9}}}
    with pytest.raises(UsageError, match=r"started with training.duration=10, not 20 \(and") as e:
        RunDirectory.create(path, other, resume=True)
    assert e.value.exit_code == ExitCode.USAGE
    assert RunDirectory.open(path).config == CONFIG
    longer = {"width": 2, "training": {"duration": 20, "ema": None}}
    may_differ = ["training.duration"]
    RunDirectory.create(path, longer, resume=True, may_differ=may_differ).close()
    assert RunDirectory.open(path).config == longer


def test_two_processes_cannot_write_at_once(path: Path) -> None:
    with RunDirectory.create(path, CONFIG):
        program = (
            "import sys, pathlib; from nc_core.runs import RunDirectory; "
            "RunDirectory.create(pathlib.Path(sys.argv[1]), {}, force=True)"
        )
        result = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
        )
        assert f"in use by process {os.getpid()} on" in result.stderr
        assert RunDirectory.open(path).config == CONFIG
        with pytest.raises(DataError, match="in use"):
            RunDirectory.create(path, CONFIG, resume=True)
    RunDirectory.create(path, CONFIG, resume=True).close()


def test_a_killed_process_holds_no_lock(path: Path) -> None:
    program = (
        "import os, signal, sys, pathlib; from nc_core.runs import RunDirectory; "
        "run = RunDirectory.create(pathlib.Path(sys.argv[1]), {'width': 2}); "
        "run.log({'step': 1}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    with RunDirectory.create(path, {"width": 2}, resume=True) as run:
        assert run.metrics() == [{"step": 1}]


def test_a_failed_start_gives_the_lock_back(path: Path) -> None:
    with RunDirectory.create(path, CONFIG) as run:
        run.log({"step": 1})
    with pytest.raises(DataError, match="exists"):
        RunDirectory.create(path, CONFIG)
    RunDirectory.create(path, CONFIG, resume=True).close()


def test_a_run_that_wrote_nothing_is_in_nobodys_way(path: Path) -> None:
    RunDirectory.create(path, CONFIG).close()
    with RunDirectory.create(path, {"width": 3}) as run:
        assert not run.resumed
    with RunDirectory.create(path, {"width": 4}, resume=True) as run:
        assert run.config == {"width": 4}


def test_a_model_is_called_as_the_folder_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my\nrun"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with RunDirectory.create(Path(), {}) as run:
        assert run.model_name() == "my_run"
        assert run.model_name("-0.9999") == "my_run-0.9999"
        assert len(run.model_name("-" * 200)) == MAX_NAME
    link = tmp_path / "mnist"
    link.symlink_to(folder)
    with RunDirectory.create(link, {}) as run:
        assert run.model_name() == "mnist"


def test_records_are_lines_of_json(path: Path) -> None:
    with RunDirectory.create(path, CONFIG) as run:
        run.log({"step": 1, "loss": 0.1})
        run.log({"step": 2, "loss": float("nan"), "bound": float("-inf")})
        run.log({"step": 2, "seconds": 3}, name="timing")
    assert (path / "metrics.jsonl").read_text().splitlines()[0] == '{"step": 1, "loss": 0.1}'
    assert run.metrics()[1] == {"step": 2, "loss": None, "bound": None}
    assert read_records(path / "timing.jsonl") == [{"step": 2, "seconds": 3}]


def test_a_cut_last_line_is_no_record_and_a_damaged_one_before_is_an_error(path: Path) -> None:
    with RunDirectory.create(path, CONFIG) as run:
        run.log({"step": 1})
    log = path / "metrics.jsonl"
    log.write_bytes(log.read_bytes() + b'{"step": 2, "lo')
    assert run.metrics() == [{"step": 1}]
    log.write_bytes(b'{"st\n{"step": 2}\n')
    with pytest.raises(DataError, match="line 1 is damaged"):
        run.metrics()


def test_rewinding_cuts_the_logs_to_a_checkpoint(path: Path) -> None:
    with RunDirectory.create(path, CONFIG) as run:
        run.log({"step": 1})
        run.log({"step": 1}, name="timing")
        sizes = run.log_sizes()
        run.log({"step": 2})
        run.rewind(sizes)
        assert run.metrics() == [{"step": 1}]
        run.log({"step": 3})
        assert [record["step"] for record in run.metrics()] == [1, 3]
        run.rewind({})
        assert run.metrics() == []


def test_only_the_last_checkpoints_are_kept(path: Path) -> None:
    with RunDirectory.create(path, CONFIG) as run:
        assert run.checkpoint_steps() == []
        for step in (5, 1000, 10, 2_000_000_000):
            run.checkpoint_path(step).parent.mkdir(exist_ok=True)
            run.checkpoint_path(step).write_bytes(b"")
        (path / "checkpoints" / "other.txt").write_bytes(b"")
        run.keep_checkpoints(2)
        assert run.checkpoint_steps() == [1000, 2_000_000_000]


def test_results_may_be_added_while_the_run_goes_on(path: Path) -> None:
    with RunDirectory.create(path, CONFIG):
        RunDirectory.open(path).save_result("rate", [{"value": 1.5}])
        RunDirectory.open(path).log({"step": 1})  # but records only by who holds the lock
    assert RunDirectory.open(path).results() == {"rate": [{"value": 1.5}]}
    assert RunDirectory.open(path).metrics() == []
    with pytest.raises(ValueError, match="name of a result"):
        RunDirectory.open(path).save_result("../x", [])


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunDirectory.create(path, CONFIG) as run:
        run.save_result("rate", [1])

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(WorkError, match=r"rate.json: no space left on device"):
            run.save_result("rate", [2])
        assert run.results() == {"rate": [1]}
        assert list((path / "results").iterdir()) == [path / "results" / "rate.json"]


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "0"}, True),
        ({"RANK": "8", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_the_main_process_is_known_before_anything_is_launched(
    environment: dict[str, str], main: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is main


def test_other_processes_touch_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with RunDirectory.create(path, CONFIG, resume=True) as run:
        run.log({"step": 1})
        run.rewind({})
        run.save_result("rate", [1])
        run.keep_checkpoints(1)
    assert not path.exists()


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"schema": "nc.run/9"}', b'{"schema":"nc.run/1"}'])
def test_a_damaged_configuration_is_one_line(path: Path, text: Any) -> None:
    path.mkdir(parents=True)
    (path / "config.json").write_bytes(text)
    with pytest.raises(DataError) as caught:
        RunDirectory.open(path)
    assert "config.json" in caught.value.message

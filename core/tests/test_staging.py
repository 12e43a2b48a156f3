"""Files that get their names together, also when their process is killed in between."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nc_core import file_lock
from nc_core.staging import publish, staging_folder, temporary_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def die(folder: Path, program: str) -> None:
    """Run a program in a process that kills itself inside its staging folder."""
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom nc_core import staging\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"with staging.staging_folder(Path({str(folder)!r})) as s:\n"
        "    for name in 'ab': (s / name).write_text('new')\n"
    ) + program
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL


def test_finished_files_get_their_names_and_nothing_else_stays(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as staging:
        for name in "abc":
            (staging / name).write_text(name)
        publish(staging, ["a", "b"])
    assert names(tmp_path) == ["a", "b"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    die(tmp_path, "    die()\n")
    assert len(names(tmp_path)) == 1
    with staging_folder(tmp_path):
        pass
    assert names(tmp_path) == []


def test_files_that_got_their_names_before_the_others_are_taken_back(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("mine")
    die(tmp_path,
        "    real = Path.replace\n"
        "    Path.replace = lambda p, t: real(p, t) if p.name != 'b' else die()\n"
        "    staging.publish(s, ['a', 'b'])\n")  # fmt: skip
    assert "a" in names(tmp_path)
    with staging_folder(tmp_path):
        pass
    assert names(tmp_path) == ["c"]


def test_a_file_of_somebody_else_under_such_a_name_stays(tmp_path: Path) -> None:
    die(tmp_path,
        "    real = Path.replace\n"
        "    Path.replace = lambda p, t: real(p, t) if p.name != 'b' else die()\n"
        "    staging.publish(s, ['a', 'b'])\n")  # fmt: skip
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "mine").replace(tmp_path / "a")
    with staging_folder(tmp_path):
        pass
    assert (tmp_path / "a").read_text() == "mine"


def test_all_files_that_got_their_names_stay(tmp_path: Path) -> None:
    die(tmp_path, "    staging.publish(s, ['a', 'b'])\n    die()\n")
    with staging_folder(tmp_path):
        pass
    assert names(tmp_path) == ["a", "b"]


def test_files_in_folders_are_taken_back_too(tmp_path: Path) -> None:
    die(tmp_path,
        "    (s / 'b').unlink(), (s / 'b').mkdir(), (s / 'b' / 'c').write_text('new')\n"
        "    real = Path.replace\n"
        "    Path.replace = lambda p, t: real(p, t) if p.name != 'a' else die()\n"
        "    staging.publish(s, ['b/c', 'a'])\n")  # fmt: skip
    assert (tmp_path / "b" / "c").exists()
    with staging_folder(tmp_path):
        pass
    assert not (tmp_path / "b" / "c").exists()


def test_a_folder_of_another_user_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(tmp_path, "    die()\n")
    monkeypatch.setattr("os.getuid", lambda: -1, raising=False)
    with staging_folder(tmp_path):
        pass
    assert len(names(tmp_path)) == 1


def test_temporary_files_of_a_killed_process_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(tmp_path, "    die()\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert [tmp_path / name for name in names(tmp_path)] == [folder]
    assert names(tmp_path) == []


def test_the_folder_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as first:
        (first / "a").write_text("a")
        with staging_folder(tmp_path):
            assert (first / "a").exists()
        publish(first, ["a"])
    assert names(tmp_path) == ["a"]


def test_a_folder_that_is_not_locked_yet_is_left_alone(tmp_path: Path) -> None:
    begun = tmp_path / ".nc-staging-begun"
    begun.mkdir()
    (begun / ".lock").touch()
    with staging_folder(tmp_path):
        pass
    assert names(tmp_path) == [".nc-staging-begun"]


def test_without_locks_files_get_their_names_and_other_folders_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    die(tmp_path, "    die()\n")
    (abandoned,) = names(tmp_path)
    monkeypatch.setattr(file_lock, "_lock", refuse)
    with staging_folder(tmp_path) as staging:
        (staging / "a").write_text("a")
        publish(staging, ["a"])
    assert names(tmp_path) == [abandoned, "a"]

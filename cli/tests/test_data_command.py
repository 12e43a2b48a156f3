"""nc data: prepare, verify and path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nc_core.datasets.exclusive import alone
from nc_core.errors import ExitCode

MNIST = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of this test."""
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_mnist_is_prepared_verified_and_found(nc: Any, shared: Path, data: Path) -> None:
    first = nc("data", "prepare", "mnist", "--from", shared / "data" / "mnist")
    assert first.exit_code == ExitCode.DONE
    assert f"mnist is ready: 4 files, 11.6 MB, in {data / 'mnist'}" in first.stdout
    again = nc("data", "prepare", "mnist")
    assert again.stdout == f"mnist is ready: 4 files, 11.6 MB, in {data / 'mnist'}\n"
    checked = nc("data", "verify", "mnist")
    assert checked.exit_code == ExitCode.DONE
    sizes = [str((data / "mnist" / name).stat().st_size) for name in MNIST]
    assert [line.split() for line in checked.stdout.splitlines()[1:5]] == [
        [name, size, size, "ok"] for name, size in zip(MNIST, sizes, strict=True)
    ]
    assert checked.stdout.endswith("mnist: all 4 files are right\n")
    assert nc("data", "path", "mnist").stdout == f"{data / 'mnist'}\n"


def test_a_process_that_waits_says_so_in_one_line(shared: Path, data: Path) -> None:
    command = [sys.executable, "-m", "nc_cli", "data", "prepare", "mnist", "--from"]
    with alone(data / "mnist"):
        waiting = subprocess.Popen(
            [*command, shared / "data" / "mnist"], stderr=subprocess.PIPE, text=True
        )
        assert waiting.stderr is not None
        line = waiting.stderr.readline()
    waiting.communicate(timeout=60)
    assert line == f"nc: warning: {data / 'mnist'}: another process prepares it; waiting\n"
    assert waiting.returncode == ExitCode.DONE


def test_damage_is_shown_and_ends_with_exit_code_4(nc: Any, shared: Path, data: Path) -> None:
    nc("data", "prepare", "mnist", "--from", shared / "data")
    (data / "mnist" / MNIST[0]).unlink()
    (data / "mnist" / MNIST[1]).write_bytes(b"short")
    damaged = bytearray((data / "mnist" / MNIST[3]).read_bytes())
    damaged[-1] ^= 1
    (data / "mnist" / MNIST[3]).write_bytes(damaged)
    checked = nc("data", "verify", "mnist")
    assert checked.exit_code == ExitCode.DATA
    states = [line.split(maxsplit=3)[3] for line in checked.stdout.splitlines()[1:5]]
    assert states == ["missing", "wrong size", "ok", "wrong sha256"]
    assert f"{data / 'mnist'}: 3 of 4 files missing or wrong" in checked.stderr
    assert "nc data prepare mnist" in checked.stderr
    document = nc("data", "verify", "mnist", "--json").json()
    assert [file["state"] for file in document["files"]] == states
    assert document["files"][1]["size_bytes"] == 5
    assert nc("data", "verify", "mnist", "--json").exit_code == ExitCode.DATA
    repaired = nc("data", "prepare", "mnist", "--from", shared / "data", "--json").json()
    assert repaired["schema"] == "nc.data/1"
    assert repaired["brought"] == [MNIST[0], MNIST[1], MNIST[3]]
    assert {file["state"] for file in repaired["files"]} == {"ok"}


def test_nothing_prepared_is_exit_code_4(nc: Any, data: Path) -> None:
    outcome = nc("data", "verify", "kodak")
    assert outcome.exit_code == ExitCode.DATA
    assert outcome.stdout.count("missing") == 24
    assert nc("data", "path", "kodak").exit_code == ExitCode.DONE
    assert not data.exists()


def test_a_folder_without_the_files_is_exit_code_4(nc: Any, tmp_path: Path, data: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        outcome = nc("data", "prepare", "mnist", "--from", tmp_path / folder)
        assert outcome.exit_code == ExitCode.DATA
        assert outcome.stdout == ""
        assert folder in outcome.stderr


def test_a_dataset_is_converted_verified_and_described(nc: Any, shared: Path, data: Path) -> None:
    source = shared / "data" / "cifar10-format-standin"
    assert nc("info", "cifar10", "--json").json()["prepared"] is False
    first = nc("data", "prepare", "cifar10", "--from", source)
    assert first.exit_code == ExitCode.DONE
    assert "cifar10: 1,000 train and 200 test items converted from" in first.stdout
    assert f"cifar10 is ready: 4 files, 3.7 MB, in {data / 'cifar10'}" in first.stdout
    assert "officially 50,000 train and 10,000 test" in first.stderr
    document = nc("info", "cifar10:test", "--json").json()
    assert document["prepared"] is True
    assert document["items"] == {"train": 1000, "test": 200}
    assert nc("data", "verify", "cifar10").stdout.endswith("cifar10: all 4 files are right\n")
    path = data / "cifar10" / "test.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    checked = nc("data", "verify", "cifar10")
    assert checked.exit_code == ExitCode.DATA
    assert "1 of 4 files missing or wrong: test.npy" in checked.stderr
    repaired = nc("data", "prepare", "cifar10", "--from", source, "--json").json()
    assert "test.npy" in repaired["brought"]
    assert {file["state"] for file in repaired["files"]} == {"ok"}


def test_refused_files_are_exit_code_4_and_leave_nothing(nc: Any, shared: Path, data: Path) -> None:
    for name in ("cifar10", "imagenet32"):
        outcome = nc("data", "verify", name)
        assert outcome.exit_code == ExitCode.DATA
        assert f"nc data prepare {name}" in outcome.stderr
    hostile = shared / "data" / "broken" / "malicious_cifar"
    outcome = nc("data", "prepare", "cifar10", "--from", hostile)
    assert outcome.exit_code == ExitCode.DATA
    assert "data_batch_1: refused: a pickle that wants to call builtins.open" in outcome.stderr
    outcome = nc("data", "prepare", "imagenet32")
    assert outcome.exit_code == ExitCode.USAGE
    assert "--from PATH" in outcome.stderr
    assert not data.exists()


def test_an_interruption_says_how_to_go_on(
    nc: Any, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nc_core.datasets.prepare.prepare_dataset", interrupted)
    outcome = nc("data", "prepare", "mnist")
    assert outcome.exit_code == ExitCode.INTERRUPTED
    assert "run the same command again" in outcome.stderr


def test_own_files_and_unknown_names_are_refused(nc: Any, data: Path) -> None:
    outcome = nc("data", "prepare", "folder")
    assert outcome.exit_code == ExitCode.USAGE
    assert "nothing to prepare" in outcome.stderr
    outcome = nc("data", "prepare", "minst")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert "mnist" in outcome.stderr
    assert nc("data", "prepare").exit_code == ExitCode.USAGE


def test_every_help_page_ends_with_an_example(nc: Any) -> None:
    for command in ((), ("prepare",), ("verify",), ("path",)):
        page = nc("data", *command, "--help").stdout
        assert "Example" in page.strip().splitlines()[-2] + page.strip().splitlines()[-3]
        assert page.strip().splitlines()[-1].lstrip().startswith(("nc data", "ls $(nc data"))

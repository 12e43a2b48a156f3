"""Where commands read and write: streams, folders, files that cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nc_cli.reporting import explain
from nc_core.errors import ExitCode, InterruptedWorkError
from nc_core.front_door import compress


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small image file."""
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def packed(image: Path) -> Path:
    """A container with one image."""
    compress(image, image.with_name("a.png.ncz"))
    return image.with_name("a.png.ncz")


def piped(*arguments: object, data: bytes = b"") -> Any:
    return subprocess.run(
        [sys.executable, "-m", "nc_cli", *map(str, arguments)],
        input=data, capture_output=True, check=False,
    )  # fmt: skip


def test_errors_call_standard_input_by_its_name(nc, tmp_path: Path) -> None:
    done = piped("compress", "-", "-o", tmp_path / "x.ncz", data=b"no image")
    assert done.returncode == ExitCode.DATA
    assert b"standard input: not an image" in done.stderr
    assert b"stdin.png" not in done.stderr


def test_standard_input_is_read_only_once(nc) -> None:
    outcome = nc("compress", "-", "-", "-o", "x.ncz")
    assert outcome.exit_code == ExitCode.USAGE
    assert "only once" in outcome.stderr


@pytest.mark.parametrize("option", ["--resume", "--force"])
def test_options_without_meaning_for_standard_output_are_refused(
    nc, image: Path, option: str
) -> None:
    outcome = nc("compress", image, "-o", "-", option)
    assert outcome.exit_code == ExitCode.USAGE
    assert option in outcome.stderr


def test_decompressing_to_standard_output_cannot_be_resumed(nc, packed: Path) -> None:
    outcome = nc("decompress", packed, "-o", "-", "--resume")
    assert outcome.exit_code == ExitCode.USAGE
    assert "--resume has no meaning for standard output" in outcome.stderr


def test_a_caller_may_close_standard_input() -> None:
    command = f"{sys.executable} -m nc_cli compress - -o x.ncz <&-"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
    assert done.returncode == ExitCode.DATA, done.stderr
    assert b"AttributeError" not in done.stderr


def test_a_file_in_the_place_of_a_folder_is_said_to_be_none(nc, image: Path, packed: Path) -> None:
    outcome = nc("decompress", packed, "-o", image)
    assert outcome.exit_code == ExitCode.DATA
    assert "a.png: not a folder" in outcome.stderr


def test_files_are_counted_in_words(nc, packed: Path, tmp_path: Path) -> None:
    outcome = nc("decompress", packed, "-o", tmp_path / "out")
    assert outcome.stderr.startswith("nc: 1 file restored and verified")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_an_error_of_data(nc, image: Path, packed: Path) -> None:
    image.chmod(0)
    packed.chmod(0)
    assert nc("compress", image, "-o", "x.ncz").exit_code == ExitCode.DATA
    assert nc("compare", image).exit_code == ExitCode.DATA
    assert nc("decompress", packed).exit_code == ExitCode.DATA


def test_no_path_of_a_command_is_checked_by_the_parser() -> None:
    """Its exit code would be that of a wrong command line."""
    import click

    from nc_cli.commands import compare, data, decompress
    from nc_cli.commands import compress as compressing

    commands = [compressing.command, compare.command, decompress.command, data.prepare]
    paths = [p.type for c in commands for p in c.params if isinstance(p.type, click.Path)]
    assert len(paths) >= 7
    assert not any(path.readable or path.exists for path in paths)


def test_verbose_says_which_model_and_coder_and_the_plan(nc, image: Path, tmp_path: Path) -> None:
    outcome = nc("compress", image, "-o", tmp_path / "x.ncz", "-v")
    assert "nc: model predictive (id " in outcome.stderr
    assert "coder rans" in outcome.stderr
    plan = "nc: chunk plan: items 1, blocks 1, chunks 1 (at most 1 blocks each), lanes 1"
    assert outcome.stderr.count(plan) == 1
    outcome = nc("decompress", tmp_path / "x.ncz", "-o", tmp_path / "out", "-v")
    assert "model predictive" in outcome.stderr


def test_a_model_named_twice_is_compared_once(nc, image: Path, tmp_path: Path) -> None:
    names = ("--model", "predictive@nc-core", "--model", "predictive")
    outcome = nc("compare", image, *names, "--codec", "png", "-o", tmp_path / "out", "--json")
    assert outcome.exit_code == ExitCode.DONE, outcome.stderr
    assert [row["codec"] for row in outcome.json()["rows"] if row["kind"] == "nc"] == ["predictive"]
    assert (tmp_path / "out" / "a.png.ncz").exists()


def test_an_evaluator_without_model_refuses_one(nc, image: Path) -> None:
    dataset = f"folder:{image.parent}"
    outcome = nc("eval", "classical", "--dataset", dataset, "--model", "predictive")
    assert outcome.exit_code == ExitCode.USAGE
    assert nc("eval", "rate", "--dataset", dataset).exit_code == ExitCode.USAGE


def test_an_unknown_name_far_from_all_is_told_where_to_look(nc, image: Path) -> None:
    for option, kind in (("--model", "models"), ("--coder", "coders")):
        outcome = nc("compress", image, option, "zzz")
        assert outcome.exit_code == ExitCode.PLUGIN
        assert f"'nc list {kind}' shows what is installed" in outcome.stderr


def test_an_interruption_is_not_called_an_error() -> None:
    report = explain(InterruptedWorkError("interrupted; nothing was written"))
    assert str(report) == "nc: interrupted; nothing was written"

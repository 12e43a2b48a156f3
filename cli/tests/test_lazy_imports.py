"""What is imported by help, lists and completion: nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nc_core.testing.distributions import write_distribution

HEAVY = {
    "PIL",
    "imagecodecs",
    "llvmlite",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "platformdirs",
    "pooch",
    "pydantic",
    "requests",
    "rich",
    "scipy",
    "torch",
    "yaml",
}
PLUGIN = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec, ModelSpec

@hookimpl
def nc_models():
    return [ModelSpec(name="heavy", summary="a model", target="heavy_model:load")]

@hookimpl
def nc_commands():
    return [CommandSpec(name="heavy", summary="A paper.", target="heavy_cli:command")]
"""
CLI = """
import click

@click.group()
def command():
    "A paper."

@command.command()
def train():
    "Trains."
    import numpy
"""
PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=open({report!r}, "w")))
from nc_cli.app import main
sys.argv = ["nc", *{arguments!r}]
main()
"""


def modules_of(
    tmp_path: Path, arguments: list[str], environment: dict[str, str] | None = None
) -> set[str]:
    """Names of all modules in a fresh process after a command."""
    if not (tmp_path / "heavy_plugin.py").exists():
        modules = {"heavy_plugin": PLUGIN, "heavy_cli": CLI, "heavy_model": "import numpy"}
        write_distribution(tmp_path, "nc-heavy", modules, {"heavy": "heavy_plugin"})
    report = tmp_path / "modules.txt"
    program = PROGRAM.format(report=str(report), arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ
        | {"PYTHONPATH": str(tmp_path), "NC_PLUGINS": "nc-heavy"}
        | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(report.read_text().split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "--json"],
        ["list", "models"],
        ["plugin", "list"],
        ["plugin", "list", "--broken"],
        ["plugin", "new", "--help"],
        ["doctor", "--help"],
        ["run", "--help"],
        ["run", "heavy", "--help"],
        ["run", "heavy", "train", "--help"],
        ["compress", "--help"],
        ["decompress", "--help"],
        ["info", "--help"],
        ["eval", "--help"],
        ["compare", "--help"],
        ["sweep", "--help"],
        ["data", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_lists_import_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    assert HEAVY & modules_of(tmp_path, arguments) == set()


@pytest.mark.parametrize("words", ["nc ", "nc run ", "nc compress --model ", "nc run heavy "])
def test_completion_imports_nothing_heavy(tmp_path: Path, words: str) -> None:
    completion = {
        "_NC_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split())),
    }
    assert HEAVY & modules_of(tmp_path, [], completion) == set()


def test_root_help_does_not_even_look_for_plugins(tmp_path: Path) -> None:
    modules = modules_of(tmp_path, ["--help"])
    assert {"pluggy", "importlib.metadata", "nc_core.plugins"} & modules == set()


def test_listing_papers_does_not_import_their_commands(tmp_path: Path) -> None:
    modules = modules_of(tmp_path, ["run", "--help"])
    assert "heavy_plugin" in modules
    assert "heavy_cli" not in modules

"""The root command: help, version, and the ways to start it."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import pytest

from nc_cli import __version__
from nc_cli.app import root
from nc_core.errors import ExitCode

COMMANDS = ("compress", "decompress", "info", "eval", "compare", "data", "list", "run", "plugin")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command_with_its_summary(nc, option: str) -> None:
    outcome = nc(option)
    assert outcome.exit_code == ExitCode.DONE
    for name in COMMANDS:
        [line] = [line for line in outcome.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert line.rstrip().endswith(".")


def test_help_pages_fit_a_terminal_of_80_columns(nc) -> None:
    for arguments in ([], ["list"], ["run"], ["plugin"], ["plugin", "list"]):
        assert max(map(len, nc(*arguments, "--help").stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_the_table_is_importable(nc, name: str) -> None:
    outcome = nc(name, "--help")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.stdout.startswith(f"Usage: nc {name} ")


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS), ["plugin", "list"]])
def test_every_help_page_ends_with_an_example(nc, arguments: list[str]) -> None:
    lines = nc(*arguments, "--help").stdout.rstrip().splitlines()
    assert lines[-1].strip().startswith(("nc ", "cat "))


def test_help_without_a_command_is_a_usage_error_on_standard_error(nc) -> None:
    outcome = nc()
    assert (outcome.exit_code, outcome.stdout) == (ExitCode.USAGE, "")
    assert outcome.stderr.startswith("Usage: nc ")


def test_the_version_names_core_and_python_too(nc) -> None:
    assert nc("--version").stdout.startswith(f"nc {__version__} (nc-core ")


def test_the_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("nc-cli") == __version__


def test_both_console_scripts_start_the_same_program() -> None:
    scripts = importlib.metadata.distribution("nc-cli").entry_points.select(group="console_scripts")
    assert {script.name: script.value for script in scripts} == {
        "nc": "nc_cli.entry:main",
        "nctool": "nc_cli.entry:main",
    }


def test_the_module_can_be_run() -> None:
    command = [sys.executable, "-m", "nc_cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"nc {__version__}")


def test_a_misspelt_command_gets_a_suggestion(nc) -> None:
    outcome = nc("lst")
    assert outcome.exit_code == ExitCode.USAGE
    assert outcome.stderr == (
        "nc: error: no such command 'lst'; did you mean 'list'?\nsee 'nc --help'\n"
    )


def test_the_name_of_a_paper_gets_the_command_that_runs_it(nc, add_paper) -> None:
    add_paper("vae", "import click\ncommand = click.Group('vae')\n")
    outcome = nc("vae", "train")
    assert outcome.exit_code == ExitCode.USAGE
    assert outcome.stderr == "nc: error: no such command 'vae'\ndid you mean 'nc run vae'?\n"


def test_an_unknown_option_is_refused_in_two_lines(nc) -> None:
    outcome = nc("list", "--jsno")
    assert outcome.exit_code == ExitCode.USAGE
    assert outcome.stderr.startswith("nc: error: no such option")
    assert outcome.stderr.endswith("see 'nc list --help'\n")
    assert len(outcome.stderr.splitlines()) == 2


def test_without_standalone_mode_errors_come_out_as_exceptions() -> None:
    with pytest.raises(Exception, match="no such command"):
        root.main(["nonsense"], standalone_mode=False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_written(shell: str) -> None:
    done = complete("", 0, instruction=f"{shell}_source")
    assert "_NC_COMPLETE" in done


def test_commands_are_completed() -> None:
    assert "plain,decompress" in complete("nc dec", 1)


def test_subcommands_are_completed() -> None:
    assert complete("nc plugin l", 2) == "plain,list"


def test_names_that_plugins_provide_are_completed() -> None:
    assert "plain,rans-numpy" in complete("nc compress --coder rans", 3)
    assert "plain,predictive" in complete("nc compress --model pred", 3)
    assert "plain,mnist" in complete("nc compress --dataset mn", 3)


def test_completion_after_an_unknown_command_is_empty() -> None:
    assert complete("nc nonsense x", 2) == ""
    assert complete("nc run nonsense x", 3) == ""


def complete(words: str, position: int, instruction: str = "bash_complete") -> str:
    """What the shell gets; the last word is being completed."""
    program = "from nc_cli.app import root; root.main([], prog_name='nc')"
    environment = os.environ | {
        "_NC_COMPLETE": instruction,
        "COMP_WORDS": words,
        "COMP_CWORD": str(position),
        "NC_PLUGINS": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "" or instruction == "bash_source"
    return done.stdout.strip()


def test_an_interruption_of_the_first_imports_is_one_line() -> None:
    program = (
        "import sys, builtins\n"
        "real = builtins.__import__\n"
        "def stop(name, *rest):\n"
        "    if name == 'nc_cli.app': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "from nc_cli.entry import main\n"
        "builtins.__import__ = stop\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "nc: interrupted\n")

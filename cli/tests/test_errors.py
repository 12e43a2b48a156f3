"""Every way in which a command ends: message, hint, exit code, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nc_cli.reporting import explain
from nc_core.errors import ExitCode
from nc_core.testing.distributions import write_distribution

PAPER = '''
import os
import warnings

import click

from nc_core.errors import (
    CorruptFileError, DataError, MissingDependencyError, PluginError, UsageError, WorkError
)


class Stopped(KeyboardInterrupt):
    pass


def truncated():
    try:
        raise EOFError("no data left")
    except EOFError as error:
        try:
            raise CorruptFileError("a.ncz: truncated") from error
        except CorruptFileError as chained:
            return chained


def noted():
    error = KeyboardInterrupt()
    error.add_note("go on with: nc run fails --resume")
    return error


ENDS = {
    "done": None,
    "work": WorkError("diverged at step 7", "use a smaller learning rate"),
    "usage": UsageError("both --a and --b"),
    "plugin": PluginError("no model 'x'"),
    "dependency": MissingDependencyError("model 'x' needs torch", "pip install torch"),
    "data": DataError("a.png: not an image"),
    "corrupt": CorruptFileError("a.ncz: damaged in chunk 3"),
    "truncated": truncated(),
    "parameter": click.BadParameter("not a number."),
    "file": click.FileError("a.png", "not there"),
    "missing-file": FileNotFoundError(2, "No such file or directory", "a.png"),
    "os": OSError("the device is busy"),
    "full": OSError(28, "No space left on device"),
    "interrupt": KeyboardInterrupt(),
    "stopped": Stopped("go on with: nc run fails --resume"),
    "noted": noted(),
    "abort": click.Abort(),
    "memory": MemoryError("Unable to allocate 3 TiB"),
    "eof": EOFError("no data left"),
    "bug": ZeroDivisionError("division by zero\\nand more"),
    "nameless-bug": AssertionError(),
}


@click.group()
def command():
    """Fails."""


@command.command()
@click.argument("how")
def end(how):
    """Ends in a given way."""
    if ENDS[how] is not None:
        raise ENDS[how]
    click.echo("result")


@command.command()
def warn():
    warnings.warn("this is deprecated", UserWarning)
    click.echo("result")


@command.command()
def talk():
    import logging
    for name in ("nc_fails", "other"):
        logging.getLogger(name).info("%s informs", name)
        logging.getLogger(name).debug("%s debugs", name)
    logging.getLogger("other").warning("other warns")


@command.command()
def flood():
    import sys
    sys.stdout.write("line\\n" * 100_000)


@command.command()
def wait():
    import time
    click.echo("waiting")
    time.sleep(60)


@command.command()
def leave():
    click.get_current_context().exit(4)
'''


@pytest.fixture
def fails(nc, add_paper):
    add_paper("fails", PAPER)

    def run(*arguments: str):
        return nc("run", "fails", *arguments)

    return run


@pytest.fixture
def process(tmp_path: Path):
    """A function that runs the paper in a process of its own."""
    write_distribution(
        tmp_path,
        "nc-fails",
        {
            "fails_paper": PAPER,
            "fails_plugin": (
                "from nc_core.hookspecs import hookimpl\n"
                "from nc_core.specs import CommandSpec\n"
                "print('hello from a noisy plugin')\n"
                "@hookimpl\n"
                "def nc_commands():\n"
                "    target = 'fails_paper:command'\n"
                "    return [CommandSpec(name='fails', summary='Fails.', target=target)]\n"
            ),
        },
        {"fails": "fails_plugin"},
    )

    def run(*arguments: str, start=subprocess.run, **settings):
        return start(
            [sys.executable, "-m", "nc_cli", "run", "fails", *arguments],
            env=os.environ | {"PYTHONPATH": str(tmp_path), "NC_PLUGINS": "nc-fails"},
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings,
        )

    return run


def test_a_command_that_does_its_work_ends_well(fails) -> None:
    outcome = fails("end", "done")
    assert (outcome.exit_code, outcome.stdout) == (ExitCode.DONE, "result\n")


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("work", ExitCode.FAILED, "error: diverged at step 7\nuse a smaller learning rate"),
        ("usage", ExitCode.USAGE, "error: both --a and --b"),
        ("plugin", ExitCode.PLUGIN, "error: no model 'x'"),
        ("dependency", ExitCode.PLUGIN, "error: model 'x' needs torch\npip install torch"),
        ("data", ExitCode.DATA, "error: a.png: not an image"),
        ("corrupt", ExitCode.CORRUPT, "error: a.ncz: damaged in chunk 3"),
        ("truncated", ExitCode.CORRUPT, "error: a.ncz: truncated"),
        ("file", ExitCode.DATA, "error: could not open file 'a.png': not there"),
        ("missing-file", ExitCode.DATA, "error: a.png: no such file or directory"),
        ("interrupt", ExitCode.INTERRUPTED, "interrupted"),
        ("stopped", ExitCode.INTERRUPTED, "interrupted\ngo on with: nc run fails --resume"),
        ("noted", ExitCode.INTERRUPTED, "interrupted\ngo on with: nc run fails --resume"),
        ("abort", ExitCode.INTERRUPTED, "interrupted"),
    ],
)
def test_an_error_is_a_message_a_hint_and_an_exit_code(fails, how, code, message) -> None:
    outcome = fails("end", how)
    assert outcome.exit_code == code
    assert outcome.stdout == ""
    assert outcome.stderr.strip() == f"nc: {message}"


def test_what_click_finds_wrong_has_the_same_form(fails) -> None:
    outcome = fails("end", "parameter")
    assert outcome.exit_code == ExitCode.USAGE
    assert outcome.stderr.startswith("nc: error: invalid value: not a number\n")
    assert outcome.stderr.endswith("see 'nc run fails end --help'\n")


def test_a_missing_argument_names_it_and_the_help_page(fails) -> None:
    outcome = fails("end")
    assert outcome.exit_code == ExitCode.USAGE
    assert outcome.stderr == ("nc: error: missing argument 'HOW'\nsee 'nc run fails end --help'\n")


def test_a_group_without_subcommand_shows_its_help(fails) -> None:
    outcome = fails()
    assert outcome.exit_code == ExitCode.USAGE
    assert outcome.stderr.startswith("Usage: nc run fails ")


def test_a_command_may_choose_its_exit_code(fails) -> None:
    assert fails("leave").exit_code == ExitCode.DATA


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("bug", "error: unexpected ZeroDivisionError: division by zero"),
        ("nameless-bug", "error: unexpected AssertionError"),
        ("eof", "error: unexpected EOFError: no data left"),
        ("os", "error: unexpected OSError: the device is busy"),
        ("full", "error: no space left on device"),
    ],
)
def test_an_unexpected_error_is_two_lines(process, how, message) -> None:
    done = process("end", how)
    assert done.returncode == ExitCode.FAILED
    assert done.stdout == ""
    message_line, hint = done.stderr.strip().splitlines()[-2:]
    assert message_line == f"nc: {message}"
    assert "--debug" in hint
    assert "Traceback" not in done.stderr


def test_too_little_memory_is_said_as_such(process) -> None:
    done = process("end", "memory")
    assert done.returncode == ExitCode.FAILED
    assert "nc: error: not enough memory\nUnable to allocate 3 TiB" in done.stderr


@pytest.mark.parametrize("how", ["bug", "data"])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(process, how) -> None:
    done = process("end", how, "--debug")
    assert done.returncode == (ExitCode.DATA if how == "data" else ExitCode.FAILED)
    assert "Traceback" in done.stderr
    assert "nc: error: " in done.stderr.strip().splitlines()[-2 if how == "bug" else -1]


def test_debug_works_before_the_subcommand_too(nc) -> None:
    outcome = nc("--debug", "run", "nonsense")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert "Traceback" in outcome.stderr


def test_a_warning_is_one_line_without_code(process) -> None:
    done = process("warn")
    assert done.stdout == "result\n"
    assert done.stderr.strip().splitlines()[-1] == "nc: warning: this is deprecated"
    assert "warnings.warn" not in done.stderr


def test_what_a_plugin_prints_while_it_loads_is_no_result(process) -> None:
    done = process("end", "done")
    assert done.stdout == "result\n"
    assert "hello from a noisy plugin" in done.stderr


def test_a_reader_that_goes_away_is_no_spectacle(process) -> None:
    read, write = os.pipe()
    os.close(read)
    done = process("flood", stdout=write)
    os.close(write)
    assert done.returncode == ExitCode.FAILED
    assert "Error" not in done.stderr
    assert "error" not in done.stderr


def test_control_c_ends_a_process_with_its_own_exit_code(process) -> None:
    with process("wait", start=subprocess.Popen) as running:
        assert running.stdout.readline() == "waiting\n"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == ExitCode.INTERRUPTED
    assert errors.strip().splitlines()[-1] == "nc: interrupted"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_a_full_disk_is_said_as_such(process) -> None:
    with Path("/dev/full").open("w") as full:
        done = process("end", "done", stdout=full)
    assert done.returncode == ExitCode.FAILED
    assert "nc: error: no space left on device\n" in done.stderr


def test_closed_standard_streams_are_no_error() -> None:
    program = f"exec {sys.executable} -m nc_cli list >&- 2>&-"
    assert subprocess.run(["sh", "-c", program], check=False).returncode == ExitCode.DONE


def test_without_v_only_warnings_are_logged(fails) -> None:
    assert "informs" not in fails("talk").stderr


def test_v_logs_what_packages_of_nc_do(fails) -> None:
    outcome = fails("talk", "-v")
    assert outcome.stderr.splitlines() == ["nc: nc_fails informs", "nc: other warns"]


def test_vv_logs_details_and_works_before_the_subcommand(nc, fails) -> None:
    outcome = nc("-vv", "run", "fails", "talk")
    assert "nc: nc_fails debugs" in outcome.stderr.splitlines()
    assert "other debugs" not in outcome.stderr


def test_an_interruption_before_any_command_runs_is_explained_too() -> None:
    report = explain(KeyboardInterrupt())
    assert (str(report), report.exit_code) == ("nc: interrupted", ExitCode.INTERRUPTED)

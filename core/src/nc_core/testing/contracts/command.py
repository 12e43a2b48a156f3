"""The contract of a paper's commands: quick and complete help, and usage errors that say so."""

from __future__ import annotations

import importlib.resources
import importlib.util
import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nc_core.errors import ExitCode
from nc_core.plugins import PluginManager
from nc_core.specs import CommandSpec
from nc_core.testing.contract import Subject, require
from nc_core.testing.fresh import Report, run_afresh
from nc_core.testing.import_audit import audit_command, walk_commands

if TYPE_CHECKING:
    import click

__all__ = ["CHECKS", "CommandSubject"]

_SECONDS = 120.0
_KEBAB = re.compile(r"--?[a-z0-9]+(-[a-z0-9]+)*")


class CommandSubject(Subject):
    """The commands of a paper.

    Args:
        location: the paper's name, as in ``nc run NAME``.
        manager: where it is looked up.
    """

    def __init__(self, location: str, manager: PluginManager) -> None:
        super().__init__(manager)
        self.location = location
        self.spec = manager.find(CommandSpec, location)

    @cached_property
    def command(self) -> Any:
        """What the target is."""
        return self.spec.load()

    @cached_property
    def report(self) -> Report:
        """Help and usage errors of every command, in a fresh process."""
        return run_afresh(
            audit_command,
            self.manager,
            {"location": self.location},
            seconds=_SECONDS,
        )

    def events(self, name: str) -> Iterator[Any]:
        """The events of that name, once the process has come to its end."""
        self.report.event("end", f"show the help of every command of '{self.spec.name}'")
        return (event for event in self.report.events if event["event"] == name)

    def walk(self) -> Iterator[tuple[str, click.Command]]:
        """Every command with its path, the paper's own first."""
        for path, command in walk_commands(self.command, (self.spec.name,)):
            yield " ".join(path), command


def it_is_a_click_command(command: CommandSubject) -> None:
    """The target is a click command."""
    import click

    found = type(command.command).__name__
    require(
        isinstance(command.command, click.Command),
        f"{command.spec.target} is a {found}, not a click command",
    )


def help_imports_nothing_heavy(command: CommandSubject) -> None:
    """The help of every command imports nothing heavy."""
    for event in command.events("help"):
        require(
            not event["heavy"],
            f"'nc run {event['path']} --help' imports {', '.join(event['heavy'])}; "
            "import that inside the function of the command",
        )


def help_is_shown_for_every_command(command: CommandSubject) -> None:
    """--help works for every command."""
    for event in command.events("help"):
        require(
            event["code"] == ExitCode.DONE and "Usage:" in event["output"],
            f"'nc run {event['path']} --help' ends with exit code {event['code']}",
        )


def every_command_says_what_it_does(command: CommandSubject) -> None:
    """Every command has a help text."""
    for path, one in command.walk():
        require(bool((one.help or "").strip()), f"'nc run {path}' has no help text")


def every_option_has_a_help_text(command: CommandSubject) -> None:
    """Every option has a help text."""
    import click

    for path, one in command.walk():
        for option in one.params:
            if isinstance(option, click.Option) and not option.hidden:
                require(
                    bool((option.help or "").strip()),
                    f"option {option.opts[-1]} of 'nc run {path}' has no help text",
                )


def options_are_in_kebab_case(command: CommandSubject) -> None:
    """Commands and options are spelt in kebab-case."""
    import click

    for path, one in command.walk():
        name = path.rpartition(" ")[2]
        require(bool(_KEBAB.fullmatch(f"--{name}")), f"command '{path}' is not in kebab-case")
        for option in one.params:
            for spelling in (*option.opts, *option.secondary_opts):
                require(
                    not isinstance(option, click.Option)
                    or bool(_KEBAB.fullmatch(spelling.lower() if len(spelling) == 2 else spelling)),
                    f"option {spelling} of 'nc run {path}' is not in kebab-case",
                )


def wrong_usage_ends_with_exit_code_2(command: CommandSubject) -> None:
    """An unknown option or command ends with exit code 2 and a message that names it."""
    for event in command.events("usage"):
        line = f"'nc run {event['path']} {event['wrong']}'"
        require(
            event["code"] == ExitCode.USAGE,
            f"{line} ends with exit code {event['code']}, not {int(ExitCode.USAGE)}",
        )
        require(event["wrong"] in event["output"], f"{line} does not say what is wrong")


def its_recipes_are_in_the_package(command: CommandSubject) -> None:
    """Every recipe that is declared is in the package."""
    package = command.spec.target.partition(":")[0].partition(".")[0]
    found = importlib.util.find_spec(package)
    is_package = found is not None and found.submodule_search_locations is not None
    for name in command.spec.recipes:
        require(
            is_package
            and importlib.resources.files(package).joinpath(f"recipes/{name}.yaml").is_file(),
            f"recipe '{name}' is declared, but package {package} has no recipes/{name}.yaml",
        )


CHECKS = (
    it_is_a_click_command,
    help_imports_nothing_heavy,
    help_is_shown_for_every_command,
    every_command_says_what_it_does,
    every_option_has_a_help_text,
    options_are_in_kebab_case,
    wrong_usage_ends_with_exit_code_2,
    its_recipes_are_in_the_package,
)

"""Groups whose commands are imported only when they run.

click asks every subcommand for its summary when it prints the help of a group, so a light
stand-in carries name and summary, and the command behind it is imported when it is resolved.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from nc_cli.options import common_options
from nc_core.errors import PluginError

__all__ = ["Entry", "LazyGroup", "StandIn", "with_common_options"]


@dataclass(frozen=True)
class Entry:
    """A command that is not imported yet.

    Args:
        target: ``"package.module:attribute"``, the attribute being a click command.
        summary: one line for the help of the group.
        section: heading under which the group's help lists it.
    """

    target: str
    summary: str
    section: str = "Commands"

    def load(self) -> click.Command:
        """Import the command.

        Raises:
            PluginError: it cannot be imported.
        """
        module, _, attribute = self.target.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise PluginError(f"{self.target} cannot be imported: {error}") from error
        if not isinstance(command, click.Command):
            raise PluginError(f"{self.target} is not a click command")
        return command


class StandIn(click.Command):
    """Name and summary of a command for help and completion; it cannot run."""

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, short_help=summary, help=summary)


class LazyGroup(click.Group):
    """A group that knows its commands from a table, in the order of the table.

    Args:
        entries: what there is, by name.
        **settings: as for :class:`click.Group`.
    """

    def __init__(self, *, entries: Mapping[str, Entry], **settings: Any) -> None:
        super().__init__(**settings)
        self.entries = entries
        for name, entry in entries.items():
            self.add_command(StandIn(name, entry.summary), name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.commands)

    def load_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command itself, imported; None where there is none of that name."""
        entry = self.entries.get(name)
        return None if entry is None else entry.load()

    def unknown_command(self, ctx: click.Context, name: str) -> Exception:
        """The error for a name that the group does not have."""
        from nc_core.lookup import did_you_mean

        return click.UsageError(f"no such command '{name}'{did_you_mean(name, self.commands)}", ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant, imported.

        Raises:
            UsageError: there is none of that name.
        """
        name = args[0]
        command = self.load_command(ctx, name)
        if command is not None:
            return name, with_common_options(command), args[1:]
        if ctx.resilient_parsing:
            return None, None, args[1:]
        raise self.unknown_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under the headings of their sections."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            sections.setdefault(entry.section, []).append((name, entry.summary))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


def with_common_options(command: click.Command) -> click.Command:
    """A copy of a command, and of the commands of a plain group, that takes ``-v`` and ``--debug``.

    So they work after every subcommand, those of papers too, and keep any meaning of their own
    that a command gives to these spellings.
    """
    extended = copy.copy(command)
    taken = {
        spelling for option in command.params for spelling in (*option.opts, *option.secondary_opts)
    }
    added = common_options()
    for option in added:
        option.opts = [spelling for spelling in option.opts if spelling not in taken]
    extended.params = [*command.params, *(option for option in added if option.opts)]
    if isinstance(extended, click.Group) and not isinstance(extended, LazyGroup):
        commands = extended.commands.items()
        extended.commands = {name: with_common_options(child) for name, child in commands}
    return extended

"""Writes the reference pages that are made from the code; ``--check`` only compares them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from nc_cli.app import root
from nc_cli.session import Session
from nc_core.plugins import PluginManager

PAGE = Path(__file__).parent / "reference" / "commands.md"


def main() -> int:
    """Write the page, or compare it; exit code 1 when it is stale."""
    text = "# Commands\n\nMade from the programs' own help by `nox -s docs`.\n"
    for path, help_text in pages(root, None, "nc"):
        text += f"\n## {path}\n\n```text\n{help_text.rstrip()}\n```\n"
    if "--check" in sys.argv:
        return 0 if PAGE.read_text() == text else 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text)
    return 0


def pages(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[str, str]]:
    """Path and help of a command and all below it, with core's plugins only."""
    plugins = PluginManager()
    plugins.discover({"NC_PLUGINS": ""})
    context = click.Context(
        command, parent, name, obj=Session(plugins), terminal_width=80, max_content_width=80,
        **command.context_settings,
    )  # fmt: skip
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.resolve_command(context, [child_name])[1]
            if child is not None:
                yield from pages(child, context, child_name)


if __name__ == "__main__":
    sys.exit(main())

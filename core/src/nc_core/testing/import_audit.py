"""What is imported by a plugin's module, its hooks and its help: runs in a fresh process."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nc_core.testing.fresh import manager_with

if TYPE_CHECKING:
    import click

__all__ = ["HEAVY", "audit_command", "audit_plugin", "walk_commands"]

HEAVY = frozenset(
    (
        "PIL", "imagecodecs", "jax", "lightning_fabric", "llvmlite", "matplotlib", "numba", "numpy",
        "pandas", "platformdirs", "pooch", "pydantic", "requests", "rich", "safetensors", "scipy",
        "sklearn", "tensorflow", "torch", "torchvision", "yaml",
    )
)  # fmt: skip
"""Modules that take too long to import for a list or a help page."""

Event = dict[str, Any]


def audit_plugin(plugin: str, distribution: str, files: list[str]) -> Iterator[Event]:
    """Load a plugin and call its hooks; tells the heavy modules that this imported."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        manager = manager_with(
            [file for file in files if Path(file).name == distribution],
            {**os.environ, "NC_PLUGINS": distribution},
        )
    yield {
        "event": "loaded",
        "found": (plugin, distribution) in {(p.name, p.distribution) for p in manager.plugins},
        "heavy": _heavy(),
        "printed": printed.getvalue()[:200],
    }


def audit_command(location: str, files: list[str]) -> Iterator[Event]:
    """Import a paper's command and ask each of its commands for help, as ``nc`` does.

    Yields:
        event ``help`` for every command: its path, text and exit code, and the heavy modules
        that came with it; event ``usage``: what an unknown option and command end in.
    """
    from nc_core.specs import CommandSpec

    spec = manager_with(files).find(CommandSpec, location)
    before: set[str] = set()
    command = spec.load()
    for path, child in walk_commands(command, (spec.name,)):
        output, code = _run(command, [*path[1:], "--help"])
        after = set(_heavy())
        yield {
            "event": "help", "path": " ".join(path), "output": output, "code": code,
            "heavy": sorted(after - before),
        }  # fmt: skip
        before = after
        wrong = ["--no-such-option"]
        if hasattr(child, "commands"):
            wrong = ["no-such-command"]
        output, code = _run(command, [*path[1:], *wrong])
        yield {
            "event": "usage", "path": " ".join(path), "wrong": wrong[0], "output": output,
            "code": code,
        }  # fmt: skip
    yield {"event": "end"}


def walk_commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all commands below it, with their paths."""
    import click

    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from walk_commands(child, (*path, name))


def _run(command: click.Command, arguments: list[str]) -> tuple[str, object]:
    """Output and exit code of a command line, as a process of its own would have them."""
    output = io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            command.main(arguments, prog_name=command.name, standalone_mode=True)
        except SystemExit as end:
            code = end.code
    return output.getvalue(), code or 0


def _heavy() -> list[str]:
    return sorted(HEAVY & {name.partition(".")[0] for name in sys.modules})

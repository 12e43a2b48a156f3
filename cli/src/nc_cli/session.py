"""What all commands of one invocation share."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import cached_property
from typing import TYPE_CHECKING

import click

from nc_core.command_line.console import label_logged_warnings, warn

if TYPE_CHECKING:
    from pathlib import Path

    from nc_core.plugins import PluginManager

__all__ = ["Session", "current_session"]


class Session:
    """One invocation of ``nc``: its plugins, and how much the user wants to see.

    Args:
        plugins: the manager to use; by default, everything that is installed.
        debug: show the traceback of an error.

    Attributes:
        plugin_files: the files that the user named.
    """

    def __init__(self, plugins: PluginManager | None = None, *, debug: bool = False) -> None:
        self.debug = debug
        self.verbosity = 0
        self.plugin_files: list[Path] = []
        if plugins is not None:
            self.plugins = plugins

    @cached_property
    def plugins(self) -> PluginManager:
        """The plugin manager, made when it is first asked for."""
        from nc_core.plugins import PluginManager

        label_logged_warnings()
        manager = PluginManager()
        # What a plugin prints while it is imported must not end up among the results.
        with redirect_stdout(sys.stderr):
            manager.discover()
        for file in self.plugin_files:
            _load_file(manager, file)
        return manager

    def add_plugin_file(self, file: Path) -> None:
        """A plugin of one file that the user names; loaded when plugins are asked for."""
        self.plugin_files.append(file)
        if "plugins" in vars(self):
            _load_file(self.plugins, file)


def _load_file(manager: PluginManager, file: Path) -> None:
    """Load a plugin file; the user, who named it, is told at once what is wrong with it."""
    with redirect_stdout(sys.stderr):
        plugin = manager.load_file(file)
    for fault in manager.broken:
        if fault.distribution == plugin.distribution:
            warn(f"plugin {file}: {fault.reason}")


def current_session(context: click.Context | None = None) -> Session:
    """The session of the running command.

    Args:
        context: click's context; by default, the current one.
    """
    root = (context or click.get_current_context()).find_root()
    return root.ensure_object(Session)

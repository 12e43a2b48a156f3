"""What all commands of one invocation share."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import cached_property
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = ["Session", "current_session"]


class Session:
    """One invocation of ``nc``: its plugins, and how much the user wants to see.

    Args:
        plugins: the manager to use; by default, everything that is installed.
        debug: show the traceback of an error.
    """

    def __init__(self, plugins: PluginManager | None = None, *, debug: bool = False) -> None:
        self.debug = debug
        self.verbosity = 0
        if plugins is not None:
            self.plugins = plugins

    @cached_property
    def plugins(self) -> PluginManager:
        """The plugin manager, made when it is first asked for."""
        from nc_core.plugins import PluginManager

        manager = PluginManager()
        # What a plugin prints while it is imported must not end up among the results.
        with redirect_stdout(sys.stderr):
            manager.discover()
        return manager


def current_session(context: click.Context | None = None) -> Session:
    """The session of the running command.

    Args:
        context: click's context; by default, the current one.
    """
    root = (context or click.get_current_context()).find_root()
    return root.ensure_object(Session)

"""``nc plugin``: what is installed, and what is wrong with it."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from nc_cli import options
from nc_cli.console import print_json, print_table, print_text
from nc_cli.session import current_session
from nc_core.plugins import HOOKS, BrokenPlugin, Plugin, PluginManager

__all__ = ["command"]

SCHEMA = "nc.plugins/1"
_TITLES = {"nc_commands": "papers"}


@click.group("plugin", epilog=options.examples("nc plugin list", "nc plugin list --broken"))
def command() -> None:
    """Show installed plugins, and what is wrong with them.

    A plugin is a module named by an entry point of the group 'nc'. NC_PLUGINS (names of plugins
    or distributions, separated by commas) loads no others besides nc-core; NC_DISABLE_PLUGINS
    loads all but those it names.
    """


@command.command(
    "list",
    short_help="List installed plugins.",
    epilog=options.examples("nc plugin list", "nc plugin list --broken --traceback"),
)
@click.option("--broken", is_flag=True, help="Show only what is wrong, and why.")
@click.option("--traceback", is_flag=True, help="With --broken: show tracebacks.")
@options.json_output()
def list_plugins(broken: bool, traceback: bool, as_json: bool) -> None:
    """List installed plugins: distribution, version, state, and what each provides."""
    session = current_session()
    plugins = session.plugins
    if as_json:
        documents = [_document(plugins, plugin) for plugin in plugins.plugins]
        chosen = [document for document in documents if document["problems"] or not broken]
        print_json({"schema": SCHEMA, "plugins": chosen})
    elif broken:
        _print_broken(plugins, traceback=traceback or session.debug)
    else:
        rows = [_row(plugins, plugin) for plugin in plugins.plugins]
        print_table(rows, ["distribution", "version", "plugin", "state", "provides"])


def _row(plugins: PluginManager, plugin: Plugin) -> list[str | None]:
    """The row of one plugin; what it provides is counted."""
    counts = {kind: len(names) for kind, names in _provided(plugins, plugin).items() if names}
    provides = ", ".join(
        f"{count} {kind if count > 1 else kind[:-1]}" for kind, count in counts.items()
    )
    state = _state(plugins, plugin)
    return [plugin.distribution, plugin.version or None, plugin.name, state, provides or None]


def _document(plugins: PluginManager, plugin: Plugin) -> dict[str, Any]:
    """One plugin as plain data."""
    return {
        "distribution": plugin.distribution,
        "version": plugin.version or None,
        "name": plugin.name,
        "state": _state(plugins, plugin),
        "provides": _provided(plugins, plugin),
        "problems": [
            {"hook": fault.hook, "reason": fault.reason, "traceback": fault.traceback or None}
            for fault in _faults(plugins, plugin)
        ],
    }


def _print_broken(plugins: PluginManager, *, traceback: bool) -> None:
    """What is wrong, plugin by plugin."""
    if not plugins.broken:
        print_text("no plugin is broken")
    for plugin in plugins.plugins:
        for fault in _faults(plugins, plugin):
            name = " ".join(filter(None, [plugin.distribution, plugin.version]))
            print_text(f"{name}, plugin '{plugin.name}': {fault.reason}")
            if traceback and fault.traceback:
                print_text(textwrap.indent(fault.traceback, "  "))


def _state(plugins: PluginManager, plugin: Plugin) -> str:
    """``loaded``, ``disabled`` by the environment, or ``broken`` (in part, perhaps)."""
    if plugin.disabled:
        return "disabled"
    return "broken" if _faults(plugins, plugin) else "loaded"


def _faults(plugins: PluginManager, plugin: Plugin) -> list[BrokenPlugin]:
    """What is wrong with one plugin."""
    key = (plugin.distribution, plugin.name)
    return [fault for fault in plugins.broken if (fault.distribution, fault.name) == key]


def _provided(plugins: PluginManager, plugin: Plugin) -> dict[str, list[str]]:
    """Names of what one plugin provides, by kind."""
    records = plugins.provided_by(plugin)
    return {
        _TITLES.get(hook, hook.removeprefix("nc_")): [
            record.name for record in records if type(record) is kind
        ]
        for hook, kind in HOOKS.items()
    }

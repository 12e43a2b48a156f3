"""``nc plugin``: what is installed, and what is wrong with it."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from nc_cli import options
from nc_cli.commands import plugin_new
from nc_cli.session import current_session
from nc_core.command_line.console import print_json, print_table, print_text
from nc_core.errors import PluginError
from nc_core.plugins import HOOKS, BrokenPlugin, Plugin, PluginManager

__all__ = ["command"]

SCHEMA = "nc.plugins/1"
CHECK_SCHEMA = "nc.plugin-check/1"
_TITLES = {"nc_commands": "papers"}


def _complete_plugins(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of distributions that begin like this."""
    names = sorted({plugin.distribution for plugin in current_session(context).plugins.plugins})
    return [name for name in names if name.startswith(incomplete)]


@click.group("plugin", epilog=options.examples("nc plugin list", "nc plugin list --broken"))
def command() -> None:
    """Show, check and write plugins.

    A plugin is a module named by an entry point of the group 'nc', or one file: every .py file in
    the folder NC_PLUGINS_DIR, and every file named by 'nc --plugin FILE.py ...'. NC_PLUGINS
    (names of plugins or distributions, separated by commas) loads no others besides nc-core;
    NC_DISABLE_PLUGINS loads all but those it names.
    """


command.add_command(plugin_new.command)


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


@command.command(
    "check",
    short_help="Check that plugins keep their contracts.",
    epilog=options.examples("nc plugin check nc-bitswap", "nc plugin check my-plugin -v"),
)
@click.argument("name", metavar="[NAME]", required=False, shell_complete=_complete_plugins)
@options.json_output()
def check(name: str | None, as_json: bool) -> None:
    """Check that plugins keep their contracts, and say what fails.

    NAME is a distribution or a plugin; without it, all are checked. Everything that a plugin
    provides is tried: models code and decode blocks, here and in a fresh process, datasets give
    the items that they declare, coders lose no bit, help imports nothing heavy. That takes
    seconds to minutes. The exit code is 3 if something fails. With -v, each check is named
    when it begins.
    """
    from nc_cli import checking

    plugins = current_session().plugins
    documents, failed = [], 0
    for plugin in checking.chosen_plugins(plugins, name):
        results = checking.run_checks(plugins, plugin)
        failed += checking.failures(results)
        if as_json:
            documents.append(checking.document(plugin, results))
        else:
            checking.print_results(plugin, results)
    if as_json:
        print_json({"schema": CHECK_SCHEMA, "failures": failed, "plugins": documents})
    if failed:
        raise PluginError("1 check failed" if failed == 1 else f"{failed} checks failed")


def _row(plugins: PluginManager, plugin: Plugin) -> list[str | None]:
    """The row of one plugin; what it provides is counted."""
    counts = {kind: len(names) for kind, names in _provided(plugins, plugin).items() if names}
    provides = ", ".join(
        f"{count} {kind if count > 1 else kind[:-1]}" for kind, count in counts.items()
    )
    state = _state(plugins, plugin)
    where = plugin.path or plugin.name
    return [plugin.distribution, plugin.version or None, where, state, provides or None]


def _document(plugins: PluginManager, plugin: Plugin) -> dict[str, Any]:
    """One plugin as plain data."""
    return {
        "distribution": plugin.distribution,
        "version": plugin.version or None,
        "name": plugin.name,
        "path": plugin.path,
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

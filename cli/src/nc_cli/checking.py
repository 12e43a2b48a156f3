"""The contracts of installed plugins: what to run, and how its results read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nc_core.command_line.console import print_heading, print_text
from nc_core.command_line.progress import progress
from nc_core.entry_points import canonical
from nc_core.errors import PluginError
from nc_core.lookup import did_you_mean
from nc_core.plugins import Plugin, PluginManager

if TYPE_CHECKING:
    from nc_core.testing.suite import Result, Task

__all__ = ["chosen_plugins", "document", "failures", "print_results", "run_checks"]


def chosen_plugins(manager: PluginManager, name: str | None) -> list[Plugin]:
    """The plugins of that name or distribution; without a name, all that are not disabled.

    Raises:
        PluginError: there is none, or it is disabled.
    """
    if name is None:
        return [plugin for plugin in manager.plugins if not plugin.disabled]
    wanted = canonical(name)
    found = [plugin for plugin in manager.plugins if wanted in plugin.names]
    if not found:
        known = sorted({known for plugin in manager.plugins for known in plugin.names})
        raise PluginError(
            f"no plugin '{name}' is installed{did_you_mean(wanted, known)}",
            "'nc plugin list' shows what is installed",
        )
    enabled = [plugin for plugin in found if not plugin.disabled]
    if not enabled:
        raise PluginError(
            f"plugin '{name}' is disabled", "by NC_PLUGINS or NC_DISABLE_PLUGINS in the environment"
        )
    return enabled


def run_checks(manager: PluginManager, plugin: Plugin) -> list[Result]:
    """Run all contracts of a plugin, with progress; what its code prints goes to stderr."""
    from nc_core.testing.suite import check_plugin, tasks_of

    total = sum(len(task.checks) for task in tasks_of(plugin, manager))
    with (
        progress(f"checking {plugin.name}", total, "checks") as advance,
        redirect_stdout(sys.stderr),
    ):
        return list(check_plugin(plugin, manager, advance))


def failures(results: Sequence[Result]) -> int:
    """Number of checks that failed."""
    return sum(result.state == "failed" for result in results)


def print_results(plugin: Plugin, results: Sequence[Result]) -> None:
    """Print one line for each contract that holds, and in words what does not."""
    title = " ".join(filter(None, [plugin.distribution, plugin.version]))
    print_heading(f"{title}, plugin '{plugin.name}'")
    for task, found in _by_task(results):
        print_text(f"  {task.kind} {task.name}: {_summary(found)}")
        for result in found:
            if result.check and result.state != "passed":
                state = "FAILED" if result.state == "failed" else result.state
                print_text(f"    {state}: {result.sentence}")
                print_text(f"      {result.message}")


def document(plugin: Plugin, results: Sequence[Result]) -> dict[str, Any]:
    """The results of one plugin as plain data."""
    return {
        "distribution": plugin.distribution,
        "version": plugin.version or None,
        "name": plugin.name,
        "failures": failures(results),
        "contracts": [
            {
                "kind": task.kind,
                "name": task.name,
                "not_checked": None if found[0].check else found[0].message,
                "checks": [
                    {
                        "name": result.check,
                        "sentence": result.sentence,
                        "state": result.state,
                        "message": result.message,
                    }
                    for result in found
                    if result.check
                ],
            }
            for task, found in _by_task(results)
        ],
    }


def _by_task(results: Sequence[Result]) -> Iterator[tuple[Task, list[Result]]]:
    for task, found in groupby(results, lambda result: result.task):
        yield task, list(found)


def _summary(found: list[Result]) -> str:
    """How a contract came out: ``17 checks passed``, or what else there is to say."""
    if not found[0].check:
        return f"not checked: {found[0].message}"
    states = [result.state for result in found]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    if len(counts) == 1 and len(found) > 1:
        return f"all {len(found)} checks {states[0]}"
    return ", ".join(f"{count} {state}" for state, count in counts.items())

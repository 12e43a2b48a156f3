"""The contract of a plugin: it loads light, and what it says of itself is true."""

from __future__ import annotations

from nc_core.entry_points import canonical
from nc_core.errors import MissingDependencyError, NcError
from nc_core.lookup import did_you_mean
from nc_core.models import find_model_file
from nc_core.plugins import Plugin, PluginManager
from nc_core.specs import ModelSpec, Spec
from nc_core.testing.contract import ContractError, NotCheckedError, Subject, require, told_to_user
from nc_core.testing.fresh import run_afresh
from nc_core.testing.import_audit import audit_plugin

__all__ = ["CHECKS", "PluginSubject"]

_LONGEST_SUMMARY = 100
_SECONDS = 60.0


class PluginSubject(Subject):
    """A plugin that is installed.

    Args:
        location: name of its distribution, or of its entry point.
        manager: where it is looked up.

    Raises:
        ContractError: there is no such plugin.
    """

    def __init__(self, location: str, manager: PluginManager) -> None:
        super().__init__(manager)
        name = canonical(location)
        found = [plugin for plugin in manager.plugins if name in plugin.names]
        if not found:
            known = {name for plugin in manager.plugins for name in plugin.names}
            raise ContractError(f"no plugin '{location}' is installed{did_you_mean(name, known)}")
        self.rows: tuple[Plugin, ...] = tuple(found)

    @property
    def records(self) -> tuple[Spec, ...]:
        """All that it provides."""
        return tuple(record for row in self.rows for record in self.manager.provided_by(row))


def it_loads_and_its_records_are_valid(plugin: PluginSubject) -> None:
    """It loads, its hooks are spelt right, and its records are valid."""
    rows = {(row.name, row.distribution) for row in plugin.rows}
    faults = [
        fault.reason for fault in plugin.manager.broken if (fault.name, fault.distribution) in rows
    ]
    require(not faults, "; ".join(faults))
    disabled = [row.name for row in plugin.rows if row.disabled]
    if disabled:
        raise NotCheckedError(f"{', '.join(disabled)} is disabled by the environment")


def it_provides_something(plugin: PluginSubject) -> None:
    """It provides at least one record."""
    require(bool(plugin.records), "no hook of the plugin returned a record")


def it_loads_without_heavy_imports(plugin: PluginSubject) -> None:
    """Loading it imports nothing heavy and prints nothing."""
    for row in plugin.rows:
        report = run_afresh(
            audit_plugin,
            plugin.manager,
            {"plugin": row.name, "distribution": row.distribution},
            seconds=_SECONDS,
        )
        event = report.event("loaded", f"load plugin '{row.name}'")
        require(event["found"], f"a fresh process does not find plugin '{row.name}'")
        require(
            not event["heavy"],
            f"loading plugin '{row.name}' and calling its hooks imports "
            f"{', '.join(event['heavy'])}; import that inside the functions behind the targets",
        )
        require(not event["printed"], f"loading plugin '{row.name}' prints {event['printed']!r}")


def its_summaries_are_short(plugin: PluginSubject) -> None:
    """Every summary fits on one line."""
    for record in plugin.records:
        length = len(record.summary)
        require(
            length <= _LONGEST_SUMMARY,
            f"the summary of {record.kind} '{record.name}' has {length} characters; "
            f"lists have room for {_LONGEST_SUMMARY}",
        )


def its_targets_can_be_imported(plugin: PluginSubject) -> None:
    """Every target can be imported, or says which package is missing."""
    for record in plugin.records:
        try:
            record.load()
        except MissingDependencyError:
            continue
        except NcError as error:
            raise ContractError(error.message) from error


def its_pretrained_models_are_whole(plugin: PluginSubject) -> None:
    """Every pretrained model is in the package, with the id that is registered."""
    for record in plugin.records:
        if not isinstance(record, ModelSpec) or record.provider is None:
            continue
        for member in record.pretrained:
            try:
                find_model_file(f"{member.name}@{record.provider.distribution}", plugin.manager)
            except MissingDependencyError as error:
                raise NotCheckedError(told_to_user(error)) from error
            except NcError as error:
                raise ContractError(error.message) from error


CHECKS = (
    it_loads_and_its_records_are_valid,
    it_provides_something,
    it_loads_without_heavy_imports,
    its_summaries_are_short,
    its_targets_can_be_imported,
    its_pretrained_models_are_whole,
)

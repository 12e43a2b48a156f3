"""The plugin manager: what is installed, what it provides, and what is broken.

A broken plugin is a row of a list, never an error in somebody else's command: every plugin is
imported, every hook called and every record checked in its own ``try``. Two distributions may
provide one name; that is an error only when the name is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pluggy

from nc_core import hookspecs, specs
from nc_core.entry_points import BrokenPlugin, Plugin, Selection, canonical, installed_plugins
from nc_core.lookup import Offer, choose
from nc_core.plugin_checks import fault, misspelt
from nc_core.plugin_files import file_plugin, plugin_files
from nc_core.specs import ModelSpec, Pretrained, Provider, Spec

__all__ = ["HOOKS", "BrokenPlugin", "Plugin", "PluginManager"]

HOOKS: Mapping[str, type[Spec]] = {
    "nc_datasets": specs.DatasetSpec,
    "nc_models": specs.ModelSpec,
    "nc_coders": specs.CoderSpec,
    "nc_evaluators": specs.EvaluatorSpec,
    "nc_commands": specs.CommandSpec,
}
_LISTS: Mapping[type[Spec], str] = {
    specs.DatasetSpec: "datasets",
    specs.ModelSpec: "models",
    specs.CoderSpec: "coders",
    specs.EvaluatorSpec: "evaluators",
    specs.CommandSpec: "papers",
}
_Record = TypeVar("_Record", bound=Spec)


class PluginManager:
    """The plugins of one program, and the records that they provide.

    Starts empty: :meth:`discover` adds what is installed, :meth:`load_file` a plugin that is one
    file, :meth:`register` a module.

    Example:
        >>> manager = PluginManager()
        >>> manager.discover({"NC_PLUGINS": ""})
        >>> [plugin.name for plugin in manager.plugins if not plugin.disabled]
        ['core']
    """

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager("nc")
        self._pluggy.add_hookspecs(hookspecs)
        self._plugins: list[Plugin] = []
        self._broken: list[BrokenPlugin] = []
        self._records: dict[Plugin, list[Spec]] = {}

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """All plugins by distribution and name, disabled and broken ones too."""
        return tuple(sorted(self._plugins, key=lambda plugin: (plugin.distribution, plugin.name)))

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Everything that is wrong, in the order in which it was found."""
        return tuple(self._broken)

    def discover(self, environment: Mapping[str, str] = os.environ) -> None:
        """Load what is installed.

        Args:
            environment: ``NC_PLUGINS``, names of plugins or distributions separated by commas:
                load no others besides nc-core; ``NC_DISABLE_PLUGINS``: do not load these;
                ``NC_PLUGINS_DIR``: a folder whose ``.py`` files are plugins too.
        """
        selection = Selection.from_environment(environment)
        for plugin, load in (*installed_plugins(), *plugin_files(environment)):
            if selection.allows(plugin):
                self._add(plugin, load)
            else:
                self._plugins.append(replace(plugin, disabled=True))
        for name in selection.missing(self._plugins):
            row = Plugin(name, name, "")
            self._plugins.append(row)
            self._broken.append(BrokenPlugin.of(row, "named in NC_PLUGINS, but not installed"))

    def load_file(self, path: Path) -> Plugin:
        """Load a plugin that is one file, once; its provider has the name of the file.

        The provider of a second file of one name has its whole path. One that fails is broken.
        """
        plugin, load = file_plugin(path)
        for other in self._plugins:
            if other.path == plugin.path and not other.disabled:
                return other
        if any(other.distribution == plugin.distribution for other in self._plugins):
            plugin = replace(plugin, distribution=str(plugin.path))
        self._add(plugin, load)
        return plugin

    def register(
        self, module: object, *, distribution: str, version: str = "0", name: str | None = None
    ) -> None:
        """Add one module, or any object with hook functions, as if it were installed."""
        plugin = Plugin(name or distribution, canonical(distribution), version)
        self._add(plugin, lambda: module)

    def specs(self, kind: type[_Record]) -> tuple[_Record, ...]:
        """All records of a kind (a class, for example ``ModelSpec``), by name and provider."""
        records = (record for records in self._records.values() for record in records)
        found = (record for record in records if isinstance(record, kind))
        return tuple(sorted(found, key=lambda record: (record.name, _distribution(record))))

    def provided_by(self, plugin: Plugin) -> tuple[Spec, ...]:
        """The records of one plugin, in its own order."""
        return tuple(self._records.get(plugin, ()))

    def find(self, kind: type[_Record], name: str) -> _Record:
        """The record of a kind by ``"name"``, or ``"name@provider"`` where several have it.

        Raises:
            PluginError: nobody provides the name, or several do.
        """
        offers = [Offer(record.name, _distribution(record), record) for record in self.specs(kind)]
        return choose(kind.kind, name, offers, self._where_else(kind), _listing(kind))

    def find_pretrained(self, name: str) -> tuple[ModelSpec, Pretrained]:
        """The pretrained model of that name, or ``"name@provider"``, with its family.

        Raises:
            PluginError: nobody provides the name, or several do.
        """
        offers = [
            Offer(member.name, _distribution(family), (family, member))
            for family in self.specs(ModelSpec)
            for member in family.pretrained
        ]
        return choose("model", name, offers, self._where_else(ModelSpec), _listing(ModelSpec))

    def _where_else(self, kind: type[Spec]) -> str | None:
        """A hint at plugins that provide nothing at present and might have the wanted name."""
        hooks = {None, *(hook for hook, record in HOOKS.items() if record is kind)}
        broken = sorted({fault.distribution for fault in self._broken if fault.hook in hooks})
        if broken:
            return f"a broken plugin may provide it ({', '.join(broken)}): nc plugin list --broken"
        disabled = sorted({plugin.distribution for plugin in self._plugins if plugin.disabled})
        return f"a disabled plugin may provide it: {', '.join(disabled)}" if disabled else None

    def _add(self, plugin: Plugin, load: Callable[[], object]) -> None:
        """Import a plugin, check its names, let pluggy check its signatures, call its hooks."""
        self._plugins.append(plugin)
        key = f"{plugin.name}@{plugin.distribution}"
        try:
            module = load()
            for reason in misspelt(module, self._pluggy, HOOKS):
                self._broken.append(BrokenPlugin.of(plugin, reason))
            self._pluggy.register(module, key)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - must not stop the others
            self._broken.append(BrokenPlugin.of(plugin, "cannot be loaded", error))
            return
        for hook in HOOKS:
            for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
                if implementation.plugin_name == key:
                    self._collect(plugin, hook, implementation.function)

    def _collect(self, plugin: Plugin, hook: str, call: Callable[[], Iterable[object]]) -> None:
        """Call one hook implementation and keep its valid records."""
        provider = Provider(plugin.distribution, plugin.version)
        try:
            for record in call():
                own = [other for other in self.specs(HOOKS[hook]) if other.provider == provider]
                if reason := fault(record, HOOKS[hook], own):
                    self._broken.append(BrokenPlugin.of(plugin, f"{hook}: {reason}", hook=hook))
                elif isinstance(record, Spec):
                    filled = replace(record, provider=provider)
                    self._records.setdefault(plugin, []).append(filled)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - must not stop the others
            self._broken.append(BrokenPlugin.of(plugin, f"{hook} failed", error, hook))


def _listing(kind: type[Spec]) -> str:
    """How to see what there is."""
    return f"'nc list {_LISTS[kind]}' shows what is installed"


def _distribution(record: Spec) -> str:
    """The distribution that provides a record."""
    return record.provider.distribution if record.provider else "unknown"

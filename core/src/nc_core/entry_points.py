"""The entry points of the group ``nc``: which plugins are installed, and which may load."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["BrokenPlugin", "Plugin", "Selection", "canonical", "installed_plugins"]


@dataclass(frozen=True)
class Plugin:
    """A plugin: its entry point, its distribution, and whether it may load.

    One that is a single file has its ``path``, and the file's name as its distribution.
    """

    name: str
    distribution: str
    version: str
    disabled: bool = False
    path: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """What users may call it: the names of the entry point and of the distribution."""
        return frozenset({canonical(self.name), canonical(self.distribution)})


@dataclass(frozen=True)
class BrokenPlugin:
    """One thing that is wrong with a plugin; ``hook`` is None where it concerns all of it."""

    name: str
    distribution: str
    version: str
    reason: str
    traceback: str = ""
    hook: str | None = None

    @classmethod
    def of(
        cls,
        plugin: Plugin,
        reason: str,
        error: BaseException | None = None,
        hook: str | None = None,
    ) -> BrokenPlugin:
        """The row for a plugin, with what an exception says where there is one."""
        trace = ""
        if error is not None:
            import traceback

            first_line = str(error).partition("\n")[0]
            reason = f"{reason}: {type(error).__name__}: {first_line}".removesuffix(": ")
            trace = "".join(traceback.format_exception(error))
        return cls(plugin.name, plugin.distribution, plugin.version, reason, trace, hook)


@dataclass(frozen=True)
class Selection:
    """Which plugins the user wants.

    Args:
        only: load no others besides nc-core; None: load all.
        never: do not load these.
    """

    only: frozenset[str] | None
    never: frozenset[str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Selection:
        """Read ``NC_PLUGINS`` and ``NC_DISABLE_PLUGINS``, names separated by commas."""
        only = environment.get("NC_PLUGINS")
        never = environment.get("NC_DISABLE_PLUGINS", "")
        return cls(None if only is None else _listed(only), _listed(never))

    def allows(self, plugin: Plugin) -> bool:
        """Whether the plugin may load."""
        wanted = self.only is None or plugin.names & (self.only | {"nc-core"})
        return bool(wanted) and not plugin.names & self.never

    def missing(self, plugins: Iterable[Plugin]) -> list[str]:
        """Names that are asked for and not installed."""
        installed = frozenset().union(*(plugin.names for plugin in plugins))
        return sorted((self.only or frozenset()) - installed)


def canonical(name: str) -> str:
    """A name as package indexes spell it: ``nc_core`` is ``nc-core``."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def installed_plugins() -> Iterator[tuple[Plugin, Callable[[], object]]]:
    """All plugins of all distributions, each with the function that imports it.

    Unlike ``importlib.metadata.entry_points`` it survives damaged metadata of a distribution:
    that one is a plugin of unknown name whose function raises.
    """
    import importlib.metadata

    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        # The cheap test first: parsing the entry points of everything installed takes longer
        # than loading all plugins.
        if "[nc]" not in (distribution.read_text("entry_points.txt") or ""):
            continue
        plugins = _plugins_of(distribution)
        # A second copy of a distribution, later on the path, is never the one imported.
        yield from (row for row in plugins if row[0].distribution not in seen)
        seen.update(plugin.distribution for plugin, _ in plugins)


def _plugins_of(distribution: Distribution) -> list[tuple[Plugin, Callable[[], object]]]:
    """The plugins of one distribution."""
    try:
        name, version = canonical(distribution.name), distribution.version
        points = distribution.entry_points.select(group="nc")
        return [(Plugin(point.name, name, version), point.load) for point in points]
    except Exception as error:  # noqa: BLE001 - damaged metadata must not stop the others
        reason = f"metadata in {distribution.locate_file('')} cannot be read: {error}"

    def fail() -> NoReturn:
        raise ValueError(reason)

    return [(Plugin("unknown", "unknown", "unknown"), fail)]


def _listed(names: str) -> frozenset[str]:
    """The canonical names in a comma-separated list."""
    return frozenset(canonical(name) for name in names.split(",") if name.strip())

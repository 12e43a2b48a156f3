"""What can be wrong with a plugin that loads: names of hooks, and the records that they return."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator

import pluggy

from nc_core.lookup import did_you_mean
from nc_core.specs import ModelSpec, Spec

__all__ = ["fault", "misspelt"]


def misspelt(
    module: object, manager: pluggy.PluginManager, hooks: Collection[str]
) -> Iterator[str]:
    """What pluggy would ignore: unknown hooks, and functions that look like one."""
    for name in dir(module):
        options = manager.parse_hookimpl_opts(module, name)
        if options is not None:
            hook = options.get("specname") or name
            if hook not in hooks:
                yield f"implements an unknown hook {hook}{did_you_mean(hook, hooks, most=1)}"
        elif name.startswith("nc_") and inspect.isroutine(getattr(module, name)):
            unknown = f"{name} is not a hook{did_you_mean(name, hooks, most=1)}"
            yield f"{name} is not marked with @hookimpl" if name in hooks else unknown


def fault(record: object, kind: type[Spec], own: Iterable[Spec]) -> str | None:
    """What is wrong with a record, given the other records of its provider; None if nothing."""
    if not isinstance(record, kind):
        return f"returned {type(record).__name__}, not {kind.__name__}"
    if any(record.name == other.name for other in own):
        return f"two records are named '{record.name}'"
    taken = [member for other in own for member in _members(other)]
    for member in _members(record):
        if member in taken:
            return f"two pretrained models are named '{member}'"
        taken.append(member)
    return None


def _members(record: Spec) -> list[str]:
    """Names of the pretrained models of a family."""
    return [member.name for member in record.pretrained] if isinstance(record, ModelSpec) else []

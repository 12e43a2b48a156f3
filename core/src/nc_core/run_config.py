"""``config.json`` of a run directory: what was run, and whether a resumed run is the same."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from nc_core.errors import DataError, UsageError
from nc_core.files import atomic_write

__all__ = ["CONFIG", "check_same", "describe_run", "read_description", "write_description"]

CONFIG = "config.json"
_SCHEMA = "nc.run/1"
_VERSIONS_OF = ("nc-core", "numpy", "torch", "lightning-fabric")


def describe_run(
    config: Mapping[str, Any], command: str, recipe: str | None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """The document: schema, random id, command, recipe, overrides, configuration and versions."""
    versions = {"python": sys.version.split()[0]}
    for name in _VERSIONS_OF:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "schema": _SCHEMA,
        "id": secrets.token_hex(16),
        "command": command,
        "recipe": recipe,
        "overrides": list(overrides),
        "config": json.loads(json.dumps(config, allow_nan=False)),
        "versions": versions,
    }


def write_description(folder: Path, document: Mapping[str, Any]) -> None:
    """Write it, whole or not at all."""
    with atomic_write(folder / CONFIG) as file:
        file.write(json.dumps(document, indent=2, allow_nan=False).encode() + b"\n")


def read_description(folder: Path) -> dict[str, Any]:
    """Read it.

    Raises:
        DataError: the folder is no run directory, or a damaged one.
    """
    path = folder / CONFIG
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{folder}: not a run directory (no readable {CONFIG})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: unreadable JSON") from error
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise DataError(f"{path}: not the configuration of a run ({_SCHEMA})")
    if not isinstance(document.get("config"), dict):
        raise DataError(f"{path}: lacks the configuration")
    return document


def check_same(
    folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], may_differ: Sequence[str]
) -> None:
    """Refuse to go on with a run under another configuration.

    Args:
        folder: the run directory, for the message.
        before: configuration of the run.
        now: configuration to go on with.
        may_differ: dotted names of values, or of groups of values, that may differ.

    Raises:
        UsageError: anything else differs.
    """
    old, new = _flat(before), _flat(now)
    different = [
        name
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not _is_below(name, may_differ)
    ]
    if different:
        name, others = different[0], len(different) - 1
        more = f" (and {others} more differ)" if others else ""
        raise UsageError(
            f"{folder}: was started with {name}={old.get(name)}, not {new.get(name)}{more}",
            "resume with the same configuration, or start another run with --out",
        )


def _is_below(name: str, groups: Sequence[str]) -> bool:
    return any(name == group or name.startswith(f"{group}.") for group in groups)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat

"""Plugins of one file, for what is not worth a package yet.

A file is imported as a module of its own name, which nothing else has; so its records name their
targets as ``f"{__name__}:load"``.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from nc_core.entry_points import Plugin

__all__ = ["file_plugin", "plugin_files"]

_VARIABLE = "NC_PLUGINS_DIR"
_DIGITS = 8


def plugin_files(environment: Mapping[str, str]) -> Iterator[tuple[Plugin, Callable[[], object]]]:
    """The plugins in the folder ``NC_PLUGINS_DIR``, each with the function that imports it.

    All ``.py`` files but those whose names begin with an underscore or a dot. A folder that is
    not there is a plugin whose function raises.
    """
    chosen = environment.get(_VARIABLE)
    if not chosen:
        return
    folder = Path(chosen).expanduser()

    def fail() -> NoReturn:
        raise NotADirectoryError(f"{_VARIABLE} names no folder")

    if not folder.is_dir():
        yield Plugin(_VARIABLE, str(folder), ""), fail
    for path in sorted(folder.glob("[!._]*.py")):
        yield file_plugin(path)


def file_plugin(path: Path) -> tuple[Plugin, Callable[[], object]]:
    """The plugin that a file is, and the function that imports it.

    Its version is the beginning of the file's sha256, so that results say which text made them.
    """
    path = path.expanduser().resolve()
    plugin = Plugin(path.stem, path.name, _version(path), path=str(path))
    return plugin, lambda: _imported(path)


def _imported(path: Path) -> object:
    """The module of a file, made anew."""
    name = re.sub(r"\W", "_", f"nc_plugin_{path.stem}_{_digest(str(path).encode())}")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("the name of a plugin file ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its records' targets are looked up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _version(path: Path) -> str:
    try:
        return _digest(path.read_bytes())
    except OSError:  # importing it will say so
        return ""


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()[:_DIGITS]

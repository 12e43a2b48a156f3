"""Who may import whom, and what may be imported at all when something is only listed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nc_core

SOURCE = Path(nc_core.__file__).parent
LIGHT = (
    "nc_core",
    "nc_core.container",
    "nc_core.entry_points",
    "nc_core.errors",
    "nc_core.hookspecs",
    "nc_core.lookup",
    "nc_core.plugin",
    "nc_core.plugins",
    "nc_core.specs",
)


def imported_modules(file: Path) -> Iterator[str]:
    """Names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_core_imports_no_other_package_of_the_project() -> None:
    foreign = {
        (file.name, module)
        for file in SOURCE.rglob("*.py")
        for module in imported_modules(file)
        if module.startswith("nc_") and module.partition(".")[0] != "nc_core"
    }
    assert foreign == set()


@pytest.mark.parametrize("module", LIGHT)
def test_a_listing_module_imports_only_the_standard_library_and_pluggy(module: str) -> None:
    program = (
        "import sys; before = set(sys.modules); "
        f"import {module}; print(*(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    tops = {name.partition(".")[0] for name in result.stdout.split()}
    allowed = sys.stdlib_module_names | {"nc_core", "pluggy"}
    assert tops - allowed == set()


def test_listing_all_records_imports_nothing_heavy() -> None:
    program = (
        "import sys; from nc_core.plugins import HOOKS, PluginManager; "
        "manager = PluginManager(); manager.discover({'NC_PLUGINS': ''}); "
        "assert any(manager.specs(kind) for kind in HOOKS.values()); "
        "print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "numba", "torch", "PIL", "rich", "pydantic", "yaml", "pooch", "platformdirs"}
    assert heavy & set(result.stdout.split()) == set()

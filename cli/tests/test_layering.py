"""The command line imports core, and no paper."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nc_cli

SOURCE = Path(nc_cli.__file__).parent
# Templates of other people's packages are data of the command line, not parts of it.
FILES = [file for file in SOURCE.rglob("*.py") if "templates" not in file.parts]


def imported_modules(file: Path) -> Iterator[str]:
    """Names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_the_command_line_imports_core_and_no_paper() -> None:
    foreign = {
        (file.name, module)
        for file in FILES
        for module in imported_modules(file)
        if module.startswith("nc_") and module.partition(".")[0] not in {"nc_core", "nc_cli"}
    }
    assert foreign == set()


def test_no_module_imports_torch() -> None:
    found = {
        (file.name, module)
        for file in FILES
        for module in imported_modules(file)
        if module.partition(".")[0] in {"torch", "numba"}
    }
    assert found == set()

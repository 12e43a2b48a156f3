"""Running the command line inside the test, with plugins of the test's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from nc_cli.app import root
from nc_cli.session import Session
from nc_core.hookspecs import hookimpl
from nc_core.plugins import PluginManager
from nc_core.specs import CommandSpec


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)


Run = Callable[..., Outcome]


@pytest.fixture
def plugins() -> PluginManager:
    """What core itself provides."""
    manager = PluginManager()
    manager.discover({"NC_PLUGINS": ""})
    return manager


@pytest.fixture
def nc(plugins: PluginManager) -> Run:
    """A function that runs ``nc`` with these plugins; an unexpected exception fails the test."""

    def run(*arguments: object, environment: dict[str, str] | None = None) -> Outcome:
        result = CliRunner().invoke(
            root,
            [str(argument) for argument in arguments],
            obj=Session(plugins),
            env=environment,
            catch_exceptions=False,
        )
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def add_paper(
    plugins: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """A function that adds a paper whose command is ``command`` of a module with this source."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(
        name: str, source: str, distribution: str | None = None, model: str | None = None
    ) -> None:
        module = f"paper_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)

        @hookimpl
        def nc_commands() -> list[CommandSpec]:
            summary = f"What {name} is about."
            target = f"{module}:command"
            return [CommandSpec(name=name, summary=summary, target=target, model=model)]

        plugins.register(
            SimpleNamespace(nc_commands=nc_commands), distribution=distribution or f"nc-{name}"
        )

    return add

"""Fixtures for the tests of plugins; importing this costs next to nothing.

nc_plugins        a plugin manager that knows core and nothing else
nc_distribution   a function that installs a distribution for the time of a test
nc_run            a function that runs ``nc`` and gives its exit code and output
nc_nothing_leaks  fails a test that changes seeds, threads or the environment
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_core.testing.command_line import Outcome

__all__ = ["nc_distribution", "nc_nothing_leaks", "nc_plugins", "nc_run"]


@pytest.fixture
def nc_plugins() -> PluginManager:
    """A plugin manager that knows core and nothing else; ``register`` adds to it."""
    from nc_core.plugins import PluginManager

    manager = PluginManager()
    manager.discover({"NC_PLUGINS": ""})
    return manager


@pytest.fixture
def nc_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """A function that writes a distribution (``write_distribution``) and puts it on the path.

    Its modules are forgotten when the test ends.

    Example:
        >>> def test_it_is_found(nc_distribution):
        ...     modules = {"my_plugin": "from nc_core.hookspecs import hookimpl"}
        ...     nc_distribution("nc-mine", modules, {"mine": "my_plugin"})
    """
    from nc_core.testing.distributions import write_distribution

    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    written: set[str] = set()

    def write(
        name: str, modules: Mapping[str, str], entry_points: Mapping[str, str], version: str = "1.0"
    ) -> Path:
        written.update(modules)
        return write_distribution(folder, name, modules, entry_points, version)

    yield write
    for module in written:
        sys.modules.pop(module, None)


@pytest.fixture
def nc_run(tmp_path: Path) -> Callable[..., Outcome]:
    """A function that runs ``nc`` in a process of its own, with an empty ``NC_DATA``.

    Keywords are further environment variables.

    Example:
        >>> def test_it_is_listed(nc_run):
        ...     assert nc_run("list", "models", "--json").exit_code == 0
    """
    from nc_core.testing.command_line import run_nc

    def run(*arguments: object, **variables: str) -> Outcome:
        return run_nc(*arguments, environment={"NC_DATA": str(tmp_path / "nc-data"), **variables})

    return run


@pytest.fixture
def nc_nothing_leaks() -> Iterator[None]:
    """Fails a test that leaves seeds, threads, settings or the environment changed."""
    from nc_core.testing.guard import nothing_leaks

    with nothing_leaks():
        yield

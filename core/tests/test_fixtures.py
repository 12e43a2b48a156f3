"""The fixtures that tests of plugins get from the pytest plugin."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nc_core.models import installed
from nc_core.plugins import PluginManager
from nc_core.specs import CoderSpec
from nc_core.testing.import_audit import HEAVY

PLUGIN = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CoderSpec

@hookimpl
def nc_coders():
    return [CoderSpec(name="mine", summary="a coder", target="nowhere:Coder")]
"""


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    program = "import sys, nc_core.testing.pytest_plugin; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert HEAVY & {name.partition(".")[0] for name in done.stdout.split()} == set()


def test_a_manager_knows_core_only_and_is_new_for_every_test(nc_plugins: PluginManager) -> None:
    loaded = [plugin.name for plugin in nc_plugins.plugins if not plugin.disabled]
    assert loaded == ["core"]


def test_a_distribution_is_installed_until_the_test_ends(
    nc_distribution: Callable[..., Path],
) -> None:
    nc_distribution("nc-mine", {"mine_plugin": PLUGIN}, {"mine": "mine_plugin"}, "2.1")
    provider = installed().find(CoderSpec, "mine").provider
    assert provider is not None
    assert (provider.distribution, provider.version) == ("nc-mine", "2.1")


def test_a_distribution_is_gone_in_the_next_test() -> None:
    assert "nc-mine" not in {plugin.distribution for plugin in installed().plugins}
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mine_plugin")


@pytest.mark.usefixtures("nc_nothing_leaks")
def test_the_guard_lets_pass_what_leaves_nothing_behind() -> None:
    import random

    assert random.Random(0).random() < 1

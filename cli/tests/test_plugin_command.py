"""``nc plugin list``: what is installed, and what is wrong with it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nc_core.errors import ExitCode
from nc_core.hookspecs import hookimpl
from nc_core.plugins import PluginManager
from nc_core.specs import CoderSpec, CommandSpec


@hookimpl
def two_coders() -> list[CoderSpec]:
    return [CoderSpec(name=name, summary="a coder", target="x:Coder") for name in ("a", "b")]


@hookimpl
def one_paper() -> list[CommandSpec]:
    return [CommandSpec(name="p", summary="A paper.", target="x:command")]


@hookimpl
def raising() -> list[CoderSpec]:
    raise RuntimeError("no such device")


@pytest.fixture
def plugins() -> PluginManager:
    manager = PluginManager()
    good = SimpleNamespace(nc_coders=two_coders, nc_commands=one_paper)
    manager.register(good, distribution="nc-good", version="1.2", name="good")
    return manager


def break_one(plugins: PluginManager) -> None:
    bad = SimpleNamespace(nc_coders=raising)
    plugins.register(bad, distribution="nc-bad", version="0.1", name="bad")


def test_plugins_are_listed_with_what_they_provide(nc, plugins: PluginManager) -> None:
    break_one(plugins)
    outcome = nc("plugin", "list")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.stdout == (
        "distribution  version  plugin  state   provides\n"
        "nc-bad        0.1      bad     broken  -\n"
        "nc-good       1.2      good    loaded  2 coders, 1 paper\n"
    )


def test_broken_plugins_are_listed_with_the_reason(nc, plugins: PluginManager) -> None:
    break_one(plugins)
    outcome = nc("plugin", "list", "--broken")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.stdout == (
        "nc-bad 0.1, plugin 'bad': nc_coders failed: RuntimeError: no such device\n"
    )


@pytest.mark.parametrize("option", ["--traceback", "--debug"])
def test_tracebacks_are_shown_on_request(nc, plugins: PluginManager, option: str) -> None:
    break_one(plugins)
    outcome = nc("plugin", "list", "--broken", option)
    assert "Traceback" in outcome.stdout
    assert 'raise RuntimeError("no such device")' in outcome.stdout


def test_nothing_broken_is_said_to_be_so(nc) -> None:
    assert nc("plugin", "list", "--broken").stdout == "no plugin is broken\n"


def test_json_has_what_the_text_shows(nc, plugins: PluginManager) -> None:
    break_one(plugins)
    document = nc("plugin", "list", "--json").json()
    assert document["schema"] == "nc.plugins/1"
    bad, good = document["plugins"]
    assert good == {
        "distribution": "nc-good",
        "version": "1.2",
        "name": "good",
        "path": None,
        "state": "loaded",
        "provides": {
            "datasets": [], "models": [], "coders": ["a", "b"], "evaluators": [], "papers": ["p"],
        },
        "problems": [],
    }  # fmt: skip
    assert bad["state"] == "broken"
    [problem] = bad["problems"]
    assert problem["reason"] == "nc_coders failed: RuntimeError: no such device"
    assert problem["hook"] == "nc_coders"
    assert "Traceback" in problem["traceback"]


def test_json_of_broken_plugins_has_no_others(nc, plugins: PluginManager) -> None:
    assert nc("plugin", "list", "--broken", "--json").json()["plugins"] == []
    break_one(plugins)
    [only] = nc("plugin", "list", "--broken", "--json").json()["plugins"]
    assert only["name"] == "bad"


def test_disabled_and_missing_plugins_are_listed(nc, plugins: PluginManager) -> None:
    plugins.discover({"NC_PLUGINS": "nc-nowhere", "NC_DISABLE_PLUGINS": "nc-core"})
    states = {row["name"]: row["state"] for row in nc("plugin", "list", "--json").json()["plugins"]}
    assert states["core"] == "disabled"
    assert states["nc-nowhere"] == "broken"
    assert "named in NC_PLUGINS, but not installed" in nc("plugin", "list", "--broken").stdout

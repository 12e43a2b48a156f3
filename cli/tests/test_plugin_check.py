"""``nc plugin check``: the contracts of what is installed, in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nc_core.errors import ExitCode
from nc_core.plugins import PluginManager

PLUGIN = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CoderSpec, DatasetSpec

@hookimpl
def nc_coders():
    return [CoderSpec(name="{name}", summary="a coder", target="one_coder:Coder")]

@hookimpl
def nc_datasets():
    target = "nc_core.datasets.folder:open_folder"
    return [DatasetSpec(name="scans", summary="images", target=target, takes_path=True)]
"""
GOOD = """
from nc_core.ans import Rans

class Coder(Rans):
    name = "mine"

    def __init__(self):
        print("made a coder")
        super().__init__()
"""
FORGETFUL = """
from nc_core.ans import Rans

class Coder(Rans):
    name = "mine"

    def pop(self, message, distribution):
        return super().pop(message, distribution) // 2 * 2
"""


@pytest.fixture
def install(
    nc_distribution: Callable[..., Path], plugins: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """A function that installs a plugin with one coder of that source, beside core."""
    monkeypatch.setenv("NC_PLUGINS", "nc-mine")

    def write(coder: str) -> None:
        modules = {"mine_plugin": PLUGIN.format(name="mine"), "one_coder": coder}
        nc_distribution("nc-mine", modules, {"mine": "mine_plugin"})
        plugins.__init__()  # type: ignore[misc]
        plugins.discover()

    return write


def test_a_plugin_that_keeps_its_contracts_passes(nc: Any, install: Any) -> None:
    install(GOOD)
    outcome = nc("plugin", "check", "nc-mine")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.stdout == (
        "nc-mine 1.0, plugin 'mine'\n"
        "  plugin mine: all 6 checks passed\n"
        "  dataset scans: not checked: it takes a path: only a test can give it data\n"
        "  coder mine: all 11 checks passed\n"
    )
    assert "made a coder" in outcome.stderr


def test_what_fails_is_said_in_plain_words(nc: Any, install: Any) -> None:
    install(FORGETFUL)
    outcome = nc("plugin", "check", "mine")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert "  coder mine: 8 passed, 3 failed\n" in outcome.stdout
    assert (
        "    FAILED: Pop returns the symbols that were pushed, "
        "and leaves the message as it was before\n"
        "      468 of 1000 symbols came back changed: "
        "random bytes below 251 (1000 steps, 1 lanes)\n"
    ) in outcome.stdout
    assert outcome.stderr.endswith("nc: error: 3 checks failed\n")


def test_json_has_every_check(nc: Any, install: Any) -> None:
    install(FORGETFUL)
    outcome = nc("plugin", "check", "nc-mine", "--json")
    assert outcome.exit_code == ExitCode.PLUGIN
    document = outcome.json()
    assert document["schema"] == "nc.plugin-check/1"
    assert document["failures"] == 3
    (plugin,) = document["plugins"]
    assert (plugin["distribution"], plugin["version"], plugin["name"]) == ("nc-mine", "1.0", "mine")
    contracts = {contract["kind"]: contract for contract in plugin["contracts"]}
    assert list(contracts) == ["plugin", "dataset", "coder"]
    assert contracts["dataset"]["not_checked"].startswith("it takes a path")
    states = {check["name"]: check["state"] for check in contracts["coder"]["checks"]}
    assert states["pop_undoes_push"] == "failed"
    assert states["an_empty_stack_is_an_error"] == "passed"


def test_a_plugin_file_is_checked_too(nc: Any, tmp_path: Path) -> None:
    file = tmp_path / "afternoon.py"
    text = FORGETFUL.replace("// 2 * 2", "")
    file.write_text(
        "from nc_core.hookspecs import hookimpl\n"
        "from nc_core.specs import CoderSpec\n"
        "@hookimpl\n"
        "def nc_coders():\n"
        "    target = f'{__name__}:load'\n"
        "    return [CoderSpec(name='mine', summary='a coder', target=target)]\n"
        "def load():\n" + "".join(f"    {line}\n" for line in text.strip().splitlines())
        + "    return Coder()\n"
    )  # fmt: skip
    outcome = nc("--plugin", file, "plugin", "check", "afternoon")
    assert outcome.exit_code == ExitCode.DONE
    assert "  coder mine: all 11 checks passed\n" in outcome.stdout


def test_a_disabled_plugin_is_said_to_be_so(nc: Any, plugins: PluginManager) -> None:
    plugins.__init__()  # type: ignore[misc]
    plugins.discover({"NC_DISABLE_PLUGINS": "nc-core"})
    outcome = nc("plugin", "check", "nc-core")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert outcome.stderr.startswith("nc: error: plugin 'nc-core' is disabled\n")


def test_a_coder_of_few_bits_passes(nc: Any, tmp_path: Path) -> None:
    file = tmp_path / "coarse.py"
    file.write_text(
        "from nc_core.hookspecs import hookimpl\n"
        "from nc_core.specs import CoderSpec\n"
        "@hookimpl\n"
        "def nc_coders():\n"
        "    target = f'{__name__}:load'\n"
        "    return [CoderSpec(name='mine', summary='x', target=target, max_precision=20)]\n"
        "def load():\n" + "".join(f"    {line}\n" for line in GOOD.strip().splitlines())
        + "    return Coder()\n"
    )  # fmt: skip
    outcome = nc("--plugin", file, "plugin", "check", "coarse")
    assert "A fresh process pops the same symbols" not in outcome.stdout
    assert "  coder mine: all 11 checks passed\n" in outcome.stdout


def test_an_unknown_plugin_gets_a_suggestion(nc: Any) -> None:
    outcome = nc("plugin", "check", "nc-cor")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert "no plugin 'nc-cor' is installed; did you mean" in outcome.stderr


def test_a_broken_plugin_fails_its_first_check(
    nc: Any, plugins: PluginManager, nc_distribution: Callable[..., Path]
) -> None:
    nc_distribution("nc-broken", {"broken_plugin": "import not_there"}, {"broken": "broken_plugin"})
    plugins.discover({"NC_PLUGINS": "nc-broken"})
    outcome = nc("plugin", "check", "nc-broken")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert (
        "    FAILED: It loads, its hooks are spelt right, and its records are valid\n"
        "      cannot be loaded: ModuleNotFoundError: No module named 'not_there'\n"
    ) in outcome.stdout


def test_tests_of_plugins_can_run_the_command_line(
    nc_run: Any, nc_distribution: Callable[..., Path]
) -> None:
    modules = {"mine_plugin": PLUGIN.format(name="mine")}
    nc_distribution("nc-mine", modules, {"mine": "mine_plugin"})
    outcome = nc_run("list", "coders", "--json", NC_PLUGINS="nc-mine")
    assert outcome.exit_code == ExitCode.DONE
    assert "mine" in {row["name"] for row in outcome.json()["coders"]}
    assert nc_run("list", "codes").exit_code == ExitCode.USAGE

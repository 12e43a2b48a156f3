"""Plugins of one file: loaded beside those that are installed, under a name of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nc_core.errors import CorruptFileError
from nc_core.models import model_by_id
from nc_core.plugins import PluginManager
from nc_core.specs import CoderSpec

SOURCE = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CoderSpec

class Coder:
    name = "{name}"

@hookimpl
def nc_coders():
    return [CoderSpec(name="{name}", summary="a coder", target=f"{{__name__}}:Coder")]
"""


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for module in set(sys.modules) - before:
        del sys.modules[module]


def write(path: Path, name: str = "one") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SOURCE.format(name=name), encoding="utf-8")
    return path


def reasons(manager: PluginManager) -> list[str]:
    return [fault.reason for fault in manager.broken]


def test_a_file_provides_what_its_hooks_return(tmp_path: Path) -> None:
    manager = PluginManager()
    plugin = manager.load_file(write(tmp_path / "my file.py"))
    assert (plugin.name, plugin.distribution) == ("my file", "my file.py")
    assert plugin.path == str(tmp_path / "my file.py")
    spec = manager.find(CoderSpec, "one@my file.py")
    assert spec.provider is not None
    assert (spec.provider.distribution, len(spec.provider.version)) == ("my file.py", 8)
    assert spec.load().name == "one"
    assert manager.broken == ()


def test_its_version_changes_with_its_text(tmp_path: Path) -> None:
    versions = {
        PluginManager().load_file(write(tmp_path / "a.py", name)).version for name in ("x", "y")
    }
    assert len(versions) == 2


def test_files_of_one_name_do_not_disturb_each_other(tmp_path: Path) -> None:
    manager = PluginManager()
    for folder in ("a", "b"):
        manager.load_file(write(tmp_path / folder / "coder.py", folder))
    loaded = [manager.find(CoderSpec, name).load().name for name in ("a", "b")]
    assert loaded == ["a", "b"]
    distributions = {plugin.distribution for plugin in manager.plugins}
    assert distributions == {"coder.py", str(tmp_path / "b" / "coder.py")}


def test_a_file_that_is_given_twice_is_loaded_once(tmp_path: Path) -> None:
    manager = PluginManager()
    path = write(tmp_path / "coder.py")
    assert manager.load_file(path) is manager.load_file(tmp_path / "." / "coder.py")
    assert len(manager.plugins) == 1


def test_a_file_does_not_hide_an_importable_module(tmp_path: Path) -> None:
    PluginManager().load_file(write(tmp_path / "json.py"))
    import json

    assert json.loads("1") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def nc_coderz(): ...", "nc_coderz is not a hook; did you mean 'nc_coders'?"),
        ("def nc_coders(): ...", "nc_coders is not marked with @hookimpl"),
        ("(", "SyntaxError"),
        (b"\xff\x00", "SyntaxError"),
    ],
)
def test_a_file_that_fails_is_broken_and_no_more(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    path = tmp_path / "bad.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    manager = PluginManager()
    manager.load_file(path)
    [found] = reasons(manager)
    assert reason in found
    manager.load_file(write(tmp_path / "good.py"))
    assert manager.find(CoderSpec, "one").load().name == "one"


def test_nothing_is_left_of_a_module_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text("raise ValueError")
    PluginManager().load_file(path)
    assert not [name for name in sys.modules if name.startswith("nc_plugin_half")]


def test_a_file_that_is_not_there_is_broken(tmp_path: Path) -> None:
    manager = PluginManager()
    manager.load_file(tmp_path / "nowhere.py")
    [reason] = reasons(manager)
    assert reason.startswith("cannot be loaded: FileNotFoundError")


def test_a_file_that_is_no_python_file_is_broken(tmp_path: Path) -> None:
    manager = PluginManager()
    manager.load_file(write(tmp_path / "coder.txt"))
    assert reasons(manager) == [
        "cannot be loaded: ImportError: the name of a plugin file ends in .py"
    ]


def test_a_folder_of_plugins_is_discovered(tmp_path: Path) -> None:
    for name in ("b", "a", "_helper", ".hidden"):
        write(tmp_path / f"{name}.py", name.strip("._"))
    manager = PluginManager()
    manager.discover({"NC_PLUGINS": "a,b", "NC_PLUGINS_DIR": str(tmp_path)})
    files = [plugin.distribution for plugin in manager.plugins if plugin.path]
    assert files == ["a.py", "b.py"]
    assert manager.find(CoderSpec, "a").load().name == "a"


def test_the_choice_of_plugins_holds_for_files_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.py")
    manager = PluginManager()
    manager.discover({"NC_PLUGINS": "", "NC_PLUGINS_DIR": str(tmp_path)})
    (plugin,) = (plugin for plugin in manager.plugins if plugin.path)
    assert plugin.disabled
    # One that is named is wanted.
    assert not manager.load_file(tmp_path / "a.py").disabled
    assert manager.find(CoderSpec, "one").load().name == "one"


def test_a_folder_that_is_not_there_is_a_broken_plugin(tmp_path: Path) -> None:
    manager = PluginManager()
    folder = str(tmp_path / "nowhere")
    manager.discover({"NC_PLUGINS": "NC_PLUGINS_DIR", "NC_PLUGINS_DIR": folder})
    [fault] = manager.broken
    assert fault.distribution == folder
    assert fault.reason.endswith("NotADirectoryError: NC_PLUGINS_DIR names no folder")


@pytest.mark.parametrize("package", ["/tmp/theirs.py", "a; rm -rf b.py", "--debug.py"])
def test_a_container_cannot_write_a_command_for_the_user(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NC_DATA", str(tmp_path))
    for name, proposed in ((package, False), ("mine.py", True)):
        with pytest.raises(CorruptFileError) as error:
            model_by_id("0" * 64, "x", "x.ncz", PluginManager(), name)
        assert ("nc --plugin" in str(error.value.hint)) is proposed

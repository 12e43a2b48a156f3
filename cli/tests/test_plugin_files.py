"""``nc --plugin FILE.py``: a plugin that is one file, for as long as the command runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nc_core.errors import ExitCode
from nc_core.plugins import PluginManager

PAGE = Path(__file__).resolve().parents[2] / "docs" / "write-a-plugin.md"


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    before = set(sys.modules)
    yield
    for module in set(sys.modules) - before:
        if module.startswith("nc_plugin_"):
            del sys.modules[module]


@pytest.fixture
def left() -> Path:
    """The file that the documentation shows."""
    (source,) = re.findall(r"```python title=left\.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = Path("left.py")
    path.write_text(source)
    return path


@pytest.fixture
def forget(plugins: PluginManager, monkeypatch: pytest.MonkeyPatch):
    """A function after which only core's plugins are there, as in the next command."""

    def start_again() -> None:
        fresh = PluginManager()
        fresh.discover({"NC_PLUGINS": ""})
        vars(plugins).update(vars(fresh))

    return start_again


def test_its_model_compresses_and_restores(nc, left: Path, forget) -> None:
    image = np.arange(40 * 30 * 3, dtype=np.uint16).reshape(40, 30, 3).astype(np.uint8)
    np.save("image.npy", image[None])
    packed = nc("--plugin", left, "compress", "--dataset", "npy:image.npy", "--model", "left",
                "-o", "image.ncz")  # fmt: skip
    assert packed.exit_code == ExitCode.DONE, packed.stderr
    forget()
    without = nc("decompress", "image.ncz", "-o", "out")
    assert without.exit_code == ExitCode.CORRUPT
    assert re.fullmatch(
        r"nc: error: image\.ncz: made with model 'left' \(id [0-9a-f]{12}\), which is not "
        r"installed\ngive the file that has it, as it was: nc --plugin left\.py \.\.\.\n",
        without.stderr,
    )
    # The page shows the same error for a photograph.
    assert without.stderr.replace("image.ncz", "photo.png.ncz") in PAGE.read_text()
    again = nc("--plugin", left, "decompress", "image.ncz", "-o", "out")
    assert again.exit_code == ExitCode.DONE, again.stderr
    (restored,) = Path("out").iterdir()
    np.testing.assert_array_equal(np.load(restored), image[None])


def test_a_file_that_was_edited_does_not_decode_older_files(nc, left: Path, forget) -> None:
    np.save("image.npy", np.zeros((1, 8, 8), np.uint8))
    nc("--plugin", left, "compress", "--dataset", "npy:image.npy", "--model", "left", "-o", "a.ncz")
    forget()
    left.write_text(left.read_text().replace("4 + DISTANCE", "8 + DISTANCE"))
    outcome = nc("--plugin", left, "decompress", "a.ncz", "-o", "out")
    assert outcome.exit_code == ExitCode.CORRUPT
    assert "as it was" in outcome.stderr


def test_it_is_listed_with_its_path(nc, left: Path) -> None:
    rows = nc("--plugin", left, "plugin", "list").stdout.splitlines()
    (row,) = (row for row in rows if row.startswith("left.py"))
    assert row.split()[2:] == [str(left.absolute()), "loaded", "1", "model"]
    (document,) = (
        plugin
        for plugin in nc("--plugin", left, "plugin", "list", "--json").json()["plugins"]
        if plugin["distribution"] == "left.py"
    )
    assert document["path"] == str(left.absolute())
    assert document["provides"]["models"] == ["left"]


def test_one_that_fails_is_told_at_once_and_the_command_goes_on(nc) -> None:
    Path("bad.py").write_text("import nowhere")
    outcome = nc("--plugin", "bad.py", "list", "coders")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.stdout.startswith("name")
    assert outcome.stderr.startswith(
        "nc: warning: plugin bad.py: cannot be loaded: ModuleNotFoundError: "
        "No module named 'nowhere'\n"
    )


def test_one_that_is_not_there_is_an_error(nc) -> None:
    outcome = nc("--plugin", "nowhere.py", "list")
    assert (outcome.exit_code, outcome.stderr) == (
        ExitCode.PLUGIN,
        "nc: error: --plugin nowhere.py: no such file\n",
    )


def test_it_is_named_before_the_command(nc) -> None:
    outcome = nc("list", "--plugin", "x.py")
    assert outcome.exit_code == ExitCode.USAGE
    assert "it stands before the command: nc --plugin FILE.py COMMAND" in outcome.stderr


def test_what_it_prints_is_no_result(nc) -> None:
    Path("chatty.py").write_text("print('hello')")
    outcome = nc("--plugin", "chatty.py", "list", "--json")
    assert outcome.json()
    assert "hello" in outcome.stderr

"""``nc plugin new``: what it writes is a package that passes its tests and works."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nc_cli.scaffold import KINDS, render
from nc_core.errors import ExitCode
from nc_core.plugins import PluginManager
from nc_core.testing.distributions import write_distribution

SMALLER = [kind for kind in KINDS if kind != "model"]


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))


@pytest.fixture
def installed(
    plugins: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """A function that installs the package in ``nc-NAME`` for this process."""
    before = set(sys.modules)

    def install(name: str) -> None:
        monkeypatch.syspath_prepend(str(Path(f"nc-{name}/src").absolute()))
        module = importlib.import_module(f"nc_{name}.plugin")
        plugins.register(module, distribution=f"nc-{name}", version="0.1.0", name=name)

    yield install
    for module in set(sys.modules) - before:
        if module.startswith("nc_tiles"):
            del sys.modules[module]


def run_tests_of(*names: str) -> str:
    """Run the tests of packages as their author does; returns what pytest says last."""
    folders = [Path(f"nc-{name}").absolute() for name in names]
    for name, folder in zip(names, folders, strict=True):
        module = f"nc_{name.replace('-', '_')}.plugin"
        write_distribution(folder / "src", f"nc-{name}", {}, {name: module}, "0.1.0")
    path = os.pathsep.join(str(folder / "src") for folder in folders)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *map(str, folders)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return done.stdout.splitlines()[-1]


def test_the_tests_of_a_new_model_pass(nc) -> None:
    pytest.importorskip("safetensors", reason="its model is a model file")
    pytest.importorskip("pydantic", reason="its configuration is checked")
    assert nc("plugin", "new", "tiles").exit_code == ExitCode.DONE
    assert "passed" in run_tests_of("tiles")


def test_the_tests_of_the_smaller_kinds_pass(nc) -> None:
    names = [f"small-{kind}" for kind in SMALLER]
    for kind, name in zip(SMALLER, names, strict=True):
        assert nc("plugin", "new", name, f"--{kind}").exit_code == ExitCode.DONE
    last = run_tests_of(*names)
    assert "passed" in last
    assert "skipped" not in last


def test_a_new_model_learns_compresses_and_restores(nc, installed, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="its model is a model file")
    pytest.importorskip("pydantic", reason="its configuration is checked")
    nc("plugin", "new", "tiles")
    installed("tiles")
    digits = np.random.default_rng(0).binomial(9, 0.2, (300, 8, 8)).astype(np.uint8)
    np.save("digits.npy", digits)
    data = f"npy:{tmp_path / 'digits.npy'}"
    trained = nc("run", "tiles", "train", "--set", f"data={data}", "--out", "runs/digits")
    assert trained.exit_code == ExitCode.DONE, trained.stderr
    assert "bits per dimension" in trained.stdout
    model = Path("runs/digits/model.safetensors").read_bytes()
    again = nc("run", "tiles", "train", "--set", f"data={data}", "--out", "runs/digits", "--resume")
    assert again.exit_code == ExitCode.DONE, again.stderr
    assert Path("runs/digits/model.safetensors").read_bytes() == model
    assert len(Path("runs/digits/metrics.jsonl").read_text().splitlines()) == 1
    compress = ["compress", "--dataset", data, "--model", "runs/digits", "-o", "digits.ncz"]
    rate = nc(*compress, "--json").json()
    assert rate["bits_per_dim"] < 4  # the values alone take more than three
    (bound,) = nc(
        "run", "tiles", "evaluate", "--model", "runs/digits", "--dataset", data, "--json"
    ).json()
    assert bound["value"] == pytest.approx(rate["bound_bits"] / rate["dims"], rel=1e-9)
    assert nc("decompress", "digits.ncz", "-o", "out").exit_code == ExitCode.DONE
    (restored,) = Path("out").iterdir()
    np.testing.assert_array_equal(np.load(restored), digits)


def test_mistakes_with_a_new_model_are_explained(nc, installed, tmp_path: Path) -> None:
    pytest.importorskip("pydantic", reason="its configuration is checked")
    nc("plugin", "new", "tiles")
    installed("tiles")
    np.save("points.npy", np.zeros((3, 4), np.float32))
    data = f"data=npy:{tmp_path / 'points.npy'}"
    outcome = nc("run", "tiles", "train", "--set", data, "--out", "runs/a")
    assert (outcome.exit_code, outcome.stderr) == (
        ExitCode.DATA,
        "nc: error: npy:points.npy: not 8-bit images of one size\n",
    )
    outcome = nc("run", "tiles", "train", "--set", "limits=3")
    assert outcome.exit_code == ExitCode.USAGE
    assert "did you mean 'limit'?" in outcome.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_is_everywhere(kind: str) -> None:
    files = render(kind, "two-words")
    texts = [*files, *(content.decode() for content in files.values())]
    assert not [text for text in texts if "my-plugin" in text.lower().replace("_", "-")]
    project = tomllib.loads(files["pyproject.toml"].decode())
    assert project["project"]["name"] == "nc-two-words"
    assert project["project"]["entry-points"]["nc"] == {"two-words": "nc_two_words.plugin"}
    assert "src/nc_two_words/plugin.py" in files
    assert "tests/test_two_words.py" in files
    assert b'__version__ = "0.1.0"' in files["src/nc_two_words/__init__.py"]


def test_what_was_written_is_listed_and_what_comes_next_is_told(nc) -> None:
    outcome = nc("plugin", "new", "nc-tiles")
    written = {str(path) for path in Path("nc-tiles").rglob("*") if path.is_file()}
    assert set(outcome.stdout.split()) == written
    assert "pip install -e 'nc-tiles[test]' && pytest nc-tiles" in outcome.stderr


@pytest.mark.parametrize("name", ["Tiles", "a_b", "2d", "a--b", "-x", "", "nc-", "a" * 41, "../x"])
def test_a_name_that_is_not_kebab_case_is_refused(nc, name: str) -> None:
    outcome = nc("plugin", "new", "--", name)
    assert outcome.exit_code == ExitCode.USAGE
    assert "cannot be the name of a plugin" in outcome.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "who"),
    [("mnist", "nc-core has a dataset 'mnist'"), ("rans", "coder"), ("nc-cli", "nc-cli is")],
)
def test_a_name_that_is_taken_is_refused(nc, name: str, who: str) -> None:
    outcome = nc("plugin", "new", name)
    assert outcome.exit_code == ExitCode.USAGE
    assert who in outcome.stderr


def test_a_package_begins_with_one_kind(nc) -> None:
    outcome = nc("plugin", "new", "tiles", "--coder", "--dataset")
    assert outcome.exit_code == ExitCode.USAGE
    assert "--dataset or --coder" in outcome.stderr


def test_a_folder_that_holds_something_is_left_alone(nc) -> None:
    Path("nc-tiles").mkdir()
    Path("nc-tiles/notes.txt").write_text("mine")
    outcome = nc("plugin", "new", "tiles")
    assert outcome.exit_code == ExitCode.DATA
    assert outcome.stderr.startswith("nc: error: nc-tiles: exists, and is not empty\n")
    assert [path.name for path in Path("nc-tiles").iterdir()] == ["notes.txt"]


def test_force_replaces_files_of_the_template_and_no_others(nc) -> None:
    nc("plugin", "new", "tiles")
    Path("nc-tiles/notes.txt").write_text("mine")
    Path("nc-tiles/README.md").write_text("old")
    assert nc("plugin", "new", "tiles", "--force").exit_code == ExitCode.DONE
    assert Path("nc-tiles/notes.txt").read_text() == "mine"
    assert Path("nc-tiles/README.md").read_text().startswith("# nc-tiles")


def test_an_empty_folder_will_do_even_the_current_one(nc) -> None:
    Path(".git").mkdir()
    assert nc("plugin", "new", "tiles", "-o", ".").exit_code == ExitCode.DONE
    assert Path("src/nc_tiles/plugin.py").exists()
    assert [path.name for path in Path().glob(".nc-*")] == []


def test_a_file_in_the_way_is_an_error(nc) -> None:
    Path("nc-tiles").write_text("mine")
    outcome = nc("plugin", "new", "tiles", "--force")
    assert outcome.exit_code == ExitCode.DATA
    assert outcome.stderr == "nc: error: nc-tiles: exists, and is not a folder\n"


def test_a_file_in_the_way_of_a_folder_leaves_nothing_half_written(nc) -> None:
    Path("nc-tiles").mkdir()
    Path("nc-tiles/src").write_text("mine")
    outcome = nc("plugin", "new", "tiles", "--force")
    assert outcome.exit_code == ExitCode.DATA
    assert outcome.stderr == "nc: error: nc-tiles/src: exists, and is not a folder\n"
    assert [path.name for path in Path("nc-tiles").iterdir()] == ["src"]


def test_nothing_is_left_of_a_package_that_cannot_be_written(
    nc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    outcome = nc("plugin", "new", "tiles", "-o", "new/nc-tiles")
    assert outcome.exit_code == ExitCode.FAILED
    assert outcome.stderr == "nc: error: new/nc-tiles: no space left on device\n"
    assert list(Path().iterdir()) == []

"""nc info: files, names, and what is said of what is neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nc_core.errors import ExitCode
from nc_core.front_door import compress
from nc_core.hookspecs import hookimpl
from nc_core.images import Image, write_image
from nc_core.plugins import PluginManager
from nc_core.specs import ModelSpec


@pytest.mark.parametrize(
    ("name", "near"),
    [("mnst", "'mnist'"), ("mnst:test", "'mnist'"), ("predictve", "'predictive'")],
)
def test_a_misspelt_name_gets_near_datasets_and_models(nc, name: str, near: str) -> None:
    outcome = nc("info", name)
    assert outcome.exit_code == ExitCode.PLUGIN
    assert f"'{name}' is no file, dataset or model; did you mean {near}?" in outcome.stderr
    assert "'nc list' shows what is installed" in outcome.stderr


@pytest.mark.parametrize("name", ["mnist:tset", "mnist:test?binarise=random"])
def test_a_wrong_split_or_option_is_refused(nc, name: str) -> None:
    outcome = nc("info", name)
    assert outcome.exit_code == ExitCode.USAGE
    assert "did you mean" in outcome.stderr
    assert nc("info", "mnist:test").exit_code == ExitCode.DONE


def test_a_dataset_with_the_path_of_its_data_is_described(nc, tmp_path: Path) -> None:
    assert nc("info", f"folder:{tmp_path}", "--json").json()["name"] == "folder"
    outcome = nc("info", f"crops:{tmp_path}/x?sze=3")
    assert outcome.exit_code == ExitCode.USAGE
    assert "did you mean 'size'" in outcome.stderr


def test_an_empty_name_is_not_the_current_folder(nc) -> None:
    for arguments in (["info", ""], ["compress", ""], ["decompress", ""]):
        outcome = nc(*arguments)
        assert outcome.exit_code == ExitCode.USAGE
        assert "empty" in outcome.stderr


def test_how_a_container_was_cut_is_shown(nc, tmp_path: Path, plugins: PluginManager) -> None:
    compress(np.zeros((20, 30), np.uint8), tmp_path / "x.ncz", plugins=plugins)
    document = nc("info", tmp_path / "x.ncz", "--json").json()
    assert {"group", "initial_words", "lanes"} <= document.keys()
    assert document["tiling"]["pixels_per_chunk"] > 0
    assert "tiling pixels per chunk" in nc("info", tmp_path / "x.ncz").stdout


def test_metadata_of_the_images_are_listed(nc, tmp_path: Path, plugins: PluginManager) -> None:
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in images:
        write_image(path, Image(np.zeros((4, 5, 3), np.uint8), b"profile" * 9))
    compress(images, tmp_path / "x.ncz", plugins=plugins)
    [kind] = nc("info", tmp_path / "x.ncz", "--json").json()["metadata"]
    assert (kind["type"], kind["chunks"]) == ("ICCP", 2)
    assert 0 < kind["bytes"] < 200
    text = nc("info", tmp_path / "x.ncz").stdout
    assert f"ICC colour profile, {kind['bytes']} bytes for 2 files" in text
    compress(np.zeros((4, 5), np.uint8), tmp_path / "y.ncz", plugins=plugins)
    assert nc("info", tmp_path / "y.ncz", "--json").json()["metadata"] == []


def test_a_model_file_and_a_run_directory_are_described(
    nc, tmp_path: Path, plugins: PluginManager
) -> None:
    pytest.importorskip("safetensors")
    from types import SimpleNamespace

    from nc_core.model_file import write_model_file

    @hookimpl
    def nc_models() -> list[ModelSpec]:
        return [ModelSpec(name="vae", summary="a family", target="nowhere:load")]

    plugins.register(SimpleNamespace(nc_models=nc_models), distribution="nc-vae")
    tensors = {"w": np.zeros((2, 3), np.float32)}
    config = {"width": 2, "layers": [{"kind": "conv"}], "title": "red \x1b[31m"}
    file = write_model_file(tmp_path / "model.safetensors", "vae", config, tensors)
    for place in (tmp_path, tmp_path / "model.safetensors"):
        document = nc("info", place, "--json").json()
        assert (document["id"], document["family"]) == (file.id, "vae")
        assert (document["parameters"], document["parameter_bytes"]) == (6, 24)
        text = nc("info", place).stdout
        assert "config width" in text
        assert "\x1b" not in text


def test_a_folder_without_a_model_is_an_error_of_data(nc, tmp_path: Path) -> None:
    outcome = nc("info", tmp_path)
    assert outcome.exit_code == ExitCode.DATA
    assert "model.safetensors" in outcome.stderr

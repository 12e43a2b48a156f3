"""``nc run bitswap``, and that knowing about this package costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import nc_core
from nc_bitswap import plugin
from nc_bitswap.cli import bitswap
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_cli.app import root
from nc_cli.session import Session
from nc_core.config import recipe_names
from nc_core.errors import ExitCode, UsageError
from nc_core.plugins import PluginManager
from nc_core.specs import CommandSpec, ModelSpec

HEAVY = {"torch", "numpy", "numba", "pydantic", "yaml", "matplotlib", "scipy", "PIL", "rich"}


def only_this_package() -> PluginManager:
    plugins = PluginManager()
    plugins.discover({"NC_PLUGINS": "core"})
    if not any(spec.name == "bitswap" for spec in plugins.specs(ModelSpec)):
        plugins.register(plugin, distribution="nc-bitswap")
    return plugins


def nc(*arguments: str) -> Result:
    session = Session(only_this_package())
    return CliRunner().invoke(root, arguments, obj=session, catch_exceptions=False)


def run(*arguments: str) -> Result:
    return nc("run", "bitswap", *arguments)


def lines(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    path = tmp_path / "digits.npy"
    np.save(path, np.random.default_rng(0).integers(0, 90, (24, 6, 6), np.uint8))
    return path


def settings(images: Path) -> list[str]:
    chosen = {
        "data.train": f"npy:{images}",
        "data.test": f"npy:{images}",
        "model.height": 8,
        "model.width": 8,
        "model.hidden": 4,
        "model.processing": 0,
        "model.blocks": 1,
        "bins.bits": 4,
        "bins.samples_per_bin": 2,
        "warm_up_batches": 2,
        "training.duration": 2,
        "training.batch_size": 4,
        "training.evaluate_every": 1,
        "training.evaluate_at_start": "false",
        "training.checkpoint_every": 2,
    }
    return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


def train(images: Path, out: Path) -> None:
    result = run("train", *settings(images), "--out", str(out), "--device", "cpu")
    assert "best bound" in lines(result)


def test_from_training_to_files_and_back(images: Path, tmp_path: Path) -> None:
    model, packed = tmp_path / "run", tmp_path / "digits.ncz"
    train(images, model)
    compress = ["compress", "--dataset", f"npy:{images}", "--model", str(model), "--json"]
    records = [
        json.loads(lines(command(*compress, "--order", order, "--force", "-o", str(packed))))
        for command, order in ((nc, "bit-swap"), (nc, "bb-ans"), (run, "bb-ans"))
    ]
    assert all(record["verified"] for record in records)
    assert [record["order"] for record in records] == ["bit-swap", "bb-ans", "bb-ans"]
    assert records[0]["initial_bits"] < records[1]["initial_bits"] == records[2]["initial_bits"]
    # The model is kept by its id, and need not be named again.
    (restored,) = lines(run("decompress", str(packed), "-o", str(tmp_path / "out"))).split()
    np.testing.assert_array_equal(np.load(restored), np.load(images))
    measured = json.loads(
        lines(run("evaluate", "--model", str(model), "--dataset", f"npy:{images}", "--json"))
    )
    by_name = {record["name"]: record for record in measured}
    assert by_name["elbo"]["value"] == pytest.approx(by_name["exact_elbo"]["value"], rel=0.05)
    assert by_name["elbo"]["n"] == 24
    shown = lines(run("demo", "--model", str(model), "--limit", "3"))
    assert shown.startswith("bit-swap:") and "\nbb-ans:" in shown


def test_terms_are_plotted(images: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    train(images, tmp_path / "run")
    figure = tmp_path / "terms.svg"
    lines(run("plot", str(tmp_path / "run"), "-o", str(figure)))
    assert figure.read_text().startswith("<?xml")
    assert figure.with_suffix(".csv").read_text().startswith("step,x/reconstruction,z1/KL,z2/KL")


def test_checkpoints_are_imported(images: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = HierarchicalVAE(Architecture(1, 8, 8, hidden=4, processing=1, blocks=2))
    checkpoint, out = tmp_path / "nz2", tmp_path / "nz2.safetensors"
    torch.save(model.state_dict(), checkpoint)
    arguments: list[Any] = ["import-checkpoint", checkpoint, "-o", out, "--bits", "4",
                            "--dataset", f"npy:{images}"]  # fmt: skip
    assert "nz 2, width 4" in lines(run(*map(str, arguments)))
    result = run("evaluate", "--model", str(out), "--dataset", f"npy:{images}", "--limit", "2")
    assert "exact_elbo" in lines(result)


def test_the_model_of_photographs_has_one_order(images: Path, tmp_path: Path) -> None:
    for order in ("bit-swap", "bb-ans"):
        result = run(
            "compress", "--dataset", f"npy:{images}", "-o", str(tmp_path / "x"), "--order", order
        )
        assert result.exit_code == ExitCode.USAGE
        assert result.stderr == (
            "nc: error: model 'bitswap-photo' codes in one order only; leave out the order\n"
        )


def test_an_unknown_order_is_a_mistake_of_usage() -> None:
    with pytest.raises(UsageError, match="no order 'swap-bit'; there are bit-swap and bb-ans"):
        nc_core.load_model("bitswap-mnist", only_this_package(), order="swap-bit")


def test_every_recipe_is_registered() -> None:
    (command,) = plugin.nc_commands()
    assert list(command.recipes) == recipe_names("nc_bitswap")


def test_records_are_accepted_and_load() -> None:
    plugins = only_this_package()
    assert not plugins.broken
    family = plugins.find(ModelSpec, "bitswap")
    assert family.load().__name__ == "load"
    assert isinstance(plugins.find(CommandSpec, "bitswap").load(), click.Group)


def test_listing_and_help_import_nothing_heavy() -> None:
    program = (
        "import sys, nc_bitswap.plugin, nc_bitswap.cli\n"
        "list(nc_bitswap.plugin.nc_models()), list(nc_bitswap.plugin.nc_commands())\n"
        "nc_bitswap.cli.bitswap.main(['train', '--help'], standalone_mode=False)\n"
        "print('MODULES', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120
    )
    modules = set(result.stdout.rpartition("MODULES ")[2].split())
    assert not modules & HEAVY


@pytest.mark.parametrize("name", [*sorted(bitswap.commands), "compress", "decompress"])
def test_every_command_has_help_that_ends_with_an_example(name: str) -> None:
    shown = lines(run(name, "--help"))
    assert f"nc run bitswap {name}" in shown.splitlines()[-1]
    if name in bitswap.commands:
        options = [one for one in bitswap.commands[name].params if isinstance(one, click.Option)]
        assert all(option.help for option in options)

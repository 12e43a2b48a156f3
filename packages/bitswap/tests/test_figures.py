"""Figures of runs and of published results, and the classical codecs beside them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from nc_bitswap.benchmark import benchmark, png_payload, png_with_payload
from nc_bitswap.cli import bitswap
from nc_bitswap.experiment_results import ARRAYS
from nc_bitswap.figure_cma import published_panel, run_panels, table_rows
from nc_bitswap.figure_digits import code_in_a_chain
from nc_bitswap.figure_stack import folder_curve, published_curve
from nc_bitswap.published import PUBLISHED, published
from nc_core.datasets.arrays import ArrayRows
from nc_core.errors import DataError, UsageError
from nc_core.evaluators.codecs import Picture, find_codecs
from nc_core.models import load_model
from nc_core.runs import RunDirectory

pytest.importorskip("matplotlib")


def plot(*arguments: object) -> Result:
    return CliRunner().invoke(bitswap, ["plot", *map(str, arguments)], catch_exceptions=False)


def training(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    with RunDirectory.create(path, {"data": {"test": "npy:x"}}, command="bitswap train") as run:
        for step, record in enumerate(records):
            run.log({"step": step, "phase": "evaluate", **record})
    return path


def hierarchy(path: Path, epochs: int = 4) -> Path:
    return training(
        path,
        [
            {"epoch": float(epoch), "elbo": 2.0, "x/reconstruction": 1.5, "z1/encoder": 1.0,
             "z1/KL": 0.3, "z2/KL": 0.2}
            for epoch in range(epochs)
        ],
    )  # fmt: skip


def experiments(path: Path, unfinished: int = 0) -> Path:
    config = {"dataset": "npy:x", "levels": 2, "orders": ["bit-swap"], "bits": [10],
              "padded_dims": 64, "dims": 32}  # fmt: skip
    with RunDirectory.create(path, config, command="bitswap experiment") as run:
        (run.path / "results").mkdir()
        for name in ARRAYS:
            array = np.ones((3, 60))
            array[:unfinished] = np.nan
            np.save(run.path / "results" / f"bitswap_10bits_{name}.npy", array)
    return path


def test_published_results_are_complete() -> None:
    for name in PUBLISHED:
        results = published(name)
        assert name == f"{results['dataset']}-nz{results['levels']}"
        curve = published_curve(name)
        assert len(curve.terms) == results["levels"] + 1
        totals = np.sum(list(curve.terms.values()), axis=0)
        assert totals[-1] == pytest.approx(results["bit-swap"]["elbo_mean"], rel=0.02)
    assert published("mnist-nz8")["bit-swap"]["cma100_mean"] == pytest.approx(1.29, abs=0.005)
    assert published("cifar10-nz8")["bb-ans"]["cma100_mean"] == pytest.approx(4.19, abs=0.005)
    assert published("imagenet32-nz4")["bb-ans"]["cma100_mean"] == pytest.approx(4.66, abs=0.005)


def test_published_results_are_the_golden_ones(shared: Path) -> None:
    path = shared / "golden" / "bitswap" / "published_results.json"
    for name, golden in json.loads(path.read_text()).items():
        ours = published(name.replace("cifar", "cifar10").replace("imagenet", "imagenet32")
                         .replace("_", "-"))  # fmt: skip
        for order, theirs in (("bit-swap", golden["bitswap"]), ("bb-ans", golden["bbans"])):
            for key in ("net_mean", "net_std", "cma1_mean", "cma50_std", "initial_bits_mean"):
                assert ours[order][key] == pytest.approx(theirs[key], rel=1e-6)


def test_averages_of_runs_and_published_ones_stand_side_by_side(tmp_path: Path) -> None:
    run, figure = experiments(tmp_path / "run"), tmp_path / "cma.svg"
    result = plot("cma", run, "--published", "mnist-nz8", "-o", figure)
    assert result.exit_code == 0, result.output
    assert figure.read_text().startswith("<?xml")
    table = figure.with_suffix(".csv").read_text().splitlines()
    assert len(table) == 1 + 60 + 2 * 3
    ours, bit_swap, bb_ans, _ = result.stdout.splitlines()
    # Per dimension without padding, of which there are half as many.
    assert ours.endswith(r"& Bit-Swap & 2.00 & 2.00 $\pm$ 0.00 & 2.00 & 2.00 & - \\")
    assert bit_swap.endswith(r"& 3.34 & 1.31 & 1.29 \\")
    assert bb_ans.endswith(r"& 21.93 & 1.68 & 1.48 \\")


def test_unfinished_experiments_are_left_out(tmp_path: Path) -> None:
    (panel,) = run_panels(experiments(tmp_path / "part", unfinished=2))
    assert panel.averages["bit-swap"].mean[0] == 2.0
    assert len(table_rows([panel, published_panel("mnist-nz2")])) == 3
    with pytest.raises(DataError, match="no experiment is finished"):
        run_panels(experiments(tmp_path / "none", unfinished=3))
    with pytest.raises(DataError, match="no run of experiments"):
        run_panels(hierarchy(tmp_path / "training"))


def test_training_of_either_family_is_plotted(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [{"elbo": 3.0, "lattice0": 2.0, "base": 1.0}] * 3
    for name, path, columns in (
        ("a", hierarchy(tmp_path / "a"), "step,x/reconstruction,z1/KL,z2/KL"),
        ("b", training(tmp_path / "b", records), "step,lattice0,base"),
        ("c", training(tmp_path / "c", records[:1]), "step,lattice0,base"),
    ):
        figure = tmp_path / f"{name}.png"
        assert plot("-o", figure, path).exit_code == 0
        assert plot("terms", path, "-o", figure).exit_code == 0
        assert figure.with_suffix(".csv").read_text().splitlines()[0] == columns


def test_learning_curves_are_stacked(tmp_path: Path) -> None:
    figure = tmp_path / "stack.png"
    result = plot("stack", hierarchy(tmp_path / "run"), "--published", "all", "--average", 2,
                  "-o", figure)  # fmt: skip
    assert result.exit_code == 0, result.output
    table = figure.with_suffix(".csv").read_text().splitlines()
    assert table[0] == "panel,axis,place,term,value,unit"
    with pytest.raises(DataError, match="fewer than two evaluations"):
        plot("stack", hierarchy(tmp_path / "short", 2), "-o", figure)


def test_exports_of_tensorboard_are_read(tmp_path: Path) -> None:
    for tag, offset in (("x_reconstruction", 1.0), ("z1_KL", 0.25), ("z10_KL", 0.5), ("z2_KL", 0)):
        rows = [f"{k}.5,{5 * k},{offset + k}" for k in range(4)]
        text = "\n".join(["Wall time,Step,Value", *rows[tag == "z1_KL" :]])
        (tmp_path / f"run-nz10-tag-{tag}_test.csv").write_text(text)
    curve = folder_curve(tmp_path)
    assert list(curve.terms) == ["x", "z1", "z2", "z10"]
    np.testing.assert_array_equal(curve.places, [5, 10, 15])
    np.testing.assert_array_equal(curve.terms["z1"], [1.25, 2.25, 3.25])
    np.testing.assert_array_equal(curve.averaged(3).terms["x"], [3.0])
    (tmp_path / "run-nz10-tag-z1_KL_test.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="Wall time, Step, Value"):
        folder_curve(tmp_path)
    with pytest.raises(DataError, match="neither a training run nor a folder"):
        folder_curve(tmp_path / "nowhere")


def test_a_misspelt_figure_and_an_empty_one_are_usage_errors(tmp_path: Path) -> None:
    assert plot("cmaa", tmp_path, "-o", "x.png").exit_code == 2
    result = plot("cma", "-o", tmp_path / "x.png")
    assert result.exit_code == 2
    assert "nothing to show" in result.output
    with pytest.raises(UsageError, match=r"cannot be saved as '\.txt'"):
        plot("cma", "--published", "mnist-nz2", "-o", tmp_path / "x.txt")
    assert isinstance(bitswap.commands["plot"], click.Group)


def test_bars_add_up_to_the_message(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 60, (3, 9, 7), np.uint8)
    model = load_model("bitswap-mnist")
    bits = code_in_a_chain(model, images[:, None])
    assert bits.sum() == pytest.approx(model.bits(images[:, None]).sum(), rel=0.1)
    np.save(tmp_path / "images.npy", images)
    figure = tmp_path / "digits.svg"
    result = plot("digits", "--dataset", f"npy:{tmp_path / 'images.npy'}", "-o", figure)
    assert result.exit_code == 0, result.output
    rows = figure.with_suffix(".csv").read_text().splitlines()[1:]
    np.testing.assert_allclose([float(row.split(",")[1]) for row in rows], bits)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_png_without_headers_still_decodes(shape: tuple[int, ...]) -> None:
    (png,) = find_codecs(["png"])
    for picture in (
        Picture(np.random.default_rng(0).integers(0, 256, shape, np.uint8)),
        Picture(np.where(np.arange(35).reshape(5, 7) % 3, np.uint8(255), np.uint8(0)), True),
    ):
        file: Any = png.encode(picture)  # type: ignore[arg-type]
        payload = png_payload(file)
        assert len(payload) < len(file)
        rebuilt = png_with_payload(payload, picture)
        decoded: Any = png.decode(rebuilt, picture)  # type: ignore[arg-type]
        np.testing.assert_array_equal(decoded, picture.pixels)


def test_both_protocols_measure_the_classical_codecs() -> None:
    images = np.random.default_rng(0).integers(0, 8, (12, 6, 6), np.uint8)
    data = ArrayRows("images", images, "hw", "images")
    rows = {row.codec: row for row in benchmark(data, "bit-swap", 3, 4, 100)}
    assert list(rows) == ["gzip", "bzip2", "xz", "png-idat", "webp"]
    assert all((row.experiments, row.images) == (3, 4) for row in rows.values())
    assert rows["gzip"].deviation is not None
    whole = {row.codec: row for row in benchmark(data, "bb-ans", 3, 4, 100)}
    assert whole["png"].bits_per_dim > rows["png-idat"].bits_per_dim + 8 * 40 / 36
    assert whole["gzip"].deviation is None
    with pytest.raises(UsageError, match="need 20 images"):
        benchmark(data, "bit-swap", 5, 4, 100)


def test_a_codec_that_fails_in_some_experiments_says_so(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 8, (6, 20, 20), np.uint8)
    for index, pixels in enumerate(images):
        # WebP holds no image that is wider than 16,383 pixels.
        wide = np.tile(pixels[:1], (1, 820)) if index == 0 else pixels
        Image.fromarray(wide).save(tmp_path / f"{index}.png")
    options = ["--dataset", f"folder:{tmp_path}", "--experiments", "3", "--images", "2"]
    result = CliRunner().invoke(bitswap, ["benchmark", *options], catch_exceptions=False)
    webp = next(line for line in result.stdout.splitlines() if line.startswith("WebP"))
    assert "(2 x 2 images); 1 failed: " in webp
    assert result.stdout.count("(3 x 2 images)\n") == 4


def test_the_whole_test_set_needs_what_it_did_for_bb_ans(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
    digits = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
    data = ArrayRows("digits", digits.reshape(-1, 28, 28), "hw", "digits")
    monkeypatch.setattr("nc_bitswap.benchmark._CODECS", ("gzip", "bzip2"))
    rates = {row.codec: row.bits_per_dim for row in benchmark(data, "bb-ans", 1, 1, 0)}
    assert rates["gzip"] == pytest.approx(1.63, abs=0.01)
    assert rates["bzip2"] == pytest.approx(1.41, abs=0.01)

"""The sandwich: which commands it consists of, and that they come together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nc_core.errors import DataError, UsageError
from nc_core.rd_figure import Units
from nc_rd_bounds import sandwich
from nc_rd_bounds.cli import rd_bounds
from nc_rd_bounds.sandwich import (
    Plan,
    applicable,
    claim_folder,
    collect_points,
    default_slopes,
    plan_points,
    read_codec_points,
    recipe_for,
    reference_of,
)
from nc_rd_bounds.sources.vectors import evaluation_pair, open_source

TINY = (
    "training.duration=20", "training.batch_size=64", "training.evaluate_every=20",
    "training.checkpoint_every=20", "training.log_every=20",
)  # fmt: skip


def plan(
    *methods: sandwich.Method, dataset: str = "banana", lambs: tuple[float, ...] = (3.0,)
) -> Plan:
    return Plan(dataset=dataset, evaluate_on=None, reference=dataset, lambs=lambs, methods=methods)


@pytest.mark.parametrize(
    ("dataset", "dims", "method", "size", "recipe"),
    [
        ("banana", 2, "upper", "small", "upper-banana-small"),
        ("banana:train", 2, "ntc", "paper", "upper-banana-ntc"),
        ("banana?dim=16", 16, "lower", "small", "lower-banana-16-small"),
        ("banana?dim=3", 3, "upper", "small", "upper-banana-small"),
        ("gaussian?params=g.npz", 1000, "upper", "paper", "upper-gaussian-1000"),
        ("speech-2d", 2, "lower", "paper", "lower-speech-2d"),
        ("npy:x.npy", 2, "lower", "small", "lower-vectors-small"),
        ("npy:x.npy", 2, "ntc", "small", "upper-vectors-ntc-small"),
        ("npy:x.npy", 2, "upper", "paper", "upper-vectors"),
    ],
)
def test_a_source_has_its_own_recipe_or_the_general_one(
    dataset: str, dims: int, method: sandwich.Method, size: str, recipe: str
) -> None:
    assert recipe_for(dataset, dims, method, size) == recipe


def test_slopes_follow_the_variance() -> None:
    narrow, wide = (open_source(f"gaussian?dim={n}") for n in (2, 8))
    expected = [4 * slope for slope in default_slopes(narrow)]
    assert default_slopes(wide) == pytest.approx(expected, rel=0.1)  # of one digit each


def test_no_grid_is_made_in_many_dimensions() -> None:
    source = open_source("gaussian?dim=8")
    assert "blahut-arimoto" not in applicable((), source)
    with pytest.raises(UsageError, match=r"no method 'uper'.*upper"):
        applicable(["uper"], source)


def test_every_point_is_a_command_of_its_own() -> None:
    source = open_source("banana")
    points = plan_points(plan("analytic", "upper", "lower", lambs=(1.0, 3.0)), source)
    assert [point.name for point in points] == [
        "analytic,curve", "analytic,lamb=1", "analytic,lamb=3", "upper,lamb=1", "upper,lamb=3",
        "lower,lamb=1", "lower,lamb=3",
    ]  # fmt: skip
    assert all(point.command[:2] == ("run", "rd-bounds") for point in points)


def test_histograms_are_of_the_data_that_bounds_are_evaluated_on(tmp_path: Path) -> None:
    _, drawn = evaluation_pair("banana?dim=4")
    assert reference_of("banana?dim=4", None, drawn) == "banana:test?dim=4"
    assert reference_of("banana:train?matrix=a/b.npy", None, drawn) == "banana:test?matrix=a/b.npy"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 2)))
    _, held_out = evaluation_pair(f"npy:{tmp_path / 'x.npy'}")
    assert reference_of("npy:x.npy", None, held_out) == "npy:x.npy"
    assert reference_of("npy:x.npy", "npy:y.npy", held_out) == "npy:y.npy"


def test_samples_that_are_all_equal_need_no_sandwich(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.ones((100, 2), np.float32))
    with pytest.raises(DataError, match="all samples are equal"):
        default_slopes(open_source(f"npy:{tmp_path / 'flat.npy'}"))


def test_points_of_codecs_come_from_a_table(tmp_path: Path) -> None:
    table = tmp_path / "codecs.csv"
    table.write_text("name,rate,distortion\nmine,2,0.25\n")
    (point,) = read_codec_points(table, 2, Units(rate_unit="bits", rate_per="dimension"))
    converted = point.converted("nats", "vector", "mse")
    assert (point.kind, point.method) == ("operating-point", "mine")
    assert converted.rate == pytest.approx(4 * np.log(2))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,rate\nmine,2\n", "no column 'distortion'"),
        ("name,rate,distortion\nmine,two,1\n", "line 2: 'two' is no number from 0 on"),
        ("name,rate,distortion\nmine,2,-1\n", "line 2: '-1' is no number from 0 on"),
        ("name,rate,distortion\nmine,2\n", "line 2: 'None' is no number from 0 on"),
    ],
)
def test_a_table_of_codecs_that_lacks_something_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    table = tmp_path / "codecs.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=reason):
        read_codec_points(table, 2, Units())


def test_a_folder_is_of_one_source_only(tmp_path: Path) -> None:
    out = tmp_path / "sandwich"
    banana, gaussian = (plan("upper", dataset=name).in_common() for name in ("banana", "gaussian"))
    claim_folder(out, banana, force=False)
    claim_folder(out, banana, force=False)
    with pytest.raises(UsageError, match="a sandwich with dataset 'banana', not 'gaussian'"):
        claim_folder(out, gaussian, force=False)
    (out / "points" / "upper,lamb=3").mkdir()
    claim_folder(out, gaussian, force=True)
    assert not (out / "points" / "upper,lamb=3").exists()
    with pytest.raises(DataError, match="exists, and is not a sandwich"):
        claim_folder(tmp_path, banana, force=True)


def test_close_slopes_are_different_points() -> None:
    points = plan_points(plan("lower", lambs=(3.0, 3.0000001, 3.0)), open_source("banana"))
    assert [point.name for point in points] == ["lower,lamb=3", "lower,lamb=3.0000001"]


def test_a_sandwich_is_computed_shown_and_drawn_again(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2000, 2)).astype("f4"))
    (tmp_path / "codecs.csv").write_text("name,rate,distortion\nmine,2,0.25\n")
    out = tmp_path / "sandwich"
    words = [
        "sandwich", "--dataset", f"npy:{tmp_path / 'x.npy'}", "--lamb", "3", "-o", str(out),
        "--codecs", str(tmp_path / "codecs.csv"), "--jobs", "2", "--json",
        *(word for setting in TINY for word in ("--set", setting)),
    ]  # fmt: skip
    first = CliRunner().invoke(rd_bounds, words, catch_exceptions=False)
    kinds = {point["kind"] for point in json.loads(first.stdout)}
    assert kinds >= {"upper", "lower", "estimate", "operating-point"}
    assert {file.name for file in out.iterdir()} >= {"sandwich.svg", "sandwich.csv", "points.json"}
    again = CliRunner().invoke(rd_bounds, words, catch_exceptions=False)
    assert json.loads(again.stdout) == json.loads(first.stdout)
    drawn = CliRunner().invoke(
        rd_bounds, ["plot", str(out), "--unit", "bits", "-o", str(tmp_path / "figure.png")],
        catch_exceptions=False,
    )  # fmt: skip
    assert drawn.exit_code == 0
    assert (tmp_path / "figure.png").exists()
    assert (tmp_path / "figure.csv").exists()
    assert len(collect_points(out)) == len(json.loads(first.stdout))


@pytest.mark.parametrize("slope", ["nan", "inf", "0", "-1", "steep"])
def test_a_slope_is_a_finite_number_above_0(tmp_path: Path, slope: str) -> None:
    words = ["sandwich", "--dataset", "banana", "--lamb", slope, "-o", str(tmp_path / "s")]
    refused = CliRunner().invoke(rd_bounds, words)
    assert refused.exit_code == 2
    assert "--lamb" in refused.stderr
    assert not (tmp_path / "s").exists()


def test_force_replaces_a_folder_whose_plan_is_damaged(tmp_path: Path) -> None:
    banana = plan("upper").in_common()
    claim_folder(tmp_path, banana, force=False)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json: damaged"):
        claim_folder(tmp_path, banana, force=False)
    claim_folder(tmp_path, banana, force=True)
    assert json.loads((tmp_path / "plan.json").read_text()) == banana

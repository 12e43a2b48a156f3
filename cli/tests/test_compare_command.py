"""nc compare: the numbers, the files that it keeps, and what it says about them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nc_core.errors import ExitCode
from nc_core.runs import RunDirectory

FEW = ("--codec", "png", "--codec", "gzip")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small smooth image."""
    y, x = np.mgrid[:48, :64]
    waves = 120 + 60 * np.sin(x / 7) + 40 * np.cos(y / 5)
    noise = np.random.default_rng(0).normal(0, 2, (48, 64, 3))
    pixels = np.clip(waves[..., None] * [1, 0.9, 0.8] + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_photograph_is_compared_with_every_codec(nc: Any, photo: Path) -> None:
    pytest.importorskip("imagecodecs")
    outcome = nc("compare", photo)
    assert outcome.exit_code == ExitCode.DONE
    lines = outcome.stdout.splitlines()
    first = "photo.png: 64 x 48 pixels, RGB, 8 bits per sample, 9,216 bytes uncompressed"
    assert lines[0] == first
    rows = [re.split(r"\s{2,}", line) for line in lines[3:15]]
    sizes = [int(row[1].replace(",", "")) for row in rows]
    assert len(sizes) == 12
    assert sizes == sorted(sizes)
    assert {row[-1] for row in rows} == {"yes"}
    assert [row[3] for row in rows if row[0] == "PNG"] == ["100.0 %"]
    assert re.search(r"nc predictive: [\d,]+ bytes, [\d.]+ % \w+ than PNG", outcome.stdout)
    assert "exactly the same pixels" in outcome.stdout
    assert names(photo.parent) == ["photo.png"]


def test_json_is_one_document(nc: Any, photo: Path) -> None:
    outcome = nc("compare", photo, *FEW, "--json")
    document = outcome.json()
    assert document["schema"] == "nc.compare/1"
    assert document["input_bytes"] == photo.stat().st_size
    rows = {row["codec"]: row for row in document["rows"]}
    assert set(rows) == {"predictive", "png", "gzip"}
    assert rows["png"]["ratio_to_png"] == 1.0
    assert rows["predictive"]["rate"]["total_bits"] == 8 * rows["predictive"]["total_bytes"]
    assert all(row["verified"] for row in rows.values())


def test_a_folder_keeps_file_images_table_and_figure(nc: Any, photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "comparison"
    outcome = nc("compare", photo, *FEW, "-o", out)
    assert outcome.exit_code == ExitCode.DONE
    assert names(out) == [
        "compare.csv", "compare.json", "compare.png", "decoded/photo.png", "photo.png.ncz",
    ]  # fmt: skip
    assert str(out / "photo.png.ncz") in outcome.stdout
    with Image.open(photo) as before, Image.open(out / "decoded" / "photo.png") as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))
    document = json.loads((out / "compare.json").read_text())
    ours = next(row for row in document["rows"] if row["kind"] == "nc")
    assert ours["file"] == "photo.png.ncz"
    assert ours["total_bytes"] == (out / "photo.png.ncz").stat().st_size
    with (out / "compare.csv").open(newline="") as file:
        assert [row["codec"] for row in csv.DictReader(file)] == [
            row["codec"] for row in document["rows"]
        ]
    with Image.open(out / "compare.png") as figure:
        assert min(figure.size) > 300


def test_existing_results_are_replaced_only_with_force(
    nc: Any, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "compare.json").write_text("mine")
    refused = nc("compare", photo, *FEW, "-o", out)
    assert refused.exit_code == ExitCode.DATA
    assert "compare.json: file exists" in refused.stderr
    assert names(out) == ["compare.json"]
    assert nc("compare", photo, *FEW, "-o", out, "--force").exit_code == ExitCode.DONE
    assert (out / "compare.json").read_text() != "mine"
    assert nc("compare", photo, *FEW, "-o", out, "--force").exit_code == ExitCode.DONE


def test_a_figure_alone_goes_where_asked(nc: Any, photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    outcome = nc("compare", photo, *FEW, "--plot", tmp_path / "fig.svg")
    assert outcome.exit_code == ExitCode.DONE
    assert b"<svg" in (tmp_path / "fig.svg").read_bytes()
    assert (tmp_path / "fig.csv").read_text().startswith("codec,title")
    assert nc("compare", photo, "--plot", tmp_path / "fig.svg").exit_code == ExitCode.DATA
    assert nc("compare", photo, "--plot", tmp_path / "fig.bmp").exit_code == ExitCode.USAGE


def test_a_jpeg_is_said_to_be_lossy(nc: Any, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as picture:
        picture.save(tmp_path / "named.png", "JPEG", quality=90)
    size = (tmp_path / "named.png").stat().st_size
    outcome = nc("compare", tmp_path / "named.png", *FEW)
    assert f"It is a JPEG of {size:,} bytes, which is lossy." in outcome.stdout
    assert "decoded pixels exactly" in outcome.stdout


def test_without_input_a_sample_photograph_is_used(nc: Any) -> None:
    pytest.importorskip("matplotlib")
    outcome = nc("compare", "--codec", "gzip")
    assert outcome.exit_code == ExitCode.DONE
    assert "512 x 600 pixels" in outcome.stdout
    assert "sample photograph from matplotlib" in outcome.stdout
    assert "It is a JPEG of 61,306 bytes" in outcome.stdout


def test_a_dataset_is_compared(nc: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(1).integers(0, 9, (30, 8, 9), np.uint8)
    np.save(tmp_path / "x.npy", rows)
    name = f"npy:{tmp_path / 'x.npy'}"
    outcome = nc("compare", "--dataset", name, "--limit", 20, *FEW, "-o", tmp_path / "out")
    assert outcome.exit_code == ExitCode.DONE
    assert "20 items, 1,440 pixels, 1,440 bytes uncompressed" in outcome.stdout
    (packed,) = (tmp_path / "out").glob("*.ncz")
    (decoded,) = (tmp_path / "out" / "decoded").iterdir()
    assert decoded.suffix == ".npy"
    assert np.array_equal(np.load(decoded), rows[:20])
    assert nc("info", packed).exit_code == ExitCode.DONE


def test_several_images_and_sixteen_bits(nc: Any, photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    outcome = nc("compare", photo, tmp_path / "deep.png")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.stdout.startswith("photo.png and more: 2 images, 3,672 pixels")
    assert "not measured: WebP lossless, AVIF lossless (no 16-bit samples)" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["nowhere.png"], ExitCode.DATA, "nowhere.png"),
        (["--codec", "pngg"], ExitCode.USAGE, "did you mean 'png'"),
        (["--limit", "3"], ExitCode.USAGE, "--dataset"),
        (["x.png", "--dataset", "mnist"], ExitCode.USAGE, "not both"),
        (["--model", "predictiv"], ExitCode.PLUGIN, "predictive"),
    ],
)
def test_mistakes_are_one_line_with_their_exit_code(
    nc: Any, arguments: list[str], code: ExitCode, reason: str
) -> None:
    outcome = nc("compare", *arguments)
    assert outcome.exit_code == code
    assert reason in outcome.stderr
    assert outcome.stdout == ""


def test_broken_images_are_refused_and_nothing_is_left(nc: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    outcome = nc("compare", tmp_path / "bad.png", "-o", tmp_path / "out")
    assert outcome.exit_code == ExitCode.DATA
    assert "bad.png" in outcome.stderr
    assert names(tmp_path) == ["bad.png"]
    assert not (tmp_path / "out").exists()


def test_an_interruption_leaves_nothing_behind(
    nc: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nc_core.comparison.measure_codecs", interrupted)
    outcome = nc("compare", photo, "-o", tmp_path / "out")
    assert outcome.exit_code == ExitCode.INTERRUPTED
    assert not (tmp_path / "out").exists()


def test_help_ends_with_an_example(nc: Any) -> None:
    page = nc("compare", "--help").stdout
    assert page.strip().splitlines()[-1].lstrip().startswith("nc compare")


def packed(nc: Any, photo: Path, folder: Path) -> tuple[Path, Path]:
    """A compressed file, and the rate record that making it printed."""
    out, record = folder / "photo.ncz", folder / "rate.json"
    record.write_text(nc("compress", photo, "-o", out, "--json").stdout)
    return out, record


def trained(folder: Path) -> Path:
    with RunDirectory.create(folder / "run", {"width": 2}) as run:
        for step, bound in ((10, 2.5), (20, 2.25), (30, 2.375)):
            run.log({"step": step, "phase": "evaluate", "elbo": bound})
            run.log({"step": step, "seconds_per_step": 0.5}, name="timing")
    return folder / "run"


def test_files_runs_and_records_are_put_side_by_side(nc: Any, photo: Path, tmp_path: Path) -> None:
    file, record = packed(nc, photo, tmp_path)
    run = trained(tmp_path)
    document = nc("compare", file, record, run, "--json").json()
    assert document["schema"] == "nc.outcomes/1"
    of_file, of_record, of_run = document["rows"]
    assert [row["kind"] for row in document["rows"]] == ["file", "record", "run"]
    assert of_file["total_bytes"] == of_record["total_bytes"] == file.stat().st_size
    assert of_file["model"] == "predictive"
    assert of_file["encode_seconds"] is None
    assert of_record["encode_seconds"] > 0
    assert (of_run["steps"], of_run["seconds_per_step"]) == (30, 0.5)
    assert (of_run["evaluated"], of_run["value"]) == ("elbo/evaluate", 2.25)
    shown = nc("compare", file, run).stdout
    assert "predictive" in shown
    assert "elbo/evaluate" in shown


def test_a_run_shows_the_rate_records_among_its_results(
    nc: Any, photo: Path, tmp_path: Path
) -> None:
    _, record = packed(nc, photo, tmp_path)
    rate = json.loads(record.read_text())
    with RunDirectory.create(tmp_path / "run", {}) as run:
        run.save_result("files", [{"order": order, "rate": rate} for order in ("a", "b")])
    rows = nc("compare", tmp_path / "run", "--json").json()["rows"]
    assert [row["order"] for row in rows] == ["a", "b"]
    assert {row["bits_per_dim"] for row in rows} == {rate["bits_per_dim"]}
    assert len({row["name"] for row in rows}) == 2


def test_what_is_side_by_side_is_kept_as_table_and_figure(
    nc: Any, photo: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    file, record = packed(nc, photo, tmp_path)
    out = tmp_path / "out"
    assert nc("compare", file, record, "-o", out).exit_code == ExitCode.DONE
    assert names(out) == ["compare.csv", "compare.json", "compare.png"]
    with (out / "compare.csv").open(newline="") as table:
        assert [row["kind"] for row in csv.DictReader(table)] == ["file", "record"]
    assert nc("compare", file, "-o", out).exit_code == ExitCode.DATA
    assert nc("compare", file, "--plot", tmp_path / "x.svg").exit_code == ExitCode.DONE
    assert b"<svg" in (tmp_path / "x.svg").read_bytes()


def test_what_cannot_be_put_side_by_side_is_said(nc: Any, photo: Path, tmp_path: Path) -> None:
    file, _ = packed(nc, photo, tmp_path)
    mixed = nc("compare", file, photo)
    assert mixed.exit_code == ExitCode.USAGE
    assert "compare either images, or compressed files and runs" in mixed.stderr
    (tmp_path / "other.json").write_text("[1, 2]")
    nothing = nc("compare", tmp_path / "other.json")
    assert nothing.exit_code == ExitCode.DATA
    assert "holds no rate record" in nothing.stderr
    (tmp_path / "bad.ncz").write_bytes(file.read_bytes()[:40])
    assert nc("compare", tmp_path / "bad.ncz").exit_code == ExitCode.CORRUPT
    assert nc("compare", tmp_path / "no.ncz").exit_code == ExitCode.DATA
    with RunDirectory.create(tmp_path / "empty", {}):
        pass
    assert "without metrics" in nc("compare", tmp_path / "empty").stderr

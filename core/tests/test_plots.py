"""Figures in one look, saved whole with their data beside them."""

from __future__ import annotations

import builtins
import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nc_core.comparison import COLUMNS, Comparison, Row
from nc_core.errors import DataError, MissingDependencyError, UsageError
from nc_core.plots import (
    check_suffix,
    draw_comparison,
    format_seconds,
    look,
    save_figure,
    write_csv,
)


def comparison() -> Comparison:
    def row(name: str, kind: str, size: int | None, seconds: float | None) -> Row:
        return Row(
            codec=name, title=name.upper(), settings="usual", kind=kind, total_bytes=size,
            bits_per_dim=None if size is None else 8 * size / 300,
            bits_per_pixel=None if size is None else 8 * size / 100,
            encode_seconds=seconds, decode_seconds=seconds, verified=size is not None,
            reason=None if size is not None else "not installed",
        )  # fmt: skip

    return Comparison(
        source="photo.png", items=1, dims=300, pixels=100, raw_bytes=300, input_bytes=280,
        rows=(
            row("ours", "nc", 100, 0.2), row("png", "image", 200, 0.03),
            row("gzip", "stream", 250, 2.5e-5), row("avif", "image", None, None),
        ),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _matplotlib() -> None:
    pytest.importorskip("matplotlib")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".SVG"])
def test_a_figure_is_saved_by_suffix_with_its_data_beside_it(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"figure{suffix}"
    saved = save_figure(draw_comparison(comparison()), path, COLUMNS, comparison().table())
    assert saved == (path, tmp_path / "new" / "figure.csv")
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix.lower()]
    assert path.read_bytes().startswith(start)
    with saved[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["codec"] for row in rows] == ["ours", "png", "gzip", "avif"]
    assert rows[0]["ratio_to_png"] == "0.5"
    assert rows[3]["total_bytes"] == ""
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, "figure.csv"])


def test_equal_data_give_equal_files(tmp_path: Path) -> None:
    for suffix in (".png", ".svg", ".pdf"):
        contents = set()
        for name in ("a", "b"):
            path = tmp_path / f"{name}{suffix}"
            save_figure(draw_comparison(comparison()), path, COLUMNS, comparison().table())
            contents.add(path.read_bytes())
        assert len(contents) == 1, suffix


def test_global_settings_are_untouched_and_pyplot_is_not_needed(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.rcParams["font.size"] = 31
    matplotlib.rcParams["axes.facecolor"] = "red"
    had_pyplot = "matplotlib.pyplot" in sys.modules
    before = {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
    try:
        save_figure(draw_comparison(comparison()), tmp_path / "a.png", COLUMNS, [])
        after = {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
    finally:
        matplotlib.rcdefaults()
    assert before == after
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.convert("RGB").getpixel((2, picture.height - 2)) == (255, 255, 255)


def test_axes_say_what_they_show_and_in_which_unit() -> None:
    figure = draw_comparison(comparison())
    sizes, times = figure.axes
    assert sizes.get_xlabel() == "bits per sample"
    assert "seconds" in times.get_xlabel()
    assert times.get_xscale() == "log"
    assert [label.get_text() for label in sizes.get_yticklabels()] == ["OURS", "PNG", "GZIP"]
    assert {text.get_text() for text in sizes.texts} == {"2.667", "5.333", "6.667"}
    assert {text.get_text() for text in times.texts} == {"200 ms", "30 ms", "25 µs"}


def test_a_comparison_without_numbers_can_be_drawn(tmp_path: Path) -> None:
    nothing = Comparison(
        source="x", items=2, dims=2, pixels=None, raw_bytes=2, input_bytes=None, rows=()
    )
    save_figure(draw_comparison(nothing), tmp_path / "x.svg", COLUMNS, nothing.table())


def test_other_suffixes_are_usage_errors(tmp_path: Path) -> None:
    for name in ("a.jpg", "a", "a.png.txt"):
        with pytest.raises(UsageError, match="cannot be saved") as error:
            check_suffix(tmp_path / name)
        assert ".svg" in str(error.value.hint)
    with pytest.raises(UsageError):
        save_figure(draw_comparison(comparison()), tmp_path / "a.bmp", COLUMNS, [])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_reported_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file"):
        write_csv(tmp_path / "file" / "a.csv", ["x"], [])


def test_text_in_tables_is_kept(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["name"], [['a,"b" ü\nc'], [None]])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name"], ['a,"b" ü\nc'], [""]]


def test_without_matplotlib_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match="matplotlib") as error, look():
        pass
    assert error.value.hint == "pip install 'nc-core[plots]'"
    with pytest.raises(MissingDependencyError):
        draw_comparison(comparison())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 µs"), (2.5e-6, "2.5 µs"), (9.96e-4, "996 µs"), (9.996e-4, "1.0 ms"),
     (0.0452, "45 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (3.14, "3.1 s"), (210.4, "210 s")],
)  # fmt: skip
def test_times_are_short(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text

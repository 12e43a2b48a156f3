"""Models of ours and classical codecs on the same samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nc_core.ans.rans import Rans
from nc_core.comparison import COLUMNS, compare
from nc_core.errors import DataError
from nc_core.evaluators.codecs import find_codecs
from nc_core.sources import ArraySource, FileSource
from raw_model import BorrowingModel, RawModel

CODER = Rans()
IMAGE = np.random.default_rng(0).integers(100, 120, (40, 50, 3), np.uint8)
FEW = find_codecs(["png", "gzip"])


def test_rows_are_sorted_by_size_and_all_are_exact() -> None:
    source = ArraySource(IMAGE)
    result = compare(source, "image", [RawModel(), BorrowingModel()], CODER)
    sizes = [row.total_bytes for row in result.rows if row.total_bytes is not None]
    assert sizes == sorted(sizes)
    assert {row.kind for row in result.rows} == {"nc", "image", "stream"}
    assert all(row.verified == (row.total_bytes is not None) for row in result.rows)
    assert (result.items, result.dims, result.pixels) == (1, 6000, 2000)
    assert (result.raw_bytes, result.input_bytes) == (6000, None)
    for row in result.rows:
        if row.total_bytes is not None:
            assert row.bits_per_dim == pytest.approx(8 * row.total_bytes / 6000)
            assert row.bits_per_pixel == pytest.approx(8 * row.total_bytes / 2000)


def test_ratios_are_to_png() -> None:
    result = compare(ArraySource(IMAGE), "image", [RawModel()], CODER, codecs=FEW)
    by_name = {row.codec: row for row in result.rows}
    png = by_name["png"].total_bytes
    assert png is not None
    assert result.ratio_to_png(by_name["png"]) == 1.0
    assert result.ratio_to_png(by_name["raw"]) == by_name["raw"].total_bytes / png  # type: ignore[operator]
    without = compare(ArraySource(IMAGE), "x", [], CODER, codecs=find_codecs(["gzip"]))
    assert without.ratio_to_png(without.rows[0]) is None


def test_files_are_kept_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "image.ncz"
    result = compare(ArraySource(IMAGE), "image", [RawModel()], CODER, files=[path], codecs=FEW)
    (ours,) = [row for row in result.rows if row.kind == "nc"]
    assert ours.file == "image.ncz"
    assert ours.total_bytes == path.stat().st_size
    assert ours.rate is not None
    assert ours.rate.total_bits == 8 * path.stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["image.ncz"]
    with pytest.raises(DataError, match="exists"):
        compare(ArraySource(IMAGE), "image", [RawModel()], CODER, files=[path], codecs=FEW)


def test_several_files_count_together(tmp_path: Path) -> None:
    for index, pixels in enumerate([IMAGE, IMAGE[:7, :9], IMAGE[..., 0]]):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    source = FileSource(sorted(tmp_path.iterdir()))
    result = compare(source, "three", [RawModel()], CODER, codecs=FEW, input_bytes=123)
    assert (result.items, result.dims) == (3, 6000 + 189 + 2000)
    assert (result.pixels, result.input_bytes) == (2000 + 63 + 2000, 123)
    assert {row.kind for row in result.rows if row.verified} == {"nc", "image", "stream"}


@pytest.mark.parametrize("layout", ["hw", "chw", "nhw", "none", "nnone"])
def test_every_layout_can_be_compared(layout: str) -> None:
    shape = {"hw": (5, 6), "chw": (3, 5, 6), "nhw": (4, 5, 6), "none": (30,), "nnone": (4, 30)}
    array = IMAGE.ravel()[: np.prod(shape[layout])].reshape(shape[layout])
    result = compare(ArraySource(array, layout), "x", [RawModel()], CODER, codecs=FEW)
    verified = {row.codec for row in result.rows if row.verified}
    assert verified == ({"raw", "gzip"} if "none" in layout else {"raw", "gzip", "png"})
    assert (result.pixels is None) == ("none" in layout)


def test_json_and_table_hold_the_same_numbers() -> None:
    result = compare(ArraySource(IMAGE), "image", [RawModel()], CODER, codecs=FEW)
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["schema"] == "nc.compare/1"
    assert [row["codec"] for row in document["rows"]] == [row[0] for row in result.table()]
    for row, cells in zip(document["rows"], result.table(), strict=True):
        assert [row[name] for name in COLUMNS] == cells
        assert (row["rate"] is not None) == (row["kind"] == "nc")


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[str, int, int]] = []
    compare(
        ArraySource(IMAGE), "image", [RawModel()], CODER, codecs=FEW,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    done = [step[1] for step in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1][2]
    assert len({step[2] for step in seen}) == 1

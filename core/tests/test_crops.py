"""Crops of photographs are a function of the seed and the index."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nc_core import open_dataset
from nc_core.datasets.items import count_items
from nc_core.errors import DataError, UsageError
from nc_core.protocols import Dataset


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, one of them in a folder of the folder; each says which it is, and where."""
    for number, (name, height, width) in enumerate(
        [("a.png", 40, 50), ("b.png", 32, 33), ("class/c.png", 60, 41)]
    ):
        rows, columns = np.indices((height, width), np.uint8)
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([np.full_like(rows, number), rows, columns], 2)).save(path)
    return tmp_path / "photos"


def corner(crop: np.ndarray) -> tuple[int, int, int]:
    """Which image a crop is of, and where it was taken."""
    number, top, left = (int(value) for value in crop[0, 0])
    height, width = crop.shape[:2]
    rows, columns = np.indices((height, width))
    np.testing.assert_array_equal(crop[..., 0], number)
    np.testing.assert_array_equal(crop[..., 1], rows + top)
    np.testing.assert_array_equal(crop[..., 2], columns + left)
    return number, top, left


def test_each_round_takes_every_image_once(photos: Path) -> None:
    dataset = open_dataset(f"crops:{photos}?count=300")
    assert isinstance(dataset, Dataset)
    assert (len(dataset), dataset.shape, dataset.dtype) == (300, (32, 32, 3), np.uint8)
    corners = [corner(dataset[index]["image"]) for index in range(300)]
    rounds = [tuple(c[0] for c in corners[start : start + 3]) for start in range(0, 300, 3)]
    assert {tuple(sorted(order)) for order in rounds} == {(0, 1, 2)}
    assert len(set(rounds)) == 6
    tops = {c[1] for c in corners if c[0] == 0}
    lefts = {c[2] for c in corners if c[0] == 0}
    assert (tops, lefts) == (set(range(9)), set(range(19)))
    for outside in (-1, 300):
        with pytest.raises(IndexError):
            dataset[outside]


def test_a_crop_is_a_function_of_seed_and_index(photos: Path) -> None:
    one, two = (open_dataset(f"crops:{photos}?seed=1&count=endless") for _ in range(2))
    backwards = [two[index]["image"] for index in reversed(range(20))][::-1]
    for index in range(20):
        np.testing.assert_array_equal(one[index]["image"], backwards[index])
    other = open_dataset(f"crops:{photos}?seed=2&count=endless")
    assert any((one[i]["image"] != other[i]["image"]).any() for i in range(20))
    short = open_dataset(f"crops:{photos}?seed=1")
    np.testing.assert_array_equal(short[2]["image"], one[2]["image"])
    assert len(short) == 3


def test_known_crops_stay_as_they_are(photos: Path) -> None:
    dataset = open_dataset(f"crops:{photos}?size=16&seed=5&count=endless")
    found = [corner(dataset[index]["image"]) for index in (0, 1, 2, 1000)]
    assert found == [(2, 9, 9), (1, 8, 6), (0, 11, 20), (1, 11, 3)]


def test_a_sampler_without_end_asks_for_a_limit(photos: Path) -> None:
    dataset = open_dataset(f"crops:{photos}?count=endless")
    with pytest.raises(UsageError, match="has no end") as error:
        count_items(dataset)
    assert "--limit" in str(error.value)
    assert dataset[10**6]["image"].shape == (32, 32, 3)


def test_grey_palette_cmyk_and_alpha_become_rgb(shared: Path, tmp_path: Path) -> None:
    for name in ("gray8.png", "palette.png", "cmyk.jpg", "rgba.png", "bilevel.png", "gray.jpg"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(shared / "data" / "broken" / name, folder / name)
        crop = open_dataset(f"crops:{folder}?size=64")[0]["image"]
        assert (crop.shape, crop.dtype) == ((64, 64, 3), np.uint8)
        if name.startswith(("gray", "bilevel")):
            assert (crop == crop[..., :1]).all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated.png", "damaged image"),
        ("rgb16.png", "16 bits per channel"),
        ("gray16.png", "16 bits per channel"),
        ("odd_17x13.png", "17x13, smaller than a crop of 32"),
        ("bomb_header.png", "more than a file of its size can hold"),
    ],
)
def test_images_that_give_no_crop_are_named(
    name: str, reason: str, shared: Path, tmp_path: Path
) -> None:
    shutil.copy(shared / "data" / "broken" / name, tmp_path / name)
    with pytest.raises(DataError, match=reason) as error:
        open_dataset(f"crops:{tmp_path}")[0]
    assert name in error.value.message


def test_wrong_options_and_folders_are_refused(photos: Path, tmp_path: Path) -> None:
    for option in ("size=0", "size=20000", "count=0", "count=-1", "count=many", "seed=x"):
        with pytest.raises(UsageError):
            open_dataset(f"crops:{photos}?{option}")
    (tmp_path / "empty").mkdir()
    for name, reason in (
        ("empty", "no image files"),
        ("nowhere", "no such"),
        ("photos/a.png", "a file"),
    ):
        with pytest.raises(DataError, match=reason):
            open_dataset(f"crops:{tmp_path / name}")

"""Images as the original loads them: order, size, channels, classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nc_core.errors import DataError, UsageError
from nc_core.images import read_image
from nc_diffusion_bb.config import ModelConfig
from nc_diffusion_bb.data import DatasetItems, FolderFiles, Images, open_images, scaled, to_pixels
from nc_diffusion_bb.pictures import picture_files


def model(size: int, channels: int = 3, classes: int | None = None) -> ModelConfig:
    return ModelConfig(image_size=size, channels=channels, classes=classes)


def arrays_of(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return dict(arrays)


def picture(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def test_a_folder_has_the_original_s_order(shared: Path) -> None:
    golden = shared / "golden" / "diffusion-bb"
    folder = golden / "loader_images"
    found = [path.relative_to(folder).as_posix() for path in picture_files(folder)]
    assert found == json.loads((golden / "loader.json").read_text())["order"]


def test_images_are_those_that_the_original_s_loader_gives(shared: Path) -> None:
    golden = shared / "golden" / "diffusion-bb"
    arrays = arrays_of(golden / "loader.npz")
    cases = json.loads((golden / "loader.json").read_text())["cases"]
    images = open_images(f"folder:{golden / 'loader_images'}", model(cases[0]["target"]))
    paths = FolderFiles("x", golden / "loader_images").paths
    for case in cases:
        index = paths.index(golden / "loader_images" / case["path"])
        loaded = scaled(images.load(np.array([index])))[0]
        expected = arrays[f"{case['name']}.output"]
        assert loaded.dtype == expected.dtype
        np.testing.assert_array_equal(loaded, expected)


def test_values_are_taken_back_to_the_original_s_pixels(shared: Path) -> None:
    arrays = arrays_of(shared / "golden" / "diffusion-bb" / "loader.npz")
    np.testing.assert_array_equal(to_pixels(arrays["quantize.in"]), arrays["quantize.out"])
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_pixels(scaled(pixels)), pixels)


def test_arrays_are_scaled_as_files_are(shared: Path, tmp_path: Path) -> None:
    """Also a picture of another mode, as far as arrays have it."""
    golden = shared / "golden" / "diffusion-bb"
    arrays = arrays_of(golden / "loader.npz")
    for case in json.loads((golden / "loader.json").read_text())["cases"]:
        pixels = read_image(golden / "loader_images" / case["path"]).pixels
        np.save(tmp_path / "x.npy", pixels[None])
        images = open_images(f"npy:{tmp_path / 'x.npy'}", model(case["target"]))
        np.testing.assert_array_equal(scaled(images.first(1))[0], arrays[f"{case['name']}.output"])


@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_images_of_the_model_s_size_stay_as_they_are(tmp_path: Path, layout: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    stored = pixels if layout == "hwc" else pixels.transpose(0, 3, 1, 2)
    np.save(tmp_path / "x.npy", stored)
    images = open_images(f"npy:{tmp_path / 'x.npy'}?layout={layout}", model(8))
    assert (len(images), images.count, images.shape) == (5, 5, (3, 8, 8))
    np.testing.assert_array_equal(
        images.load(np.array([4, 0])), pixels[[4, 0]].transpose(0, 3, 1, 2)
    )
    assert len(images.first(9)) == 5
    assert images.labels(np.arange(2)) is None


def test_grey_images_give_three_equal_channels_or_one(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    np.save(tmp_path / "x.npy", pixels)
    picture(tmp_path / "photos" / "x.png", pixels[0])
    for name in (f"npy:{tmp_path / 'x.npy'}", f"folder:{tmp_path / 'photos'}"):
        np.testing.assert_array_equal(open_images(name, model(8, 1)).first(1), pixels[:, None])
        np.testing.assert_array_equal(open_images(name, model(8)).first(1)[0], [pixels[0]] * 3)


def test_a_grey_model_refuses_colours(tmp_path: Path) -> None:
    picture(tmp_path / "x.png", np.zeros((8, 8, 3)))
    with pytest.raises(DataError, match=r"x\.png: RGB pixels, where the model takes grey"):
        open_images(f"folder:{tmp_path}", model(8, 1))


def test_classes_of_files_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    for name in ("dog_1.png", "bird_0.png", "sub/cat_7_x.png", ".hidden_0.png"):
        picture(tmp_path / name, np.zeros((8, 8, 3)))
    images = open_images(f"folder:{tmp_path}", model(8, classes=3))
    labels = images.labels(np.arange(3))
    assert labels is not None
    assert labels.tolist() == [0, 2, 1]  # bird, dog, and the cat in the folder behind
    with pytest.raises(DataError, match="class 2, where the model has 2 classes"):
        open_images(f"folder:{tmp_path}", model(8, classes=2)).labels(np.arange(3))


def test_classes_of_a_dataset_are_its_labels(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NC_DATA", str(shared / "data"))
    digits = open_images("mnist:test", model(28, 1, classes=10))
    labels = digits.labels(np.arange(5))
    assert labels is not None
    assert labels.tolist() == [7, 2, 1, 0, 4]


def test_a_dataset_without_classes_is_no_data_for_a_model_that_wants_them(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8, 3), np.uint8))
    images = open_images(f"npy:{tmp_path / 'x.npy'}", model(8, classes=10))
    with pytest.raises(DataError, match="has no classes"):
        images.labels(np.arange(1))


class Endless:
    """A sampler without end."""

    name = "endless"
    fields: tuple[str, ...] = ("image",)
    shape: tuple[int | None, ...] = (4, 4, 3)
    dtype = np.dtype(np.uint8)
    range = (0.0, 255.0)
    layout: Any = "hwc"

    def __len__(self) -> int:
        raise TypeError

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": np.full((4, 4, 3), index, np.uint8)}


def test_samplers_without_end_have_no_length() -> None:
    images = Images(DatasetItems(Endless()), (3, 4, 4))
    assert images.count is None
    assert images.first(3)[:, 0, 0, 0].tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match="no end"):
        len(images)


def test_other_samples_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8), np.float32))
    with pytest.raises(DataError, match="no 8-bit images"):
        open_images(f"npy:{tmp_path / 'x.npy'}", model(8))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated.png", "damaged"),
        ("bad_crc.png", "damaged"),
        ("truncated.jpg", "damaged"),
        ("empty.png", "empty"),
        ("text.png", "not an image"),
        ("bomb_header.png", "declares"),
        ("bomb_medium.png", "declares"),
        ("rgb16.png", "16 bits"),
        ("gray16.png", "16 bits"),
        ("animated.gif", "3 images"),
    ],
)
def test_bad_image_files_are_named(shared: Path, tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).symlink_to(shared / "data" / "broken" / name)
    with pytest.raises(DataError, match=reason) as refused:
        open_images(f"folder:{tmp_path}", model(32))
    assert name in refused.value.message


@pytest.mark.parametrize(
    "name",
    ["bilevel.png", "cmyk.jpg", "gray.jpg", "gray_alpha.png", "interlaced.png", "jpeg_named.png",
     "narrow_1x300.png", "odd_17x13.png", "one_pixel.png", "palette.png", "rgba.png",
     "palette_transparent.png", "name with spaces and ünïcode.png"],
)  # fmt: skip
def test_odd_image_files_give_colours(shared: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(shared / "data" / "broken" / name)
    loaded = open_images(f"folder:{tmp_path}", model(32)).first(1)
    assert loaded.shape == (1, 3, 32, 32)


def test_what_is_no_folder_of_images_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_images(f"folder:{tmp_path / 'x'}", model(32))
    (tmp_path / "x.bmp").write_bytes(b"")
    with pytest.raises(DataError, match=r"no image files \(gif, jpeg, jpg, png\)"):
        open_images(f"folder:{tmp_path}", model(32))
    with pytest.raises(DataError, match="a file, not a folder"):
        open_images(f"folder:{tmp_path / 'x.bmp'}", model(32))
    (tmp_path / "again").symlink_to(tmp_path)
    with pytest.raises(DataError, match="a link to a folder above it"):
        open_images(f"folder:{tmp_path}", model(32))

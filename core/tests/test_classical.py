"""Classical codecs: really coded, really compared, and honest about what they cannot do."""

from __future__ import annotations

import builtins
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core import open_dataset
from nc_core.datasets.arrays import ArrayRows
from nc_core.errors import UsageError
from nc_core.evaluators import classical
from nc_core.evaluators.classical import ClassicalResult, evaluate_classical, measure_codecs
from nc_core.evaluators.codecs import CODECS, ImageCodec, Picture, find_codecs
from nc_core.evaluators.request import EvaluationRequest
from nc_core.images import read_image

RANDOM = np.random.default_rng(0)
STREAMS = ("gzip", "bzip2", "xz", "zstd")


def picture(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    """A smooth image with a little noise."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = 0.5 + 0.3 * np.sin(x / 7) + 0.15 * np.cos(y / 5)
    scale = np.iinfo(dtype).max
    plane = waves if len(shape) == 2 else waves[..., None] * np.linspace(0.6, 1, shape[2])
    noisy = plane + RANDOM.normal(0, 0.01, shape)
    return (np.clip(noisy, 0, 1) * scale).astype(dtype)


def measured(array: NDArray[Any], layout: str, **options: Any) -> dict[str, ClassicalResult]:
    results = measure_codecs([(array, layout)], 1, **options)  # type: ignore[list-item]
    return {result.codec: result for result in results}


@pytest.fixture(autouse=True)
def _all_codecs() -> None:
    pytest.importorskip("imagecodecs")


IMAGES = {
    "grey": picture(24, 36),
    "grey with alpha": picture(24, 36, 2),
    "rgb": picture(24, 36, 3),
    "rgb with alpha": picture(24, 36, 4),
    "opaque": np.dstack([picture(24, 36, 3), np.full((24, 36), 255, np.uint8)]),
    "grey 16": picture(24, 36, dtype="uint16"),
    "rgb 16": picture(24, 36, 3, dtype="uint16"),
    "rgb with alpha 16": picture(24, 36, 4, dtype="uint16"),
    "one pixel": picture(1, 1, 3),
    "one grey pixel": picture(1, 1),
    "narrow": picture(40, 1, 3),
    "odd": picture(13, 17, 3),
    "constant": np.full((20, 20, 3), 7, np.uint8),
    "noise": RANDOM.integers(0, 256, (40, 40, 3), np.uint8),
    "noise 16": RANDOM.integers(0, 65536, (40, 40, 3)).astype(np.uint16),
    "hidden colours": np.dstack(
        [RANDOM.integers(0, 256, (16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)]
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_every_codec_gives_the_same_pixels_back_or_says_that_it_cannot(name: str) -> None:
    array = IMAGES[name]
    results = measured(array, "hw" if array.ndim == 2 else "hwc")
    assert list(results) == [codec.name for codec in CODECS]
    for codec, result in results.items():
        deep = array.dtype == np.uint16
        if deep and codec in ("webp", "avif"):
            assert result.reason == "no 16-bit samples"
        elif array.shape[2:] == (2,) and codec == "jpeg-ls":
            assert result.reason == "no images of 2 channels"
        else:
            assert result.reason is None, codec
            assert result.verified
            assert result.total_bytes and result.encode_seconds and result.decode_seconds
            assert result.bits_per_dim == 8 * result.total_bytes / array.size
            pixels = array.shape[0] * array.shape[1]
            assert result.bits_per_pixel == 8 * result.total_bytes / pixels


def test_layouts_are_brought_to_the_form_of_image_files() -> None:
    array = picture(12, 18, 3)
    planes = np.ascontiguousarray(array.transpose(2, 0, 1))
    png = find_codecs(["png"])
    assert (
        measured(array, "hwc", codecs=png)["png"].total_bytes
        == measured(planes, "chw", codecs=png)["png"].total_bytes
    )
    grey = measured(array[..., :1], "hwc", codecs=png)["png"]
    assert grey.total_bytes == measured(array[..., 0], "hw", codecs=png)["png"].total_bytes
    assert (grey.dims, grey.pixels) == (216, 216)


def test_data_that_are_no_images_go_to_the_compressors_only() -> None:
    for array, reason in [
        (RANDOM.normal(size=100), "the items are no images"),
        (RANDOM.normal(size=(8, 8)), "no samples of type float64"),
        (picture(8, 8, 3)[..., [0, 1, 2, 0, 1]], "no images of 5 channels"),
    ]:
        layout = {1: "none", 2: "hw", 3: "hwc"}[array.ndim]
        results = measured(array, layout)
        for codec, result in results.items():
            assert result.reason == (None if codec in STREAMS else reason)
    assert measured(RANDOM.normal(size=100), "none")["gzip"].bits_per_pixel is None


def test_compressors_see_one_stream_and_image_codecs_one_file_each() -> None:
    images = [picture(16, 16)] * 4
    results = measure_codecs([(image, "hw") for image in images], 4)
    once = measured(images[0], "hw")
    for result in results:
        alone = once[result.codec].total_bytes
        assert alone is not None and result.total_bytes is not None
        if result.codec in STREAMS:
            assert result.total_bytes < 2 * alone  # repeats are found
        else:
            assert result.total_bytes == 4 * alone
        assert (result.dims, result.pixels) == (1024, 1024)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("mnist:test", {"bzip2": 1.41}),
        ("mnist:test?binarize=random", {"gzip": 0.33, "bzip2": 0.25, "xz": 0.28}),
    ],
)
def test_mnist_agrees_with_the_published_benchmark(
    name: str, published: dict[str, float], shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NC_DATA", str(shared / "data"))
    dataset = open_dataset(name)
    digits = ((dataset[index]["image"], dataset.layout) for index in range(len(dataset)))
    binary = dataset.range == (0, 1)
    results = measure_codecs(digits, len(dataset), binary=binary, codecs=find_codecs([*published]))
    for result in results:
        assert result.bits_per_dim == pytest.approx(published[result.codec], abs=0.006)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("mnist:test", {"png": 2.80, "webp": 2.10}),
        ("mnist:test?binarize=random", {"png": 1.37, "webp": 0.95}),
    ],
)
def test_image_codecs_on_some_digits_are_near_the_published_benchmark(
    name: str, published: dict[str, float], shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NC_DATA", str(shared / "data"))
    dataset = open_dataset(name)
    digits = ((dataset[index]["image"], dataset.layout) for index in range(500))
    binary = dataset.range == (0, 1)
    for result in measure_codecs(digits, 500, binary=binary, codecs=find_codecs([*published])):
        assert result.bits_per_dim == pytest.approx(published[result.codec], rel=0.05)


def test_binary_items_of_any_number_of_samples_are_packed_without_gaps() -> None:
    digits = RANDOM.integers(0, 2, (10, 3, 3)).astype(np.uint8)
    seen: list[bytes] = []
    gzip = find_codecs(["gzip"])[0]
    spy = replace(gzip, encode=lambda data: seen.append(data) or gzip.encode(data))  # type: ignore[func-returns-value, arg-type, union-attr]
    (result,) = measure_codecs([(d, "hw") for d in digits], 10, binary=True, codecs=[spy])
    assert len(seen[-1]) == -(-90 // 8)
    assert (result.dims, result.reason) == (90, None)


def test_sixteen_bit_files_and_palettes_from_disk_are_exact(shared: Path) -> None:
    for name in ("rgb16", "gray16", "palette_transparent", "bilevel", "one_pixel"):
        pixels = read_image(shared / "data" / "broken" / f"{name}.png").pixels
        results = measured(pixels, "hw" if pixels.ndim == 2 else "hwc")
        for result in results.values():
            assert result.reason in (None, "no 16-bit samples"), name


def test_a_codec_that_is_not_exact_gets_no_numbers() -> None:
    lossy = ImageCodec(
        "lossy", "Lossy", "", lambda p: p.pixels.tobytes(), lambda data, p: p.pixels // 2 * 2
    )
    result = measured(picture(8, 8), "hw", codecs=[lossy])["lossy"]
    assert result.reason == "it does not give the same samples back"
    assert result.inexact
    assert not result.verified
    assert result.total_bytes is None


@pytest.mark.parametrize("error", [RuntimeError("too\nlarge"), ValueError(), OSError("x")])
def test_an_encoder_that_fails_is_a_reason_and_not_the_end(error: Exception) -> None:
    def fail(content: Picture) -> bytes:
        if content.pixels.any():
            raise error
        return b"x"

    bad = ImageCodec("bad", "Bad", "", fail, lambda data, p: p.pixels)
    results = measured(picture(8, 8), "hw", codecs=[bad, *find_codecs(["png"])])
    assert results["bad"].reason is not None
    assert results["bad"].reason.startswith("its encoder fails: ")
    assert "\n" not in results["bad"].reason
    assert results["png"].verified


def test_without_imagecodecs_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical.importlib.util, "find_spec", lambda name: None)
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "imagecodecs":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    results = measured(picture(12, 12, 3), "hwc")
    have = [codec for codec, result in results.items() if result.verified]
    assert have == ["gzip", "bzip2", "xz", "png", "webp"]
    assert results["jpeg-xl-7"].missing
    assert "pip install 'nc-core[classical]'" in str(results["jpeg-xl-7"].reason)
    deep = measured(picture(12, 12, 3, dtype="uint16"), "hwc")
    assert "such samples need imagecodecs" in str(deep["png"].reason)


def test_progress_counts_every_step() -> None:
    seen: list[tuple[str, int, int]] = []
    codecs = find_codecs(["png", "gzip", "webp"])
    images = [(picture(8, 8), "hw")] * 3
    measure_codecs(images, 3, codecs=codecs, progress=lambda *step: seen.append(step))  # type: ignore[arg-type]
    assert [done for _, done, _ in seen] == list(range(7))
    assert {total for _, _, total in seen} == {7}
    assert seen[-1][0] == "gzip"


def test_codecs_are_found_by_name() -> None:
    assert [codec.name for codec in find_codecs(["webp", "png", "png"])] == ["png", "webp"]
    assert find_codecs() == list(CODECS)
    with pytest.raises(UsageError, match="did you mean 'png'"):
        find_codecs(["pngg"])


def test_the_evaluator_returns_every_number_with_its_unit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = np.stack([picture(8, 8, dtype="uint16")] * 3)
    dataset = ArrayRows("rows", rows)
    with caplog.at_level(logging.WARNING):
        numbers = evaluate_classical(EvaluationRequest(model=None, dataset=dataset, limit=2))
    values = {number.name: number for number in numbers}
    assert values["png.total_bytes"].unit == "byte"
    assert values["png.bits_per_dim"].unit == "bit/dim"
    assert values["png.bits_per_dim"].value == values["png.total_bytes"].value * 8 / 128
    assert values["gzip.encode_seconds"].unit == "s"
    assert values["jpeg-xl-7.verified"].value == 1.0
    assert all(number.n == 2 for number in numbers)
    assert not any(name.startswith("webp") for name in values)
    assert "WebP lossless is not measured: no 16-bit samples" in caplog.text


def test_a_request_without_items_is_a_usage_error() -> None:
    class Endless(ArrayRows):
        def __len__(self) -> int:
            raise TypeError("no end")

    endless = Endless("endless", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(UsageError, match="no end"):
        evaluate_classical(EvaluationRequest(model=None, dataset=endless))
    assert EvaluationRequest(model=None, dataset=endless, limit=2).count == 2
    with pytest.raises(UsageError, match="no items"):
        _ = EvaluationRequest(model=None, dataset=endless, limit=0).count

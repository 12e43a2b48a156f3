"""Image files keep every bit that they hold, or are refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pil
from PIL import features

from nc_core.errors import DataError
from nc_core.images import image_files, read_image, read_shape


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)


def deep_png(colour_type: int, channels: int, transparent: bytes | None = None) -> bytes:
    """A PNG of 2 x 2 pixels and 16 bits per channel."""
    rows = b"".join(b"\0" + bytes(range(4 * channels)) for _ in range(2))
    header = struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)
    extra = b"" if transparent is None else png_chunk(b"tRNS", transparent)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)], ids=["grey", "RGB"])
def test_sixteen_bits_with_a_transparent_colour_are_refused(
    tmp_path: Path, colour_type: int, channels: int
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(colour_type, channels, bytes(2 * channels)))
    for read in (read_image, read_shape):
        with pytest.raises(DataError, match=r"a\.png: .*transparent colour"):
            read(path)


def test_sixteen_bits_of_grey_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(0, 1))
    assert read_shape(path) == ((2, 2), "uint16")
    assert read_image(path).pixels.tolist() == [[0x0001, 0x0203]] * 2


@pytest.mark.parametrize(
    ("suffix", "feature"), [("jp2", "jpg_2000"), ("sgi", None), ("avif", "avif")]
)
def test_a_format_that_may_hold_more_bits_than_are_read_is_refused(
    tmp_path: Path, suffix: str, feature: str | None
) -> None:
    if feature is not None and not features.check(feature):
        pytest.skip(f"this Pillow is built without {feature}")
    path = tmp_path / f"a.{suffix}"
    pil.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path)
    for read in (read_image, read_shape):
        with pytest.raises(DataError, match=rf"a.{suffix}: .* not supported\nconvert .* PNG"):
            read(path)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "PPM", "TGA", "TIFF"])
def test_formats_of_eight_bits_are_read(tmp_path: Path, kind: str) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    path = tmp_path / "a.bin"
    pil.fromarray(pixels).save(path, kind)
    read = read_image(path).pixels
    assert np.array_equal(read if read.ndim == 2 else read[..., 0], pixels)


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_a_file_of_several_images_is_refused(tmp_path: Path, kind: str) -> None:
    pages = [pil.fromarray(np.full((8, 8), value, np.uint8)) for value in (1, 200, 90)]
    path = tmp_path / "a.bin"
    pages[0].save(path, kind, save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="holds 3 images"):
        read_image(path)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG", "JPEG", "TGA", "BMP"])
def test_damage_anywhere_is_an_error_that_names_the_file(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    pil.fromarray(pixels).save(buffer, kind)
    data = buffer.getvalue()
    path = tmp_path / "a.bin"
    for place in range(min(len(data), 300)):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged[: -(place % 3) or None])
        try:
            read_image(path)
        except DataError as error:
            assert error.message.startswith(str(path))
            assert "\n" not in error.message


def test_images_of_a_folder_are_its_visible_files(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("b.png", "a.JPG", "._b.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in image_files(tmp_path)] == ["a.JPG", "b.png"]


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
    (path,) = image_files(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_image(path)

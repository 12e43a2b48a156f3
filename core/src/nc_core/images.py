"""Image files: exact pixels in and out, never fewer bits than the file holds.

Pixels are kept as stored: a palette is looked up, one-bit images become 0 and 255, an EXIF
orientation is kept as metadata and not applied. What cannot be kept exactly is refused.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.deflate import MOST_RATIO
from nc_core.errors import DataError, MissingDependencyError
from nc_core.files import atomic_write, describe_os_error

__all__ = ["IMAGE_SUFFIXES", "Image", "encode_png", "image_files", "open_picture", "read_image",
           "read_rgb", "read_shape", "write_image"]  # fmt: skip

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif",
     ".tiff", ".webp")
)  # fmt: skip

# Of other formats (JPEG 2000, AVIF, SGI, ...) Pillow may silently return 8 of more bits.
_FORMATS = frozenset(("BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP"))
# Pillow's mode -> the mode that holds the same pixels in one of our four layouts.
_PIXEL_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB",
                "RGBA": "RGBA", "I;16": "I;16", "I;16B": "I;16"}  # fmt: skip
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}
# What Pillow raises for damaged files of the formats above.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, OverflowError,
           struct.error)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """One image.

    Args:
        pixels: uint8 or uint16, (H, W) for grey, else (H, W, C) with C = 2 (grey and alpha),
            3 (RGB) or 4 (RGB and alpha).
        icc, exif: metadata blocks as stored, or None.
        format: name of the file format that it came from (``PNG``).
    """

    pixels: NDArray[Any]
    icc: bytes | None = None
    exif: bytes | None = None
    format: str = "PNG"


def read_image(path: Path) -> Image:
    """Read an image file, by content and not by suffix.

    Raises:
        DataError: missing, damaged, too large, holding several images, or of a format or pixels
            that cannot be kept.
        MissingDependencyError: 16 bits per channel in colour, without imagecodecs.
    """
    with _opened(path) as (data, picture):
        if _is_deep_colour_png(data):
            return Image(_decode_deep_png(path, data), *_metadata(picture))
        mode = _pixel_mode(path, picture)
        with _named_errors(path):
            picture.load()
            converted = picture if picture.mode == mode else picture.convert(mode)
        pixels = np.asarray(converted)
        if mode == "I;16":
            pixels = pixels.astype(np.uint16)
        return Image(np.ascontiguousarray(pixels), *_metadata(picture), picture.format or "PNG")


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Colours of an image file, (H, W, 3), for training and not for keeping.

    Grey becomes three equal channels, a palette is looked up, CMYK is converted, alpha is dropped.

    Raises:
        DataError: missing, damaged, too large, holding several images, or of 16 bits.
    """
    with open_picture(path) as picture:
        return np.asarray(picture.convert("RGB"))


@contextmanager
def open_picture(path: Path) -> Iterator[Any]:
    """An image file as Pillow sees it, of 8 bits per channel; for training and not for keeping.

    Raises:
        DataError: as :func:`read_rgb`, in the block as well.
    """
    with _opened(path) as (data, picture):
        if picture.mode != "CMYK" and (
            _is_deep_colour_png(data) or _pixel_mode(path, picture) == "I;16"
        ):
            raise DataError(f"{path}: 16 bits per channel", "convert the image to 8 bits first")
        with _named_errors(path):
            yield picture


def read_shape(path: Path) -> tuple[tuple[int, ...], str]:
    """Shape and dtype name of the pixels of an image file, without decoding them."""
    with _opened(path) as (data, picture):
        if _is_deep_colour_png(data):
            channels = {2: 3, 4: 2, 6: 4}[data[25]]
            return (picture.height, picture.width, channels), "uint16"
        mode = _pixel_mode(path, picture)
        channels = _CHANNELS[mode]
        shape = (picture.height, picture.width) + ((channels,) if channels > 1 else ())
        return shape, "uint16" if mode == "I;16" else "uint8"


def write_image(path: Path, image: Image, *, force: bool = True) -> None:
    """Write a PNG file, whole or not at all.

    Raises:
        DataError: the file cannot be written, or exists and ``force`` is off.
        MissingDependencyError: 16 bits per channel in colour, without imagecodecs.
    """
    data = encode_png(image)
    with atomic_write(path, force=force) as file:
        file.write(data)


def encode_png(image: Image) -> bytes:
    """The bytes of a PNG file with these pixels and metadata."""
    from PIL import Image as pil

    pixels = image.pixels
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        return _with_png_chunks(_imagecodecs().png_encode(pixels), image)
    options: dict[str, Any] = {}
    if image.icc is not None:
        options["icc_profile"] = image.icc
    if image.exif is not None:
        options["exif"] = image.exif
    buffer = io.BytesIO()
    pil.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def image_files(folder: Path) -> list[Path]:
    """Image files directly in a folder, by name; hidden files are left out.

    Raises:
        DataError: the folder cannot be read or holds no image.
    """
    try:
        # A link that leads nowhere counts: it must be an error, not a missing image.
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
            and not path.name.startswith(".")
            and not path.is_dir()
        )
    except OSError as error:
        raise describe_os_error(error, folder) from error
    if not found:
        raise DataError(f"{folder}: no image files in this folder")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[tuple[bytes, Any]]:
    """Bytes and Pillow's lazy view of an image file; every failure names the file.

    All bytes of a PNG file that Pillow would reduce to 8 bits, else only the first 26.
    """
    from PIL import Image as pil

    try:
        file = path.open("rb")
    except OSError as error:
        raise describe_os_error(error, path) from error
    with file:
        data = file.read(26)
        if not data:
            raise DataError(f"{path}: file is empty, not an image")
        _check_declared_size(path, data, path.stat().st_size)
        if _is_deep_colour_png(data):
            data += file.read()
        file.seek(0)
        with _named_errors(path):
            picture = pil.open(file)
            images = getattr(picture, "n_frames", 1)
        if images > 1:
            raise DataError(
                f"{path}: holds {images} images (frames, pages or views)",
                "save them as separate files first",
            )
        _check_kept(path, data, picture)
        yield data, picture


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn what Pillow raises for bad files into a DataError that names the file."""
    from PIL import Image as pil
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image, or of an unknown format") from error
    except pil.DecompressionBombError as error:
        limit = 2 * (pil.MAX_IMAGE_PIXELS or 0)
        raise DataError(f"{path}: declares more than {limit:,} pixels") from error
    except MemoryError as error:
        raise DataError(f"{path}: too large for the memory of this machine") from error
    except _DAMAGE as error:
        raise DataError(f"{path}: damaged image: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_kept(path: Path, data: bytes, picture: Any) -> None:
    """Refuse what Pillow would open, but return without something that the file holds."""
    if picture.format not in _FORMATS:
        raise DataError(
            f"{path}: {picture.format} files are not supported", "convert the image to PNG first"
        )
    is_deep = _is_deep_colour_png(data) or _PIXEL_MODES.get(picture.mode) == "I;16"
    if is_deep and "transparency" in picture.info:
        raise DataError(
            f"{path}: 16 bits per channel with a transparent colour (tRNS) are not supported",
            "save the image with an alpha channel first",
        )


def _pixel_mode(path: Path, picture: Any) -> str:
    mode = _PIXEL_MODES.get(picture.mode)
    if mode is None:
        raise DataError(
            f"{path}: {picture.mode} pixels are not supported",
            "convert the image to grey or RGB, 8 or 16 bits per channel, first",
        )
    with _named_errors(path):
        bits = _bits_per_channel(picture)
    if mode != "I;16" and bits > 8:
        raise DataError(
            f"{path}: {bits} bits per channel in a {picture.format} file",
            "save it as PNG with 16 bits per channel first",
        )
    if "transparency" in picture.info and picture.mode in {"1", "L", "P", "RGB"}:
        return "LA" if mode == "L" else "RGBA"
    return mode


def _bits_per_channel(picture: Any) -> int:
    """Bits per channel of the file, where its format can hold more than Pillow would return."""
    if picture.format == "TIFF":
        return int(max(picture.tag_v2.get(258, (8,))))  # BitsPerSample
    if picture.format == "PPM":
        arguments = picture.tile[0].args if picture.tile else ()
        return 16 if any(isinstance(a, int) and a > 255 for a in arguments) else 8
    return 8


def _metadata(picture: Any) -> tuple[bytes | None, bytes | None]:
    icc, exif = picture.info.get("icc_profile"), picture.info.get("exif")
    return icc or None, exif or None


def _is_png(data: bytes) -> bool:
    return len(data) >= 26 and data[:8] == b"\x89PNG\r\n\x1a\n"


def _check_declared_size(path: Path, data: bytes, size: int) -> None:
    """Refuse a PNG of more pixels than its bytes can hold; Pillow would take memory for them."""
    if not _is_png(data):
        return
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
    if width * height * depth * channels > 8 * size * MOST_RATIO:
        raise DataError(
            f"{path}: declares {width:,} x {height:,} pixels, more than a file of its size can hold"
        )


def _is_deep_colour_png(data: bytes) -> bool:
    """A PNG of 16 bits per channel in colour or with alpha: Pillow would keep 8 of them."""
    return _is_png(data) and data[24] == 16 and data[25] in (2, 4, 6)


def _decode_deep_png(path: Path, data: bytes) -> NDArray[np.uint16]:
    codecs = _imagecodecs()
    try:
        return np.ascontiguousarray(codecs.png_decode(data), np.uint16)
    except (codecs.PngError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: damaged image: {error}") from error


def _with_png_chunks(png: bytes, image: Image) -> bytes:
    """Insert colour profile and EXIF after the IHDR chunk of a PNG file."""
    import zlib

    def chunk(kind: bytes, payload: bytes) -> bytes:
        body = kind + payload
        return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))

    extra = b""
    if image.icc is not None:
        extra += chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(image.icc))
    if image.exif is not None:
        extra += chunk(b"eXIf", image.exif.removeprefix(b"Exif\0\0"))
    return png[:33] + extra + png[33:]


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError as error:
        raise MissingDependencyError(
            "16 bits per channel in colour need imagecodecs, which is not installed",
            "pip install 'nc-core[classical]'",
        ) from error
    return imagecodecs

"""Classical lossless codecs, each with the settings that it is measured with.

General-purpose compressors see one stream: the raw bytes of all items, one after the other, as
the benchmarks of the neural compression papers do. Image codecs write one complete file per
image, all headers included. Every codec uses one thread.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.opening import one_of

__all__ = [
    "CODECS",
    "IMAGECODECS_INSTALL",
    "ImageCodec",
    "Picture",
    "StreamCodec",
    "find_codecs",
]

IMAGECODECS_INSTALL = "pip install 'nc-core[classical]'"


@dataclass(frozen=True)
class Picture:
    """An image in the form that image codecs take.

    Args:
        pixels: uint8 or uint16, (H, W) or (H, W, C) with C = 2, 3 or 4; 0 and 255 if bilevel.
        bilevel: the samples are black or white.
    """

    pixels: NDArray[Any]
    bilevel: bool = False

    @property
    def channels(self) -> int:
        """Number of channels, alpha included."""
        return self.pixels.shape[2] if self.pixels.ndim == 3 else 1


@dataclass(frozen=True)
class StreamCodec:
    """A general-purpose compressor.

    Args:
        name: kebab-case.
        title: what a table shows.
        settings: level and variant.
        encode: bytes to bytes.
        decode: bytes to bytes; it is also given the original, as image codecs are, and
            makes no use of it.
        module: attribute of imagecodecs that it needs (``ZSTD``); empty for none.
    """

    name: str
    title: str
    settings: str
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes, bytes], bytes]
    module: str = ""


@dataclass(frozen=True)
class ImageCodec:
    """A file format for images.

    Args:
        name: kebab-case.
        title: what a table shows.
        settings: effort and variant.
        encode: picture to a complete file.
        decode: file to pixels; it is told the original, of which it may use only the shape and
            the kind: what a container for such files would note.
        module: attribute of imagecodecs that it needs (``JPEGXL``); empty for none.
        channels: numbers of channels that it can hold.
        deep: it can hold 16 bits per sample.
    """

    name: str
    title: str
    settings: str
    encode: Callable[[Picture], bytes]
    decode: Callable[[bytes, Picture], NDArray[Any]]
    module: str = ""
    channels: tuple[int, ...] = (1, 2, 3, 4)
    deep: bool = True

    def refusal(self, picture: Picture) -> str | None:
        """Why it cannot hold a picture; None if it can."""
        if picture.channels not in self.channels:
            return f"no images of {picture.channels} channels"
        if picture.pixels.dtype == np.uint16 and not self.deep:
            return "no 16-bit samples"
        return None


def _gzip_encode(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def _gzip_decode(data: bytes, original: bytes) -> bytes:
    return gzip.decompress(data)


def _bzip2_encode(data: bytes) -> bytes:
    return bz2.compress(data, 9)


def _bzip2_decode(data: bytes, original: bytes) -> bytes:
    return bz2.decompress(data)


def _xz_encode(data: bytes) -> bytes:
    return lzma.compress(data)


def _xz_decode(data: bytes, original: bytes) -> bytes:
    return lzma.decompress(data)


def _zstd_encode(data: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_encode(data, 19))


def _zstd_decode(data: bytes, original: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_decode(data))


def _pillow_encode(pixels: NDArray[Any], mode: str | None, kind: str, **options: Any) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def _pillow_decode(data: bytes, mode: str | None) -> NDArray[Any]:
    from PIL import Image

    with warnings.catch_warnings():
        # Pillow warns of large images; these are our own.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data))
    return np.asarray(image if mode is None else image.convert(mode))


def _png_encode(picture: Picture) -> bytes:
    pixels = picture.pixels
    if pixels.dtype == np.uint16 and picture.channels > 1:
        # Pillow keeps 8 bits of each colour.
        import imagecodecs

        return bytes(imagecodecs.png_encode(pixels, level=9))
    return _pillow_encode(pixels, "1" if picture.bilevel else None, "PNG", optimize=True)


def _png_decode(data: bytes, original: Picture) -> NDArray[Any]:
    if original.pixels.dtype == np.uint16 and original.channels > 1:
        import imagecodecs

        return np.asarray(imagecodecs.png_decode(data))
    return _pillow_decode(data, "L" if original.bilevel else None)


def _webp_encode(picture: Picture) -> bytes:
    """WebP knows RGB with and without alpha; ``exact`` keeps colours that alpha hides."""
    mode = "RGB" if picture.channels in (1, 3) else "RGBA"
    return _pillow_encode(
        picture.pixels, mode, "WEBP", lossless=True, quality=100, method=4, exact=True
    )


def _webp_decode(data: bytes, original: Picture) -> NDArray[Any]:
    pixels = _pillow_decode(data, "RGB" if original.channels in (1, 3) else "RGBA")
    if original.channels == 1:
        return pixels[..., 0]
    return pixels[..., [0, 3]] if original.channels == 2 else pixels


def _jpegls_encode(picture: Picture) -> bytes:
    import imagecodecs

    # Its own guess of the largest output is too small for noise.
    room = 2 * picture.pixels.nbytes + 4096
    return bytes(imagecodecs.jpegls_encode(picture.pixels, out=room))


def _jpegls_decode(data: bytes, original: Picture) -> NDArray[Any]:
    import imagecodecs

    return np.asarray(imagecodecs.jpegls_decode(data))


def _jpeg2k_encode(picture: Picture) -> bytes:
    import imagecodecs

    return bytes(
        imagecodecs.jpeg2k_encode(
            picture.pixels, level=0, reversible=True, codecformat="jp2", numthreads=1
        )
    )


def _jpeg2k_decode(data: bytes, original: Picture) -> NDArray[Any]:
    import imagecodecs

    return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))


def _jpegxl_encode(picture: Picture, effort: int) -> bytes:
    import imagecodecs

    return bytes(
        imagecodecs.jpegxl_encode(picture.pixels, lossless=True, effort=effort, numthreads=1)
    )


def _jpegxl_decode(data: bytes, original: Picture) -> NDArray[Any]:
    import imagecodecs

    return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1))


def _avif_encode(picture: Picture) -> bytes:
    """Level 100 is lossless: 4:4:4, and RGB as it is (identity matrix)."""
    import imagecodecs

    return bytes(imagecodecs.avif_encode(picture.pixels, level=100, speed=6, numthreads=1))


def _avif_decode(data: bytes, original: Picture) -> NDArray[Any]:
    import imagecodecs

    pixels = np.asarray(imagecodecs.avif_decode(data, numthreads=1))
    if original.channels in (2, 4) and pixels.shape != original.pixels.shape:
        # The encoder leaves out an alpha channel that is opaque everywhere.
        colour = pixels.reshape(*pixels.shape[:2], -1)[..., : original.channels - 1]
        return np.dstack([colour, np.full(colour.shape[:2], 255, np.uint8)])
    return pixels


CODECS: tuple[StreamCodec | ImageCodec, ...] = (
    StreamCodec("gzip", "gzip", "level 9", _gzip_encode, _gzip_decode),
    StreamCodec("bzip2", "bzip2", "level 9", _bzip2_encode, _bzip2_decode),
    StreamCodec("xz", "xz (LZMA)", "preset 6, the default", _xz_encode, _xz_decode),
    StreamCodec("zstd", "Zstandard", "level 19", _zstd_encode, _zstd_decode, "ZSTD"),
    ImageCodec(
        "png", "PNG", "Pillow, optimised; 16-bit colour: imagecodecs, level 9", _png_encode,
        _png_decode,
    ),
    ImageCodec(
        "webp", "WebP lossless", "quality 100, method 4", _webp_encode, _webp_decode, deep=False
    ),
    ImageCodec(
        "jpeg-ls", "JPEG-LS", "CharLS, no colour transform", _jpegls_encode, _jpegls_decode,
        "JPEGLS", channels=(1, 3, 4),
    ),
    ImageCodec(
        "jpeg-2000", "JPEG 2000", "OpenJPEG, reversible, colour transform", _jpeg2k_encode,
        _jpeg2k_decode, "JPEG2K",
    ),
    ImageCodec(
        "jpeg-xl-3", "JPEG XL, effort 3", "libjxl, lossless", partial(_jpegxl_encode, effort=3),
        _jpegxl_decode, "JPEGXL",
    ),
    ImageCodec(
        "jpeg-xl-7", "JPEG XL, effort 7", "libjxl, lossless", partial(_jpegxl_encode, effort=7),
        _jpegxl_decode, "JPEGXL",
    ),
    ImageCodec(
        "avif", "AVIF lossless", "libavif, 4:4:4, identity matrix, speed 6", _avif_encode,
        _avif_decode, "AVIF", deep=False,
    ),
)  # fmt: skip
"""Every classical codec that is measured."""


def find_codecs(names: Sequence[str] = ()) -> list[StreamCodec | ImageCodec]:
    """Codecs by name, in the order of the table; all of them if none is named.

    Raises:
        UsageError: no codec has the name.
    """
    known = {codec.name: codec for codec in CODECS}
    wanted = {one_of(name, known, "codec") for name in names}
    return [codec for codec in CODECS if not wanted or codec.name in wanted]

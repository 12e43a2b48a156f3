"""Classical codecs, measured as the two papers did.

``bit-swap``: for every experiment (:func:`nc_bitswap.experiment.choose_images`) gzip, bzip2 and
LZMA take the raw bytes of its images as one stream; PNG counts the payload of its IDAT chunks
only, WebP complete files. ``bb-ans``: all images are one experiment, and PNG files count
completely. Boolean images are packed, eight in a byte. Everything is decoded and compared.

References: Friso Kingma, Pieter Abbeel, Jonathan Ho, arXiv 1905.06845, section 4; James
Townsend, Tom Bird, David Barber, arXiv 1901.04866, section 3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nc_bitswap.experiment import choose_images
from nc_core.datasets.items import count_items
from nc_core.errors import DataError, WorkError
from nc_core.evaluators.classical import ClassicalResult, Sample, measure_codecs
from nc_core.evaluators.codecs import ImageCodec, Picture, StreamCodec, find_codecs
from nc_core.protocols import Dataset

__all__ = ["Benchmark", "Protocol", "benchmark", "png_payload", "png_with_payload"]

Protocol = Literal["bit-swap", "bb-ans"]

_CODECS = ("gzip", "bzip2", "xz", "png", "webp")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


@dataclass(frozen=True)
class Benchmark:
    """What one codec needed.

    Args:
        codec: its name.
        title: what a table shows.
        bits_per_dim: mean over the experiments that it could code.
        deviation: of the experiments from it; None for one experiment.
        experiments: how many those are.
        images: in each.
        failed: experiments that it could not code.
        reason: why it could not code the first of them; None if there are none.
    """

    codec: str
    title: str
    bits_per_dim: float
    deviation: float | None
    experiments: int
    images: int
    failed: int = 0
    reason: str | None = None


def benchmark(
    data: Dataset,
    protocol: Protocol,
    experiments: int,
    images: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Benchmark]:
    """Measure the classical codecs on a dataset.

    Args:
        data: images.
        protocol: see above; with ``bb-ans`` the next three are not used.
        experiments: how many.
        images: of each experiment.
        seed: of the choice of images.
        progress: called with (experiments done, experiments in all).

    Returns:
        One for each codec that can hold such images, or those of some experiments.

    Raises:
        UsageError: not enough images.
        DataError: no codec can hold such data.
        WorkError: a codec does not give the samples back.
    """
    available = count_items(data)
    if protocol == "bb-ans":
        indices = np.arange(available)[None]
    else:
        indices = choose_images(available, experiments, images, seed)
    codecs = [_without_headers(codec) if protocol == "bit-swap" else codec
              for codec in find_codecs(_CODECS)]  # fmt: skip
    binary = tuple(data.range) == (0, 1)
    results: dict[str, list[ClassicalResult]] = {codec.name: [] for codec in codecs}
    for number, chosen in enumerate(indices):
        if progress is not None:
            progress(number, len(indices))
        samples = _samples(data, chosen)
        for result in measure_codecs(samples, len(chosen), binary=binary, codecs=codecs):
            if result.inexact:
                raise WorkError(f"{result.title}: {result.reason}")
            results[result.codec].append(result)
    summaries = [
        _summary(of_codec, indices.shape[1])
        for of_codec in results.values()
        if any(result.verified for result in of_codec)
    ]
    if not summaries:
        raise DataError(f"{data.name}: no classical codec can hold such data")
    return summaries


def png_payload(file: bytes) -> bytes:
    """The payload of all IDAT chunks of a PNG file."""
    payload, place = [], len(_SIGNATURE)
    while place < len(file):
        length, kind = struct.unpack(">I4s", file[place : place + 8])
        if kind == b"IDAT":
            payload.append(file[place + 8 : place + 8 + length])
        place += length + 12
    return b"".join(payload)


def png_with_payload(payload: bytes, picture: Picture) -> bytes:
    """The PNG file with that payload, of a picture whose shape and kind are known."""
    height, width = picture.pixels.shape[:2]
    depth = 1 if picture.bilevel else 8 * picture.pixels.dtype.itemsize
    colour = _COLOUR_TYPES[picture.channels]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", payload), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _without_headers(codec: StreamCodec | ImageCodec) -> StreamCodec | ImageCodec:
    """PNG as the Bit-Swap paper counts it; any other codec as it is."""
    if not isinstance(codec, ImageCodec) or codec.name != "png":
        return codec
    return ImageCodec(
        "png-idat", "PNG, IDAT payload only", codec.settings,
        lambda picture: png_payload(codec.encode(picture)),
        lambda payload, picture: codec.decode(png_with_payload(payload, picture), picture),
    )  # fmt: skip


def _samples(data: Dataset, indices: NDArray[np.int64]) -> Iterator[Sample]:
    for index in indices:
        content: NDArray[Any] = data[int(index)][data.fields[0]]
        yield content, data.layout


def _summary(results: Sequence[ClassicalResult], images: int) -> Benchmark:
    rates = [result.bits_per_dim for result in results if result.bits_per_dim is not None]
    reasons = [result.reason for result in results if result.reason is not None]
    return Benchmark(
        codec=results[0].codec,
        title=results[0].title,
        bits_per_dim=float(np.mean(rates)),
        deviation=float(np.std(rates)) if len(rates) > 1 else None,
        experiments=len(rates),
        images=images,
        failed=len(reasons),
        reason=next(iter(reasons), None),
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

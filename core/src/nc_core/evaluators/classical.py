"""Classical codecs measured on the data that a model is measured on."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.evaluators.codecs import (
    CODECS,
    IMAGECODECS_INSTALL,
    ImageCodec,
    Picture,
    StreamCodec,
)
from nc_core.evaluators.metrics import CLASSICAL_METRICS
from nc_core.evaluators.request import EvaluationRequest
from nc_core.protocols import Layout
from nc_core.rates import Measurement

__all__ = ["ClassicalResult", "Progress", "evaluate_classical", "measure_codecs"]

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with (what is being coded, steps done, steps in all)."""

Sample = tuple[NDArray[Any], Layout]
"""An item and the order of its axes."""

# What encoders and decoders of damaged or unsupported input raise, imagecodecs' own included.
_CODEC_ERRORS = (RuntimeError, ValueError, TypeError, OSError, MemoryError)


@dataclass(frozen=True, kw_only=True)
class ClassicalResult:
    """What one codec did; the numbers are None where ``reason`` says why there are none.

    Args:
        codec, title, settings: which codec, and how it was run.
        total_bytes: complete files, or the complete stream.
        dims, pixels: samples and pixels of all items; pixels is None for other data.
        encode_seconds, decode_seconds: wall time, one thread.
        reason: why the codec could not be measured, or None.
        missing: the reason is that a library is not installed.
        inexact: the reason is that it gives other samples back.
    """

    codec: str
    title: str
    settings: str
    dims: int = 0
    pixels: int | None = None
    total_bytes: int | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    reason: str | None = None
    missing: bool = False
    inexact: bool = False

    @property
    def verified(self) -> bool:
        """Everything was decoded and equal; a codec that is not exact has no numbers."""
        return self.reason is None

    @property
    def bits_per_dim(self) -> float | None:
        """Bits per sample."""
        return None if self.total_bytes is None else 8 * self.total_bytes / self.dims

    @property
    def bits_per_pixel(self) -> float | None:
        """Bits per pixel, all channels together."""
        if self.total_bytes is None or self.pixels is None:
            return None
        return 8 * self.total_bytes / self.pixels


def evaluate_classical(request: EvaluationRequest) -> list[Measurement]:
    """Measure every classical codec on a dataset; the target of the record ``classical``.

    Codecs that are not installed, or cannot hold such data, are logged and left out.

    Args:
        request: data; its model is not used.

    Returns:
        for each codec ``CODEC.total_bytes``, ``CODEC.bits_per_dim``, ``CODEC.bits_per_pixel``
        (images only), ``CODEC.encode_seconds``, ``CODEC.decode_seconds``, ``CODEC.verified``.

    Reference:
        F. Kingma, P. Abbeel, J. Ho: Bit-Swap (1905.06845), section 4, for the protocol: one
        stream for general-purpose compressors. PNG differs: complete files are counted here.
    """
    dataset = request.dataset
    samples = ((content, dataset.layout) for content in request.contents())
    binary = tuple(dataset.range) == (0, 1)
    count = request.count
    results = measure_codecs(samples, count, binary=binary)
    for result in results:
        if result.reason is not None:
            _log.warning("%s is not measured: %s", result.title, result.reason)
    return [measurement for result in results for measurement in _measurements(result, count)]


def measure_codecs(
    samples: Iterable[Sample],
    count: int,
    *,
    binary: bool = False,
    codecs: Sequence[StreamCodec | ImageCodec] = CODECS,
    progress: Progress | None = None,
) -> list[ClassicalResult]:
    """Code and decode every item with every codec, and compare.

    Args:
        samples: the items with their layouts; visited once, one at a time, but the raw bytes
            of all of them are kept for the general-purpose compressors.
        count: how many there are; for ``progress`` only.
        binary: samples are 0 or 1: compressors get 8 of them per byte, image codecs black and
            white.
        codecs: which codecs.
        progress: called before every step.

    Returns:
        one result per codec, in their order.
    """
    tallies = [_Tally(codec) for codec in codecs]
    pictured = [tally for tally in tallies if isinstance(tally.codec, ImageCodec)]
    streamed = [tally for tally in tallies if isinstance(tally.codec, StreamCodec)]
    total = count * len(pictured) + len(streamed)
    steps = iter(range(total))
    report = progress or (lambda title, done, total: None)
    dims, pixels = 0, 0
    raw: list[bytes] = []
    for array, layout in samples:
        dims += array.size
        pixels += _pixels(array, layout)
        raw.append(array.tobytes())
        content = _as_picture(array, layout, binary)
        for tally in pictured:
            report(tally.codec.title, next(steps, total), total)
            tally.add(content)
    data = b"".join(raw)
    if binary:
        data = np.packbits(np.frombuffer(data, np.uint8)).tobytes()
    for tally in streamed:
        report(tally.codec.title, next(steps, total), total)
        tally.add(data)
    return [tally.result(dims, pixels or None) for tally in tallies]


class _Tally:
    """Sums of one codec while the items go by; once it has a reason to stop it does no more."""

    def __init__(self, codec: StreamCodec | ImageCodec) -> None:
        self.codec = codec
        self._bytes = 0
        self._encode_seconds = 0.0
        self._decode_seconds = 0.0
        self._reason = _missing(codec)
        self._is_missing = self._reason is not None
        self._is_inexact = False
        if not self._is_missing:
            self._warm_up()

    def add(self, content: Picture | bytes | str) -> None:
        """Code an image or a stream; a text in place of an image says why it is none."""
        if self._reason is not None:
            return
        if isinstance(content, str):
            self._reason = content
            return
        if isinstance(content, Picture) and isinstance(self.codec, ImageCodec):
            self._reason = self.codec.refusal(content)
        if self._reason is None:
            try:
                self._code(content)
            except ImportError:
                self._reason = f"such samples need imagecodecs: {IMAGECODECS_INSTALL}"
            except _CODEC_ERRORS as error:
                self._reason = f"its encoder fails: {_first_line(error)}"

    def result(self, dims: int, pixels: int | None) -> ClassicalResult:
        """What the sums say."""
        measured = self._reason is None
        return ClassicalResult(
            codec=self.codec.name,
            title=self.codec.title,
            settings=self.codec.settings,
            dims=dims,
            pixels=pixels,
            total_bytes=self._bytes if measured else None,
            encode_seconds=self._encode_seconds if measured else None,
            decode_seconds=self._decode_seconds if measured else None,
            reason=self._reason,
            missing=self._is_missing,
            inexact=self._is_inexact,
        )

    def _code(self, content: Picture | bytes) -> None:
        start = time.perf_counter()
        encoded = self.codec.encode(content)  # type: ignore[arg-type]
        middle = time.perf_counter()
        decoded = self.codec.decode(encoded, content)  # type: ignore[arg-type]
        end = time.perf_counter()
        self._bytes += len(encoded)
        self._encode_seconds += middle - start
        self._decode_seconds += end - middle
        if not _equal(decoded, content):
            self._reason = "it does not give the same samples back"
            self._is_inexact = True

    def _warm_up(self) -> None:
        """Import what the codec needs, outside of its times."""
        is_image = isinstance(self.codec, ImageCodec)
        self.add(Picture(np.zeros((8, 8), np.uint8)) if is_image else bytes(8))
        self._bytes, self._encode_seconds, self._decode_seconds = 0, 0.0, 0.0


def _missing(codec: StreamCodec | ImageCodec) -> str | None:
    if not codec.module:
        return None
    if importlib.util.find_spec("imagecodecs") is None:
        return f"needs imagecodecs: {IMAGECODECS_INSTALL}"
    import imagecodecs

    if not getattr(imagecodecs, codec.module).available:
        return "this build of imagecodecs is without it"
    return None


def _as_picture(array: NDArray[Any], layout: Layout, binary: bool) -> Picture | str:
    """The image that codecs take, or why there is none."""
    if layout == "none":
        return "the items are no images"
    if binary:
        array = np.where(array, np.uint8(255), np.uint8(0))
    if array.dtype not in (np.uint8, np.uint16):
        return f"no samples of type {array.dtype}"
    if layout == "chw":
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return Picture(np.ascontiguousarray(array), bilevel=binary and array.ndim == 2)


def _pixels(array: NDArray[Any], layout: Layout) -> int:
    if layout == "none":
        return 0
    height, width = array.shape[1:] if layout == "chw" else array.shape[:2]
    return int(height * width)


def _equal(decoded: NDArray[Any] | bytes, content: Picture | bytes) -> bool:
    if isinstance(content, bytes):
        return decoded == content
    pixels = content.pixels
    return (
        isinstance(decoded, np.ndarray)
        and decoded.dtype == pixels.dtype
        and np.array_equal(decoded, pixels)
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def _measurements(result: ClassicalResult, count: int) -> list[Measurement]:
    if not result.verified:
        return []
    values = ((metric, getattr(result, metric.name)) for metric in CLASSICAL_METRICS)
    return [
        Measurement(
            name=f"{result.codec}.{metric.name}", value=float(value), unit=metric.unit, n=count
        )
        for metric, value in values
        if value is not None
    ]

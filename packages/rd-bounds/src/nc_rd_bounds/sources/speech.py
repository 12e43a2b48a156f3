"""Log magnitudes of short-time spectra of spoken digits: 33 numbers per frame, or two of them.

Recordings of one speaker of the Free Spoken Digit Dataset, ``{digit}_theo_{index}.wav``: indices 0
to 4 are the test split, all others the training split. Frames overlap, so that neighbours are
alike: their order is drawn anew, always the same, and the first N are as good as any.
"""

from __future__ import annotations

import io
import math
import re
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.converted import Part, RowSource
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError
from nc_core.files import describe_os_error
from nc_rd_bounds.sources.prepared import PreparedVectors, checked_vectors, folders_of

__all__ = [
    "COLUMNS",
    "frame_window",
    "open_speech",
    "open_speech_2d",
    "read_speech",
    "read_speech_2d",
    "spectral_features",
]

FRAME = 63
TRANSFORM = 64
DIMS = TRANSFORM // 2 + 1
COLUMNS = (30, 10)
"""Columns of the two-dimensional marginal, in this order."""

_SPEAKER = "theo"
_RECORDING = re.compile(rf"(\d)_{_SPEAKER}_(\d{{1,6}})\.wav", re.ASCII)
_TEST_INDICES = range(5)
_SPLITS = ("train", "test")
_FULL_SCALE = np.float32(32768)
_SMALLEST = np.float32(np.finfo(np.float64).eps)
_MOST_BYTES = 1 << 26
_ORDER_KEY = (0, FRAME)
_ROWS_PER_PART = 1 << 16
_DAMAGE = (wave.Error, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
           ValueError)  # fmt: skip


def frame_window() -> NDArray[np.float32]:
    """The window of a frame, float32 (63,).

    What TensorFlow calls a periodic Hann window is, for an odd length, the symmetric one, which
    ends with 0: the period is 62. Its arithmetic is in float32, and so is this: bins of small
    magnitude show the difference.
    """
    angles = np.float32(2 * np.pi) * np.arange(FRAME, dtype=np.float32) / np.float32(FRAME - 1)
    window: NDArray[np.float32] = np.float32(0.5) - np.float32(0.5) * np.cos(angles)
    return window


def spectral_features(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Features of one recording: ln(|short-time Fourier transform| + 2.2e-16).

    Frames of 63 samples begin at every sample, without padding; each is continued with one zero
    to a transform of 64.

    Args:
        samples: 16-bit, (n,).

    Returns:
        float32, (max(0, n - 62), 33).
    """
    if len(samples) < FRAME:
        return np.empty((0, DIMS), np.float32)
    scaled = samples.astype(np.float32) / _FULL_SCALE
    frames = np.lib.stride_tricks.sliding_window_view(scaled, FRAME) * frame_window()
    spectra = np.abs(np.fft.rfft(frames, TRANSFORM, axis=1)).astype(np.float32, copy=False)
    features: NDArray[np.float32] = np.log(spectra + _SMALLEST)
    return features


def open_speech(request: DatasetRequest) -> PreparedVectors:
    """Open one split; the target of the record ``speech``.

    Raises:
        DataError: not prepared, or damaged.
    """
    return PreparedVectors(request, DIMS)


def open_speech_2d(request: DatasetRequest) -> PreparedVectors:
    """Open one split; the target of the record ``speech-2d``.

    Raises:
        DataError: not prepared, or damaged.
    """
    return PreparedVectors(request, len(COLUMNS))


def read_speech(source: Path) -> dict[str, RowSource]:
    """Both splits; the converter of the record ``speech``.

    Args:
        source: recordings, in a folder, in one of its folders or in a zip archive; or a folder
            with ready features, ``stft-split=train.npy`` and ``stft-split=test.npy``.

    Raises:
        DataError: neither is there, or something is damaged.
    """
    return _read(source, "stft-split=", None)


def read_speech_2d(source: Path) -> dict[str, RowSource]:
    """Both splits; the converter of the record ``speech-2d``.

    Args:
        source: as for :func:`read_speech`; of ready features ``n=2-stft-split=train.npy`` ...

    Raises:
        DataError: neither is there, or something is damaged.
    """
    return _read(source, "n=2-stft-split=", COLUMNS)


@dataclass(frozen=True)
class _Recording:
    """A WAV file: which digit, which of its recordings, and how to get its bytes."""

    digit: int
    index: int
    label: str
    load: Callable[[], bytes]

    @property
    def is_test(self) -> bool:
        return self.index in _TEST_INDICES

    def samples(self) -> NDArray[np.int16]:
        """16-bit samples of its one channel.

        Raises:
            DataError: damaged, or of another form.
        """
        try:
            with wave.open(io.BytesIO(self.load())) as file:
                form = (file.getnchannels(), file.getsampwidth())
                frames = file.readframes(file.getnframes())
                if len(frames) != file.getnframes() * math.prod(form):
                    raise EOFError
        except _DAMAGE as error:
            raise DataError(f"{self.label}: damaged, or not a WAV file of PCM") from error
        if form != (1, 2):
            raise DataError(
                f"{self.label}: {form[0]} channels of {8 * form[1]} bits, expected 1 of 16 bits"
            )
        return np.frombuffer(frames, "<i2").astype(np.int16)


def _read(source: Path, stem: str, columns: tuple[int, ...] | None) -> dict[str, RowSource]:
    recordings = _in_archive(source) if source.is_file() else _in_folders(source)
    if recordings:
        recordings.sort(key=lambda recording: (recording.digit, recording.index))
        return _splits_of_recordings(source, recordings, columns)
    if source.is_dir():
        for folder in folders_of(source):
            paths = {split: folder / f"{stem}{split}.npy" for split in _SPLITS}
            if all(path.is_file() for path in paths.values()):
                return {split: _ready(path, columns) for split, path in paths.items()}
    raise DataError(
        f"{source}: neither recordings 0_{_SPEAKER}_0.wav ..., nor {stem}train.npy and "
        f"{stem}test.npy",
        "give the folder that holds them, the one above it, or a zip archive of recordings",
    )


def _in_folders(source: Path) -> list[_Recording]:
    """The recordings of the first folder that has any."""
    for folder in folders_of(source):
        try:
            paths = list(folder.iterdir())
        except OSError as error:
            raise describe_os_error(error, folder) from error
        found = [
            _Recording(int(match[1]), int(match[2]), str(path), partial(_bytes_of, path))
            for path in paths
            if (match := _RECORDING.fullmatch(path.name))
        ]
        if found:
            return found
    return []


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise describe_os_error(error, path) from error


def _in_archive(source: Path) -> list[_Recording]:
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    except OSError as error:
        raise describe_os_error(error, source) from error
    except _DAMAGE as error:
        raise DataError(f"{source}: neither a folder nor a zip archive") from error
    return [
        _Recording(
            int(match[1]),
            int(match[2]),
            f"{source}[{member.filename}]",
            partial(_bytes_in, source, member),
        )
        for member in members
        if (match := _RECORDING.fullmatch(PurePosixPath(member.filename).name))
    ]


def _bytes_in(source: Path, member: zipfile.ZipInfo) -> bytes:
    try:
        with zipfile.ZipFile(source) as archive, archive.open(member) as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise describe_os_error(error, source) from error


def _splits_of_recordings(
    source: Path, recordings: Sequence[_Recording], columns: tuple[int, ...] | None
) -> dict[str, RowSource]:
    if len({(recording.digit, recording.index) for recording in recordings}) < len(recordings):
        raise DataError(f"{source}: two recordings of one name")
    splits = {}
    for split in _SPLITS:
        samples = [r.samples() for r in recordings if r.is_test is (split == "test")]
        count = sum(max(0, len(part) - FRAME + 1) for part in samples)
        if count == 0:
            raise DataError(f"{source}: no recordings of the {split} split")
        shape = (len(columns) if columns else DIMS,)
        splits[split] = RowSource(
            count, shape, np.dtype("<f4"), partial(_features_of, samples, columns)
        )
    return splits


def _features_of(
    samples: Sequence[NDArray[np.int16]], columns: tuple[int, ...] | None
) -> Iterator[Part]:
    """All features in an order of random words, in parts."""
    chosen = slice(None) if columns is None else list(columns)
    features = np.concatenate([spectral_features(part)[:, chosen] for part in samples])
    words = np.random.Philox(key=np.array(_ORDER_KEY, np.uint64)).random_raw(len(features))
    order = np.argsort(words, kind="stable")
    for start in range(0, len(order), _ROWS_PER_PART):
        yield features[order[start : start + _ROWS_PER_PART]].astype("<f4", copy=False), None


def _ready(path: Path, columns: tuple[int, ...] | None) -> RowSource:
    rows = checked_vectors(path, len(columns) if columns else DIMS).astype("<f4", copy=False)
    return RowSource(len(rows), rows.shape[1:], rows.dtype, lambda: iter([(rows, None)]))

"""Our models beside the classical codecs, on the same samples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nc_core.evaluators.classical import ClassicalResult, Sample, measure_codecs
from nc_core.evaluators.codecs import CODECS, ImageCodec, StreamCodec
from nc_core.lossless import compress_source
from nc_core.protocols import Coder, LosslessModel
from nc_core.rates import Rate
from nc_core.sources import ArraySource, Source
from nc_core.staging import temporary_folder

__all__ = ["COLUMNS", "COMPARE_SCHEMA", "Comparison", "Row", "compare"]

COMPARE_SCHEMA = "nc.compare/1"

COLUMNS = (
    "codec", "title", "settings", "kind", "total_bytes", "bits_per_dim", "bits_per_pixel",
    "ratio_to_png", "encode_seconds", "decode_seconds", "verified", "reason", "file",
)  # fmt: skip
"""Names of the columns of a comparison, with units."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being coded, steps done, steps in all)."""

# Work on a model counts as much as so many steps of a classical codec, for a bar that moves.
_STEPS_PER_MODEL = 4
_WARM_UP_SIDE = 256


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one codec did; numbers are None where ``reason`` says why there are none.

    Args:
        codec, title, settings: which codec, and how it was run.
        kind: ``nc`` (a model of ours), ``image`` (a file per image) or ``stream`` (a
            general-purpose compressor on all raw bytes).
        total_bytes: everything that was written.
        bits_per_dim, bits_per_pixel: of ``total_bytes``.
        encode_seconds, decode_seconds: wall time, one thread, without start-up.
        verified: decoded, and every sample is equal.
        reason: why there are no numbers.
        file: name of the file that was made, where it was kept.
        rate: the full record of a model of ours.
    """

    codec: str
    title: str
    settings: str
    kind: str
    total_bytes: int | None = None
    bits_per_dim: float | None = None
    bits_per_pixel: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    verified: bool = False
    reason: str | None = None
    file: str | None = None
    rate: Rate | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All rows, the smallest first; those without numbers come last.

    Args:
        source: name of the file, folder or dataset.
        items, dims, pixels: how much there was; pixels is None for data that are no images.
        raw_bytes: all samples as they are in memory.
        input_bytes: size of the input files as they were; None for a dataset.
        rows: one per codec.
    """

    source: str
    items: int
    dims: int
    pixels: int | None
    raw_bytes: int
    input_bytes: int | None
    rows: tuple[Row, ...]

    def ratio_to_png(self, row: Row) -> float | None:
        """Its bytes over those of PNG; None where one of them has none."""
        png = next((other.total_bytes for other in self.rows if other.codec == "png"), None)
        return None if not png or row.total_bytes is None else row.total_bytes / png

    def to_json(self) -> dict[str, Any]:
        """One document; keys carry units."""
        return {
            "schema": COMPARE_SCHEMA,
            "source": self.source,
            "items": self.items,
            "dims": self.dims,
            "pixels": self.pixels,
            "raw_bytes": self.raw_bytes,
            "input_bytes": self.input_bytes,
            "rows": [
                dict(zip(COLUMNS, cells, strict=True))
                | {"rate": None if row.rate is None else row.rate.to_json()}
                for row, cells in zip(self.rows, self.table(), strict=True)
            ],
        }

    def table(self) -> list[list[Any]]:
        """The rows as lists of cells, in the order of :data:`COLUMNS`."""
        return [
            [
                self.ratio_to_png(row) if name == "ratio_to_png" else getattr(row, name)
                for name in COLUMNS
            ]
            for row in self.rows
        ]


def compare(
    source: Source,
    name: str,
    models: Sequence[LosslessModel],
    coder: Coder,
    *,
    files: Sequence[Path] | None = None,
    input_bytes: int | None = None,
    binary: bool = False,
    codecs: Sequence[StreamCodec | ImageCodec] = CODECS,
    force: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Code the same samples with models and with classical codecs; decode and compare all.

    Args:
        source: the items.
        name: what to call them.
        models: lossless models of ours.
        coder: entropy coder for the models.
        files: where each model's container is kept; None to keep none.
        input_bytes: size of the input files, where there are such.
        binary: all samples are 0 or 1 (:func:`~nc_core.evaluators.classical.measure_codecs`).
        codecs: classical codecs.
        force: replace existing files.
        progress: called before every step.

    Raises:
        DataError: input that cannot be read, or a model that cannot code it.
        WorkError: a model's file does not decode to its input.
    """
    content = source.content
    count = len(content)
    classical_steps = sum(count if isinstance(codec, ImageCodec) else 1 for codec in codecs)
    total = _STEPS_PER_MODEL * len(models) + classical_steps
    report = progress or (lambda title, done, total: None)
    rows = []
    with temporary_folder() as temporary, _one_thread():
        for index, model in enumerate(models):
            report(model.name, _STEPS_PER_MODEL * index, total)
            _warm_up(source, model, coder, temporary)
            kept = None if files is None else files[index]
            path = kept or temporary / f"{index}.ncz"
            rate = compress_source(source, path, model, coder, force=force, journal_seconds=None)
            rows.append(_our_row(model, coder, rate, kept))
    before = _STEPS_PER_MODEL * len(models)
    results = measure_codecs(
        _samples(source),
        count,
        binary=binary,
        codecs=codecs,
        progress=lambda title, done, _: report(title, before + done, total),
    )
    report("", total, total)
    rows += [_row(codec, result) for codec, result in zip(codecs, results, strict=True)]
    rows.sort(key=lambda row: (row.total_bytes is None, row.total_bytes or 0))
    return Comparison(
        source=name,
        items=count,
        dims=content.dims,
        pixels=content.pixels,
        raw_bytes=sum(content[i].dims * np.dtype(content[i].dtype).itemsize for i in range(count)),
        input_bytes=input_bytes,
        rows=tuple(rows),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hold torch to one thread, as the classical codecs are, where a model has imported it."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _samples(source: Source) -> Iterator[Sample]:
    for index in range(len(source.content)):
        layout = source.content[index].layout
        yield cast(Sample, (source.load(index)[0], layout))


def _warm_up(source: Source, model: LosslessModel, coder: Coder, folder: Path) -> None:
    """Code a corner of the first item, so that compiling is not part of the times."""
    item = source.content[0]
    corner = _corner(source.load(0)[0], item.layout)
    compress_source(
        ArraySource(corner, item.layout), folder / "warm-up.ncz", model, coder,
        force=True, journal_seconds=None,
    )  # fmt: skip


def _corner(array: NDArray[Any], layout: str) -> NDArray[Any]:
    sides = slice(_WARM_UP_SIDE)
    if layout == "none":
        return array
    return array[:, sides, sides] if layout == "chw" else array[sides, sides]


def _our_row(model: LosslessModel, coder: Coder, rate: Rate, path: Path | None) -> Row:
    return Row(
        codec=model.name,
        title=f"nc {model.name}",
        settings=f"{model.package[0]} {model.package[1]}, {coder.name}",
        kind="nc",
        total_bytes=rate.total_bits // 8,
        bits_per_dim=rate.bits_per_dim,
        bits_per_pixel=rate.bits_per_pixel,
        encode_seconds=rate.encode_seconds,
        decode_seconds=rate.decode_seconds,
        verified=rate.verified,
        file=None if path is None else path.name,
        rate=rate,
    )


def _row(codec: StreamCodec | ImageCodec, result: ClassicalResult) -> Row:
    return Row(
        codec=result.codec,
        title=result.title,
        settings=result.settings,
        kind="image" if isinstance(codec, ImageCodec) else "stream",
        total_bytes=result.total_bytes,
        bits_per_dim=result.bits_per_dim,
        bits_per_pixel=result.bits_per_pixel,
        encode_seconds=result.encode_seconds,
        decode_seconds=result.decode_seconds,
        verified=result.verified,
        reason=result.reason,
    )

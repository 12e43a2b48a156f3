"""What was measured before, side by side: compressed files, run directories, rate records.

A compressed file tells its rate, and no times. A run directory tells what it trained to, how long a
step took, and the rate records among its results. A JSON file is what a command printed with
``--json``: its rate records have times where they were measured, and ``peak_memory_bytes`` where
somebody noted it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from nc_core.errors import DataError
from nc_core.files import describe_os_error
from nc_core.rates import RATE_SCHEMA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "OUTCOMES_SCHEMA", "Outcome", "draw_outcomes", "is_outcome", "read_outcomes"]

OUTCOMES_SCHEMA = "nc.outcomes/1"

COLUMNS = (
    "name", "kind", "model", "order", "items", "total_bytes", "bits_per_dim", "bits_per_pixel",
    "bits_per_dim_marginal", "bound_bits_per_dim", "initial_bits", "header_bits",
    "overhead_percent", "encode_seconds", "decode_seconds", "peak_memory_bytes", "steps",
    "seconds_per_step", "evaluated", "value",
)  # fmt: skip
"""Names of the columns, with units."""

_DEEPEST = 4
_LARGEST_RECORD = 1 << 26
# What training calls the number that it minimises, the better measured first.
_MONITORS = ("elbo", "loss")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row; None where there is no such number.

    Args:
        name: path, and which of several records in it.
        kind: ``file``, ``run`` or ``record``.
        model, order: that coded.
        items, total_bytes, bits_per_dim, bits_per_pixel, bits_per_dim_marginal: as in a rate
            record, and so are initial_bits, header_bits, overhead_percent.
        bound_bits_per_dim: the model's own code length.
        encode_seconds, decode_seconds: wall time.
        peak_memory_bytes: of the process.
        steps: of training.
        seconds_per_step: their median.
        evaluated, value: name and best value of what training minimises, in its own unit.
    """

    name: str
    kind: str
    model: str | None = None
    order: str | None = None
    items: int | None = None
    total_bytes: int | None = None
    bits_per_dim: float | None = None
    bits_per_pixel: float | None = None
    bits_per_dim_marginal: float | None = None
    bound_bits_per_dim: float | None = None
    initial_bits: float | None = None
    header_bits: float | None = None
    overhead_percent: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    peak_memory_bytes: int | None = None
    steps: int | None = None
    seconds_per_step: float | None = None
    evaluated: str | None = None
    value: float | None = None

    def cells(self) -> list[Any]:
        """The row, in the order of :data:`COLUMNS`."""
        return [getattr(self, name) for name in COLUMNS]

    def to_json(self) -> dict[str, Any]:
        """The row by name."""
        return dict(zip(COLUMNS, self.cells(), strict=True))


def is_outcome(path: Path) -> bool:
    """Whether a path is a compressed file, a run directory or a JSON file, by its name alone."""
    return path.suffix in (".ncz", ".json") or (path / "config.json").is_file()


def read_outcomes(path: Path) -> list[Outcome]:
    """The rows of one path.

    Raises:
        DataError: it cannot be read, or holds nothing that could be compared.
        CorruptFileError: a damaged compressed file.
    """
    if path.is_dir():
        return list(_of_run(path))
    if path.suffix == ".json":
        rows = [_of_record(str(path), "record", record) for record in _rates(_document(path))]
        if not rows:
            raise DataError(f"{path}: holds no rate record", "nc compress ... --json prints one")
        return _numbered(rows)
    return [_of_file(path)]


def _of_file(path: Path) -> Outcome:
    from nc_core.container import ContainerReader
    from nc_core.header import Header, stored_rate

    try:
        with path.open("rb") as file:
            reader = ContainerReader(file, str(path))
            header = Header.from_json(reader.header, str(path))
            rate = stored_rate(reader, header).to_json()
    except OSError as error:
        raise describe_os_error(error, path) from error
    row = _of_record(str(path), "file", rate)
    return replace(row, model=header.model, order=header.order)


def _of_run(path: Path) -> Iterator[Outcome]:
    from nc_core.run_logs import read_records
    from nc_core.runs import RunDirectory

    run = RunDirectory.open(path)
    metrics = run.metrics()
    for name, document in run.results().items():
        rows = [_of_record(f"{path} {name}", "run", record) for record in _rates(document)]
        yield from _numbered(rows)
    if metrics:
        seconds = [record["seconds_per_step"] for record in read_records(path / "timing.jsonl")]
        evaluated, value = _best(metrics)
        yield Outcome(
            name=str(path),
            kind="run",
            steps=max(record.get("step", 0) for record in metrics),
            seconds_per_step=median(seconds) if seconds else None,
            evaluated=evaluated,
            value=value,
        )
    elif not any(True for document in run.results().values() for _ in _rates(document)):
        raise DataError(f"{path}: a run without metrics, and without rate records in its results")


def _best(metrics: Sequence[Mapping[str, Any]]) -> tuple[str | None, float | None]:
    """What a run minimised, and the lowest value of it."""
    for phase in ("evaluate", "train"):
        for monitor in _MONITORS:
            values = [
                record[monitor]
                for record in metrics
                if record.get("phase") == phase and record.get(monitor) is not None
            ]
            if values:
                return f"{monitor}/{phase}", min(values)
    return None, None


def _document(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST_RECORD:
            raise DataError(f"{path}: too large for a rate record")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise describe_os_error(error, path) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON document") from error


def _rates(document: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The rate records in a document, each with what is said around it."""
    if depth > _DEEPEST:
        return
    if isinstance(document, list):
        for part in document:
            yield from _rates(part, depth + 1)
    elif isinstance(document, dict):
        if document.get("schema") == RATE_SCHEMA:
            yield document
            return
        around = {key: value for key, value in document.items() if isinstance(value, str | int)}
        for part in document.values():
            for record in _rates(part, depth + 1):
                yield around | {key: value for key, value in record.items() if value is not None}


def _of_record(name: str, kind: str, record: Mapping[str, Any]) -> Outcome:
    def number(key: str) -> Any:
        value = record.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def text(*keys: str) -> str | None:
        return next((record[key] for key in keys if isinstance(record.get(key), str)), None)

    same = ("items", "bits_per_dim", "bits_per_pixel", "bits_per_dim_marginal", "initial_bits",
            "header_bits", "overhead_percent", "encode_seconds", "decode_seconds",
            "peak_memory_bytes")  # fmt: skip
    total, bound, dims = number("total_bits"), number("bound_bits"), number("dims")
    return Outcome(
        name=name,
        kind=kind,
        model=text("model", "codec"),
        order=text("order"),
        total_bytes=None if total is None else int(total // 8),
        bound_bits_per_dim=bound / dims if bound is not None and dims else None,
        **{key: number(key) for key in same},
    )


def _numbered(rows: list[Outcome]) -> list[Outcome]:
    """Rows of one path, told apart by numbers where there are several."""
    if len(rows) == 1:
        return rows
    return [replace(row, name=f"{row.name} [{index}]") for index, row in enumerate(rows)]


def draw_outcomes(rows: Sequence[Outcome]) -> Figure:
    """Bits per dimension as bars: what the model says, and what comes on top.

    Args:
        rows: those without a rate are left out.
    """
    from nc_core.plots import Colours, look

    rated = [row for row in rows if row.bits_per_dim is not None]
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.4, 1.3 + 0.34 * len(rated)))
        axes = figure.add_subplot()
        totals = [row.bits_per_dim or 0.0 for row in rated]
        bounds = [row.bound_bits_per_dim or 0.0 for row in rated]
        places = range(len(rated))
        axes.barh(places, totals, color=Colours.background, height=0.66, label="whole file")
        axes.barh(places, bounds, color=Colours.ours, height=0.66, label="the model's bound")
        for place, total in enumerate(totals):
            axes.annotate(f"{total:.4f}", (total, place), xytext=(4, 0),
                          textcoords="offset points", va="center", fontsize=8)  # fmt: skip
        labels = [f"{Path(row.name).name}\n{row.order or row.model or ''}".strip() for row in rated]
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.set(xlabel="bits per dimension", xlim=(0, 1.12 * max(totals, default=1.0)))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure

"""What experiments leave in a run directory, and the numbers that the paper reports of it.

    results/bitswap_10bits_nets.npy          float64 (experiments, images), and so on for ARRAYS
    results/bitswap_10bits_experiment0.npy   uint32, the words of a message after its last image
    results/experiment.json, .csv            the summary

Names are the original's: ``bitswap`` or ``bbans``, and the bits of discretization. Rows of
experiments that are not finished yet hold NaN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.npy_files import load_npy
from nc_core.errors import DataError
from nc_core.files import atomic_write
from nc_core.plots import write_csv
from nc_core.rates import Rate
from nc_core.runs import RunDirectory

if TYPE_CHECKING:
    from nc_core.ans import Message

__all__ = [
    "ARRAYS", "SCHEMES", "Results", "finished_arrays", "keep_summary", "read_arrays", "summarize",
]  # fmt: skip

SCHEMES = {"bit-swap": "bitswap", "bb-ans": "bbans"}
"""The original's names of the two orders."""

ARRAYS = ("nets", "elbos", "cmas", "total", "borrowed")

_COUNTS = (1, 50, 100)
_LAST_ARRAY = re.compile(rf"({'|'.join(SCHEMES.values())})_(\d+)bits_{ARRAYS[-1]}\.npy")


class Results:
    """Arrays of one order and number of bits, in a run directory that is being written.

    Args:
        run: the run directory; what it holds of finished experiments is taken over.
        order: ``bit-swap`` or ``bb-ans``.
        bits: log2 of the number of bins of a latent.
        shape: (experiments, images).

    Attributes:
        arrays: ARRAYS by name, float64 of that shape.

    Raises:
        DataError: what is there is damaged.
    """

    def __init__(self, run: RunDirectory, order: str, bits: int, shape: tuple[int, int]) -> None:
        self._run, self._order, self._bits = run, order, bits
        self.arrays = {name: np.full(shape, np.nan) for name in ARRAYS}
        if _path(run.path, order, bits, ARRAYS[-1]).exists():
            for name, array in read_arrays(run.path, order, bits).items():
                kept = min(len(array), len(self.arrays[name]))
                self.arrays[name][:kept] = array[:kept]

    @property
    def unfinished(self) -> NDArray[np.int64]:
        """Numbers of the experiments without results."""
        return np.flatnonzero(~_finished(self.arrays))

    def add(
        self,
        numbers: NDArray[np.int64],
        arrays: Mapping[str, NDArray[np.float64]],
        messages: Sequence[Message],
        seconds: Mapping[str, float],
    ) -> None:
        """Keep the results of some experiments.

        Args:
            numbers: which experiments.
            arrays: ARRAYS by name, (experiments, images).
            messages: as they are after the last image.
            seconds: of CPU time, for ``timing.jsonl``.

        Raises:
            DataError, WorkError: a file cannot be written.
        """
        for number, message in zip(numbers, messages, strict=True):
            _save(self._path(f"experiment{number}"), message.to_words())
        for name, array in self.arrays.items():
            array[numbers] = arrays[name]
            _save(self._path(name), array)
        images = arrays["nets"].size
        record = {"order": self._order, "bits": self._bits, "images": images, **seconds}
        self._run.log(record, name="timing")

    def _path(self, name: str) -> Path:
        return _path(self._run.path, self._order, self._bits, name)


def read_arrays(run: Path, order: str, bits: int) -> dict[str, NDArray[np.float64]]:
    """ARRAYS by name from a run directory, float64 (experiments, images).

    Raises:
        DataError: they are not there, unreadable, or not of as many images.
    """
    arrays = {name: np.atleast_1d(_load(_path(run, order, bits, name))) for name in ARRAYS}
    # A run that was killed while it got more experiments wrote only some of the files.
    experiments = min(map(len, arrays.values()))
    arrays = {name: array[:experiments] for name, array in arrays.items()}
    shape = arrays["nets"].shape
    if len(shape) != 2 or any(array.shape != shape for array in arrays.values()):
        raise DataError(f"{_path(run, order, bits, 'nets')}: not of its companions' shape")
    return arrays


def finished_arrays(run: Path) -> dict[tuple[str, int], dict[str, NDArray[np.float64]]]:
    """What is finished in a run directory: ARRAYS by name, for every (order, bits).

    Also that which the run was asked for before it was resumed with other orders or bits.

    Returns:
        float64 (experiments, images) each, without the experiments that are not finished; the
        original's order first, and few bits.

    Raises:
        DataError: arrays that are not there or damaged.
    """
    found = (_LAST_ARRAY.fullmatch(path.name) for path in (run / "results").glob("*.npy"))
    stored = {(match[1], int(match[2])) for match in found if match}
    finished = {}
    for order, scheme in SCHEMES.items():
        for bits in sorted(bits for name, bits in stored if name == scheme):
            arrays = read_arrays(run, order, bits)
            rows = _finished(arrays)
            if rows.any():
                finished[order, bits] = {name: array[rows] for name, array in arrays.items()}
    return finished


def keep_summary(run: RunDirectory) -> list[dict[str, Any]]:
    """The paper's numbers of all that is finished in a run, also kept as JSON and CSV.

    Raises:
        DataError: arrays that are not there or damaged, a file that cannot be written.
    """
    config = run.config
    same = {key: config[key] for key in ("model", "model_id", "levels", "dataset", "seed")}
    records = []
    for (order, bits), arrays in finished_arrays(run.path).items():
        experiments, images = arrays["nets"].shape
        record = same | {"order": order, "bits": bits, "experiments": experiments,
                         "images": images, "verified": config["decode"]}  # fmt: skip
        numbers = summarize(arrays, config["padded_dims"], config["dims"])
        rate = _rate(arrays, config["padded_dims"], config["dims"])
        records.append(record | numbers | {"rate": rate.to_json()})
    run.save_result("experiment", records)
    rows = [
        {key: value for key, value in record.items() if key not in ("rates", "rate")}
        | {"unit": unit}
        | rates
        for record in records
        for unit, rates in record["rates"].items()
    ]
    table = ([row[key] for key in rows[0]] for row in rows)
    write_csv(run.path / "results" / "experiment.csv", list(rows[0]), table)
    return records


def summarize(
    arrays: Mapping[str, NDArray[np.float64]], padded_dims: int, dims: int
) -> dict[str, Any]:
    """The paper's numbers.

    Args:
        arrays: ARRAYS by name, (experiments, images).
        padded_dims: of an image as it is coded.
        dims: of it without padding.

    Returns:
        ``rates`` by unit (bits per padded dimension, and per dimension without padding where
        there is any), and initial, borrowed and total bits. Means come with standard deviations,
        over images (``net``, ``elbo``) or over experiments (the others); None for the ELBO
        where there is none, and for the deviation of one.
    """
    total, nets = arrays["total"], arrays["nets"]
    units = {"bit/dim": 1.0}
    if dims != padded_dims:
        units = {"bit/padded dim": 1.0, "bit/dim": padded_dims / dims}
    columns = {"net": nets, "elbo": arrays["elbos"]}
    counts = [count for count in _COUNTS if count <= nets.shape[1]]
    columns |= {f"cma{count}": arrays["cmas"][:, count - 1] for count in counts}
    gap = {"gap_net_minus_elbo": _finite((nets - arrays["elbos"]).mean())}
    rates = {
        unit: _statistics({name: factor * values for name, values in columns.items()})
        | {name: None if value is None else factor * value for name, value in gap.items()}
        for unit, factor in units.items()
    }
    bits = {
        "initial_bits": total[:, -1] - nets.sum(axis=1) * padded_dims,
        "borrowed_bits": arrays["borrowed"][:, -1],
        "total_bits": total[:, -1],
    }
    return {"rates": rates, **_statistics(bits)}


def _rate(arrays: Mapping[str, NDArray[np.float64]], padded_dims: int, dims: int) -> Rate:
    """All messages as one rate record, without headers; initial bits as the paper counts them."""
    total = int(arrays["total"][:, -1].sum())
    return Rate(
        items=arrays["nets"].size,
        dims=arrays["nets"].size * dims,
        pixels=None,
        total_bits=total,
        payload_bits=total,
        initial_bits=total - round(float(arrays["nets"].sum()) * padded_dims),
        bound_bits=float(arrays["elbos"].sum()) * padded_dims,
    )


def _statistics(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, float | None]:
    statistics: dict[str, float | None] = {}
    for name, values in columns.items():
        statistics[f"{name}_mean"] = _finite(values.mean())
        statistics[f"{name}_std"] = _finite(values.std()) if values.size > 1 else None
    return statistics


def _finished(arrays: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Which experiments have results, (experiments,)."""
    # Files are written one by one: what counts is in all of them. ELBOs may be unknown.
    finite = [np.isfinite(arrays[name]) for name in ARRAYS if name != "elbos"]
    finished: NDArray[np.bool_] = np.all(finite, axis=(0, 2))
    return finished


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _path(run: Path, order: str, bits: int, name: str) -> Path:
    return run / "results" / f"{SCHEMES[order]}_{bits}bits_{name}.npy"


def _load(path: Path) -> NDArray[np.float64]:
    return np.array(load_npy(path), np.float64)


def _save(path: Path, array: NDArray[Any]) -> None:
    with atomic_write(path) as file:
        np.save(file, array)

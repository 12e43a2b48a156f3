"""A Gaussian with independent coordinates, N(loc, diag(scale^2)), and its parameter files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.npy_files import load_npz
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError, UsageError
from nc_core.files import atomic_write, check_target
from nc_rd_bounds.sources.endless import Endless
from nc_rd_bounds.sources.truth import KnownTruth

__all__ = [
    "Gaussian",
    "GaussianParameters",
    "draw_parameters",
    "gaussian_truth",
    "open_gaussian",
    "read_parameters",
    "write_parameters",
]

_DIMS = 2
_MOST_DIMS = 1 << 20
_BLOCK_NUMBERS = 1 << 16
_BLOCK_ROWS = (64, 4096)


@dataclass(frozen=True, eq=False)
class GaussianParameters:
    """Means and variances, each float32, (dims,), as the original's files have them."""

    loc: NDArray[np.float32]
    var: NDArray[np.float32]

    @property
    def scale(self) -> NDArray[np.float32]:
        """Standard deviations, float32."""
        return np.sqrt(self.var)


def draw_parameters(
    dims: int,
    seed: int = 0,
    loc: Literal["rand", "zeros"] = "rand",
    var: Literal["rand", "ones"] = "rand",
) -> GaussianParameters:
    """Parameters as the original draws them: loc ~ U(-0.5, 0.5), then var ~ U(0, 2).

    Args:
        dims: number of coordinates.
        seed: of NumPy's legacy generator, whose numbers never change: equal seeds give equal bits.
        loc: ``zeros`` draws none, so that ``var`` begins the stream.
        var: ``ones`` draws none.
    """
    generator = np.random.RandomState(seed)
    means = generator.uniform(-0.5, 0.5, dims) if loc == "rand" else np.zeros(dims)
    variances = generator.uniform(0, 2, dims) if var == "rand" else np.ones(dims)
    return GaussianParameters(means.astype(np.float32), variances.astype(np.float32))


def write_parameters(path: Path, parameters: GaussianParameters, *, force: bool = False) -> None:
    """Write ``loc``, ``var`` and ``scale`` into a ``.npz`` file.

    Raises:
        DataError: it exists and ``force`` is off, it is a folder, or it cannot be written.
    """
    check_target(path, force=force)
    with atomic_write(path, force=force) as file:
        np.savez(file, loc=parameters.loc, var=parameters.var, scale=parameters.scale)


def read_parameters(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and standard deviations, float64, (dims,).

    Raises:
        DataError: missing or damaged, without ``loc`` or one of ``scale`` and ``var``, of other
            shapes, not finite, or with a negative deviation.
    """
    loc = _vector(path, "loc")
    try:
        scale = _vector(path, "scale")
    except DataError as error:
        if not isinstance(error, _NoArrayError):
            raise
        var = _vector(path, "var")
        if (var < 0).any():
            raise DataError(f"{path}[var]: negative variances") from None
        scale = np.sqrt(var)
    if loc.shape != scale.shape:
        raise DataError(f"{path}: {len(loc)} means for {len(scale)} deviations")
    if (scale < 0).any():
        raise DataError(f"{path}[scale]: negative standard deviations")
    return loc, scale


class _NoArrayError(DataError):
    """An archive without an array of that name."""


def _vector(path: Path, key: str) -> NDArray[np.float64]:
    try:
        _, array = load_npz(path, key, checked=True)
    except UsageError as error:
        raise _NoArrayError(
            f"{path}: no array '{key}'", "a file of parameters holds loc and scale (or var)"
        ) from error
    if array.ndim != 1 or array.dtype.kind != "f":
        raise DataError(f"{path}[{key}]: {array.dtype} {array.shape}, expected real numbers (n,)")
    if not np.isfinite(array).all():
        raise DataError(f"{path}[{key}]: values that are not finite")
    return array.astype(np.float64)


def gaussian_truth(scale: NDArray[np.float64]) -> KnownTruth:
    """Entropy and variances; coordinates without variance do not count for the entropy."""
    variances = np.sort(np.asarray(scale, np.float64) ** 2)[::-1]
    positive = variances[variances > 0]
    entropy = 0.5 * float(np.sum(np.log(2 * math.pi * math.e * positive)))
    return KnownTruth(entropy, len(positive), variances)


def open_gaussian(request: DatasetRequest) -> Gaussian:
    """Open one split; the target of the record ``gaussian``.

    Raises:
        DataError: a file of parameters that is missing or damaged.
        UsageError: a wrong value of an option.
    """
    file = request.options.get("params")
    if file is None:
        dims = request.integer("dim", _DIMS)
        if not 1 <= dims <= _MOST_DIMS:
            raise UsageError(f"dim={dims}: expected 1 to {_MOST_DIMS}")
        loc, scale = np.zeros(dims), np.ones(dims)
    else:
        path = Path(file).expanduser()
        loc, scale = read_parameters(path)
        if request.integer("dim", len(loc)) != len(loc):
            raise UsageError(f"dim={request.options['dim']}: {path} has {len(loc)} coordinates")
    return Gaussian(request.name, request.split, loc, scale, request.integer("seed", 0))


class Gaussian(Endless):
    """Samples of N(loc, diag(scale^2)), without end.

    Args:
        name: full name of the dataset.
        split: ``train`` or ``test``: independent streams.
        loc, scale: means and standard deviations, (dims,).
        seed: of the samples.
    """

    def __init__(
        self,
        name: str,
        split: str,
        loc: NDArray[np.float64],
        scale: NDArray[np.float64],
        seed: int = 0,
    ) -> None:
        least, most = _BLOCK_ROWS
        rows = 1 << (max(1, _BLOCK_NUMBERS // len(loc)).bit_length() - 1)
        super().__init__(name, f"gaussian:{split}", seed, (len(loc),), min(most, max(least, rows)))
        self.truth = gaussian_truth(scale)
        self._loc = loc.astype(np.float32)
        self._scale = scale.astype(np.float32)

    def draw(self, generator: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Draw rows, float32 (count, dims)."""
        normals = generator.standard_normal((count, len(self._loc)), np.float32)
        normals *= self._scale
        normals += self._loc
        return normals

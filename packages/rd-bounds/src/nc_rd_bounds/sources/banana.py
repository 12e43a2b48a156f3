"""The banana: a Gaussian bent along a parabola, and its linear embedding into n dimensions.

Reference:
    J. Ballé, P. A. Chou, D. Minnen, et al., "Nonlinear Transform Coding" (arXiv 2007.03034);
    embedded by Y. Yang, S. Mandt (arXiv 2111.12166).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.npy_files import load_npy
from nc_core.datasets.opening import DatasetRequest
from nc_core.errors import DataError, UsageError
from nc_rd_bounds.sources.endless import Endless
from nc_rd_bounds.sources.truth import KnownTruth

__all__ = [
    "DEVIATIONS",
    "Banana",
    "bend",
    "embedding",
    "log_density",
    "open_banana",
    "read_embedding",
]

DEVIATIONS = (3.0, 0.5)
"""Standard deviations of the two normal coordinates."""

_CURVATURE = 0.1
_ANGLE = math.radians(240.0)
_ROTATION = np.array([[math.cos(_ANGLE), -math.sin(_ANGLE)], [math.sin(_ANGLE), math.cos(_ANGLE)]])
_SHIFT = 1.0
_MOST_DIMS = 1 << 16
_BLOCK = 4096
# The generator of the matrix is no seed of samples: every seed sees the same source.
_EMBEDDING_KEY = (0, 240)


def bend(normals: NDArray[np.floating]) -> NDArray[np.float64]:
    """The map from normal coordinates to the banana; it preserves volume.

    ``w = (z0, z1 - 0.1 z0^2)``, rotated by 240 degrees, moved by (-1, -1).

    Args:
        normals: z, (B, 2), with standard deviations 3 and 0.5.
    """
    z0, z1 = np.asarray(normals, np.float64).T
    bent = np.stack([z0, z1 - _CURVATURE * z0 * z0], axis=1)
    points: NDArray[np.float64] = bent @ _ROTATION - _SHIFT
    return points


def log_density(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log density of the two-dimensional banana in nats, (B,)."""
    w0, w1 = ((np.asarray(points, np.float64) + _SHIFT) @ _ROTATION.T).T
    normals = np.stack([w0, w1 + _CURVATURE * w0 * w0], axis=1) / np.array(DEVIATIONS)
    constant = math.log(2 * math.pi) + math.log(math.prod(DEVIATIONS))
    log_densities: NDArray[np.float64] = -0.5 * np.sum(normals * normals, axis=1) - constant
    return log_densities


def embedding(dims: int) -> NDArray[np.float64]:
    """The matrix (2, dims) of the n-dimensional banana, the same in every process.

    Uniform in (-l, l), l = sqrt(6 / (2 + n)), as the original initialises it; the original's own
    matrices are data of the paper, and given by ``?matrix=FILE``.
    """
    words = np.random.Philox(key=np.array(_EMBEDDING_KEY, np.uint64)).random_raw(2 * dims)
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    limit = math.sqrt(6.0 / (2 + dims))
    return ((2 * uniform - 1) * limit).reshape(2, dims)


def read_embedding(path: Path) -> NDArray[np.float64]:
    """A matrix (2, n) of real numbers from a ``.npy`` file.

    Raises:
        DataError: missing or damaged, of another shape or type, not finite, or of rank below 2.
    """
    matrix = load_npy(path)
    if matrix.ndim != 2 or matrix.shape[0] != 2 or matrix.shape[1] < 2 or matrix.dtype.kind != "f":
        raise DataError(
            f"{path}: {matrix.dtype} {matrix.shape}, expected a matrix (2, n) of real numbers"
        )
    if not np.isfinite(matrix).all():
        raise DataError(f"{path}: values that are not finite")
    if np.linalg.matrix_rank(matrix) < 2:
        raise DataError(f"{path}: a matrix of rank below 2")
    return matrix.astype(np.float64)


def open_banana(request: DatasetRequest) -> Banana:
    """Open one split; the target of the record ``banana``.

    Raises:
        DataError: a file of the matrix that is missing or damaged.
        UsageError: a wrong value of an option.
    """
    file, matrix = request.options.get("matrix"), None
    if file is not None:
        path = Path(file).expanduser()
        matrix = read_embedding(path)
        if request.integer("dim", matrix.shape[1]) != matrix.shape[1]:
            raise UsageError(f"dim={request.options['dim']}: {path} has {matrix.shape[1]} columns")
    else:
        dims = request.integer("dim", 2)
        if not 2 <= dims <= _MOST_DIMS:
            raise UsageError(f"dim={dims}: expected 2 to {_MOST_DIMS}")
        matrix = None if dims == 2 else embedding(dims)
    return Banana(request.name, request.split, matrix, request.integer("seed", 0))


class Banana(Endless):
    """Samples of the banana, without end.

    Args:
        name: full name of the dataset.
        split: ``train`` or ``test``: independent streams.
        matrix: W, (2, n): rows are ``x W``; None for the two-dimensional banana itself.
        seed: of the samples; the matrix does not depend on it.
    """

    def __init__(
        self, name: str, split: str, matrix: NDArray[np.float64] | None = None, seed: int = 0
    ) -> None:
        dims = 2 if matrix is None else matrix.shape[1]
        super().__init__(name, f"banana:{split}", seed, (dims,), _BLOCK if dims <= 16 else 512)
        self._matrix = matrix
        self.truth = _truth(matrix)

    def draw(self, generator: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Draw rows, float32 (count, n)."""
        points = bend(generator.standard_normal((count, 2)) * np.array(DEVIATIONS))
        if self._matrix is not None:
            points = points @ self._matrix
        return points.astype(np.float32)


def _truth(matrix: NDArray[np.float64] | None) -> KnownTruth:
    """Entropy: that of the normal coordinates, and the change of area by the embedding."""
    entropy = math.log(2 * math.pi * math.e * math.prod(DEVIATIONS))
    if matrix is not None:
        entropy += float(np.sum(np.log(np.linalg.svd(matrix, compute_uv=False))))
    return KnownTruth(entropy, 2)

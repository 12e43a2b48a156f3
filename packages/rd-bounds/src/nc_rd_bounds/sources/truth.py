"""What is known of a source in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["KnownTruth"]


@dataclass(frozen=True, eq=False)
class KnownTruth:
    """Entropy of a source and, where it is Gaussian, its variances.

    Args:
        entropy: differential entropy in nats, in the subspace that holds all samples.
        intrinsic_dims: dimension of that subspace; at most the number of dimensions.
        variances: float64, (dims,): eigenvalues of the covariance of a Gaussian; None for others.
    """

    entropy: float
    intrinsic_dims: int
    variances: NDArray[np.float64] | None = None

"""Integer tables of the rounded latents, frozen when a model is written.

A decoder needs no cumulative in floating point: per dimension there are a first integer and the
frequencies of it and its followers. The last symbol is an escape for all other integers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_core.ans.distributions.categorical import frequencies_from_pmf
from nc_rd_bounds.upper.model import VectorVae
from nc_rd_bounds.upper.priors import FactorizedPrior, medians

__all__ = ["PRECISION", "LatentTables"]

PRECISION = 24
_MOST_SYMBOLS = 1 << 12
_TAIL = 2.0**-20  # probability beyond each end of a table


@dataclass(frozen=True, eq=False)
class LatentTables:
    """What rounded latents are coded with.

    Args:
        offsets: float32, (L,): latents are integers plus these.
        firsts: int64, (L,): the integer of symbol 0.
        sizes: int64, (L,): symbols, the escape included.
        frequencies: uint32, of all dimensions one after the other; each sums to 2 ** 24.
    """

    offsets: NDArray[np.float32]
    firsts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    frequencies: NDArray[np.uint32]

    @classmethod
    def of(cls, model: VectorVae) -> LatentTables:
        """The tables of a trained model whose posterior is uniform.

        Integers are counted from the medians of the prior, so that the most probable latents
        can be reached exactly.
        """
        prior = copy.deepcopy(model.prior).cpu().double()
        if not isinstance(prior, FactorizedPrior):
            raise TypeError("tables are made of factorised priors")
        middle = medians(prior, model.latents).numpy()
        whole = np.rint(middle)
        offsets = (middle - whole).astype(np.float32)
        steps = np.arange(_MOST_SYMBOLS) - _MOST_SYMBOLS // 2
        values = steps[:, None] + (whole + offsets)
        with torch.no_grad():
            mass = prior.log_intervals(torch.from_numpy(values)).exp().numpy().T
        firsts, sizes, tables = [], [], []
        for pmf, centre in zip(mass, whole.astype(np.int64), strict=True):
            start, stop = _window(pmf)
            inside = np.append(pmf[start:stop], max(1 - pmf[start:stop].sum(), 0))
            tables.append(frequencies_from_pmf(inside / inside.sum(), PRECISION))
            firsts.append(centre + steps[start])
            sizes.append(len(inside))
        return cls(
            offsets,
            np.array(firsts, np.int64),
            np.array(sizes, np.int64),
            np.concatenate(tables).astype(np.uint32),
        )

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], latents: int) -> LatentTables:
        """Take back what :meth:`tensors` gave.

        Raises:
            KeyError, ValueError: they are no tables for that many latents.
        """
        tables = cls(*(tensors[name] for name in ("offsets", "firsts", "sizes", "frequencies")))
        dtypes = [array.dtype.name for array in tables.tensors().values()]
        if dtypes != ["float32", "int64", "int64", "uint32"]:
            raise ValueError("tables of other numbers")
        for array in (tables.offsets, tables.firsts, tables.sizes):
            if array.shape != (latents,):
                raise ValueError("tables of other latents")
        if (tables.sizes < 2).any() or tables.frequencies.shape != (tables.sizes.sum(),):
            raise ValueError("tables of other sizes")
        for dim in range(latents):
            table = tables.table(dim)
            if table.sum() != 1 << PRECISION or table.min() < 1:
                raise ValueError("a table does not sum to its total")
        return tables

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What a model file holds of them."""
        return {
            "offsets": self.offsets,
            "firsts": self.firsts,
            "sizes": self.sizes,
            "frequencies": self.frequencies,
        }

    def table(self, dim: int) -> NDArray[np.int64]:
        """Frequencies of the symbols of a dimension, the escape last; int64, (S,)."""
        stop = int(self.sizes[: dim + 1].sum())
        return self.frequencies[stop - int(self.sizes[dim]) : stop].astype(np.int64)


def _window(pmf: NDArray[np.float64]) -> tuple[int, int]:
    """The shortest run of symbols that leaves at most the tail's probability at each end."""
    below = np.cumsum(pmf)
    above = np.cumsum(pmf[::-1])
    start = int(np.searchsorted(below, _TAIL))
    stop = len(pmf) - int(np.searchsorted(above, _TAIL))
    return min(start, len(pmf) - 1), max(stop, min(start, len(pmf) - 1) + 1)

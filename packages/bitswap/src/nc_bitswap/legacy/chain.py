"""The original's coding of one image: networks in floating point, bins in float64."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.codec import POP, PUSH, Order
from nc_bitswap.discretization import POSITION_BITS, LatentBins, top_centres, top_edges
from nc_bitswap.importers import read_bins
from nc_bitswap.legacy.coder import LegacyCoder, LegacyState, LogisticTable, UniformTable
from nc_bitswap.model import HierarchicalVAE
from nc_core.errors import DataError

__all__ = ["LegacyCodec", "RealBins"]


@dataclass(frozen=True)
class RealBins:
    """Bins of all latents as real numbers.

    Args:
        edges: of each level, the lowest first: float64, (1 or dims, 2 ** bits - 1).
        centres: likewise, (1 or dims, 2 ** bits).
    """

    edges: list[NDArray[np.float64]]
    centres: list[NDArray[np.float64]]

    @property
    def bits(self) -> int:
        """log2 of the number of bins."""
        return int(self.centres[0].shape[1]).bit_length() - 1

    @classmethod
    def of_model(cls, bins: LatentBins) -> RealBins:
        """The bins of a model file, which are the original's but for 2^-14 below the top."""
        size = 1 << bins.bits
        if "step" in bins.lower:
            starts = bins.lower["offset"][..., None].astype(np.float64)
            steps = bins.lower["step"][..., None].astype(np.float64)
            edges = list(starts + steps * np.arange(1, size))
            centres = list(starts + steps * (np.arange(size) + 0.5))
        else:
            edges, centres = (list(bins.lower[name].astype(float)) for name in ("edges", "centres"))
        top = [
            function(bins.bits)[None].astype(np.float64) for function in (top_edges, top_centres)
        ]
        unit = 2.0**-POSITION_BITS
        return cls([e * unit for e in edges] + top[:1], [c * unit for c in centres] + top[1:])

    @classmethod
    def of_files(cls, edges: Path, centres: Path) -> RealBins:
        """The original's two bin files, exactly.

        Raises:
            DataError: as :func:`nc_bitswap.importers.read_bins`.
        """
        return cls(*(list(table) for table in read_bins(edges, centres)))


class LegacyCodec:
    """Codes images one at a time, as the original did.

    Decoding repeats the encoder's floating-point networks: the same processor and library give
    the same numbers, another one may not.

    Args:
        model: real-valued.
        bins: of its latents.
        order: of the steps.

    Raises:
        DataError: bins of another model.
    """

    def __init__(self, model: HierarchicalVAE, bins: RealBins, order: Order = "bit-swap") -> None:
        shape = model.architecture
        self.block_shape = shape.image_shape
        found = len(bins.edges), max(len(table) for table in bins.edges)
        dims = int(np.prod(shape.latent_shape))
        if found[0] != shape.levels or found[1] not in (1, dims):
            raise DataError(
                f"bins of {found[0]} levels of {found[1]} latents; "
                f"the model has {shape.levels} of {dims}"
            )
        self._chain = _RealChain(model, bins, dims)
        self._order: Order = order
        self._coder: Any = LegacyCoder()

    def push(self, state: LegacyState, image: NDArray[np.uint8]) -> float:
        """Push an image, (C, H, W), and return its code length in bits at the latents drawn.

        Raises:
            WorkError: too few words to borrow.
        """
        column = image.reshape(-1, 1).astype(np.int64)
        return PUSH[self._order](self._coder, cast(Any, state), self._chain, column)

    def pop(self, state: LegacyState) -> NDArray[np.uint8]:
        """Pop an image.

        Raises:
            CorruptFileError: the words end too early.
        """
        column = POP[self._order](self._coder, cast(Any, state), self._chain)
        return column.reshape(self.block_shape).astype(np.uint8)


class _RealChain:
    """A :class:`nc_core.ans.bits_back.Chain` of tables for one image."""

    def __init__(self, model: HierarchicalVAE, bins: RealBins, dims: int) -> None:
        self.depth = model.architecture.levels
        self._model, self._bins, self._dims = model.eval(), bins, dims
        grey = np.arange(1, 256, dtype=np.float64)
        self._pixel_edges = ((grey - 127.5) / 127.5 - 1 / 255)[None]

    def prior(self) -> UniformTable:
        return UniformTable(self._bins.bits, self._dims)

    def likelihood(self, level: int, above: NDArray[Any]) -> LogisticTable:
        with torch.no_grad():
            means, scales = self._model.likelihood(level, self._latents(level + 1, above))
        edges = self._bins.edges[level - 1] if level else self._pixel_edges
        return LogisticTable(_flat(means), _flat(scales.expand_as(means)), edges)

    def posterior(self, level: int, below: NDArray[Any]) -> LogisticTable:
        shape = self._model.architecture.image_shape
        with torch.no_grad():
            values = (
                torch.from_numpy(below.reshape(1, *shape)).float()
                if level == 1
                else self._latents(level - 1, below)
            )
            means, scales = self._model.posterior(level, values)
        return LogisticTable(_flat(means), _flat(scales), self._bins.edges[level - 1])

    def _latents(self, level: int, column: NDArray[Any]) -> torch.Tensor:
        table = self._bins.centres[level - 1]
        rows = np.arange(self._dims) % len(table)
        values = table[rows, column[:, 0]].astype(np.float32)
        return torch.from_numpy(values.reshape(1, *self._model.architecture.latent_shape))


def _flat(tensor: torch.Tensor) -> NDArray[np.float64]:
    flat: NDArray[np.float64] = tensor.double().numpy().reshape(-1)
    return flat

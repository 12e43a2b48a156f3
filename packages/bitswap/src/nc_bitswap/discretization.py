"""Bins of the latents: real numbers become symbols, and symbols integers on a declared grid.

The top level has bins of equal mass under its prior, the standard logistic, so that its prior is
uniform. All other levels have bins of equal width between the extremes of samples, for every
dimension its own: two numbers each. (Quantiles of the samples are an option, with a table
for each dimension.) The outermost bins reach to infinity.

Positions are integers with ``POSITION_BITS`` fractional bits: bins are a part of the model, and
the same on every machine.

Reference: Friso Kingma, Pieter Abbeel, Jonathan Ho, "Bit-Swap: Recursive Bits-Back Coding for
Lossless Compression with Hierarchical Latent Variables", arXiv 1905.06845, appendix D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions import AffineBins, Bins, EdgeBins

if TYPE_CHECKING:
    import torch

    from nc_bitswap.model import HierarchicalVAE

__all__ = [
    "POSITION_BITS",
    "POSITION_LIMIT",
    "SAMPLES_PER_BIN",
    "LatentBins",
    "Strategy",
    "draw_latents",
    "find_bins",
    "quantile_edges",
    "top_centres",
    "top_edges",
    "uniform_edges",
]

Strategy = Literal["uniform", "quantile"]

POSITION_BITS = 14
# Beyond what any latent takes, and float32 still holds every position exactly.
POSITION_LIMIT = 512.0
SAMPLES_PER_BIN = 30
_BATCH = 128
_SMALLEST_UNIFORM = 1e-30


def top_edges(bits: int) -> NDArray[np.float32]:
    """Inner edges of 2 ** bits bins of equal mass under the standard logistic, in float32."""
    count = 1 << bits
    return _logit(np.arange(1, count, dtype=np.float32) / np.float32(count))


def top_centres(bits: int) -> NDArray[np.float32]:
    """Medians of the same bins."""
    count = 1 << bits
    halves = np.arange(count, dtype=np.float32) + np.float32(0.5)
    return _logit(halves / np.float32(count))


def uniform_edges(
    low: NDArray[Any], high: NDArray[Any], bits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bins of equal width between ``low`` and ``high``.

    Args:
        low: smallest samples, (dims,).
        high: largest samples, (dims,).
        bits: log2 of the number of bins.

    Returns:
        Inner edges, float64 (dims, 2 ** bits - 1), and centres, (dims, 2 ** bits).
    """
    # Samples may be float16, in which a grid of edges would hold most of them twice.
    ends = np.asarray(low, np.float64), np.asarray(high, np.float64)
    edges = np.linspace(*ends, (1 << bits) + 1, axis=-1)
    return edges[:, 1:-1], (edges[:, 1:] + edges[:, :-1]) / 2


def quantile_edges(
    samples: NDArray[Any], bits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bins with equally many samples each.

    Args:
        samples: floating point, (n, dims). Edges lie between neighbouring samples, whose
            difference is taken in the samples' own precision, as the original does.
        bits: log2 of the number of bins.

    Returns:
        As :func:`uniform_edges`.
    """
    levels = np.linspace(0, 100, (1 << bits) + 1)
    edges = np.percentile(samples, levels, axis=0).T
    return edges[:, 1:-1], (edges[:, 1:] + edges[:, :-1]) / 2


@dataclass(frozen=True, eq=False)
class LatentBins:
    """Bins of all latents of a model, in integers.

    Args:
        bits: log2 of the number of bins of every dimension.
        dims: dimensions of every level.
        top: inner edges and centres of the top level's bins: int32, (2 ** bits - 1,), (2 ** bits,).
        lower: of the levels below, the lowest first. ``offset`` and ``step``, int32
            (levels - 1, dims), for bins of equal width; otherwise ``edges``, int32
            (levels - 1, dims, 2 ** bits - 1), and ``centres``, (levels - 1, dims, 2 ** bits).

    All are positions with ``POSITION_BITS`` fractional bits.
    """

    bits: int
    dims: int
    top: tuple[NDArray[np.int32], NDArray[np.int32]]
    lower: Mapping[str, NDArray[np.int32]]

    @property
    def levels(self) -> int:
        """Number of latent levels."""
        return 1 + len(next(iter(self.lower.values())))

    @classmethod
    def from_edges(
        cls, bits: int, lower: list[tuple[NDArray[np.float64], NDArray[np.float64]]], dims: int
    ) -> LatentBins:
        """Bins with the given edges and centres of the levels below the top, as in a table."""
        size = 1 << bits
        edges = [_positions(pair[0]) for pair in lower]
        centres = [_positions(pair[1]) for pair in lower]
        tables = {
            "edges": np.array(edges, np.int32).reshape(-1, dims, size - 1),
            "centres": np.array(centres, np.int32).reshape(-1, dims, size),
        }
        return cls(bits, dims, _top(bits), tables)

    @classmethod
    def from_extremes(
        cls, bits: int, extremes: list[tuple[NDArray[Any], NDArray[Any]]], dims: int
    ) -> LatentBins:
        """Bins of equal width between the extremes (low, high), (dims,), of each lower level."""
        low = np.array([_positions(pair[0]) for pair in extremes], np.int64).reshape(-1, dims)
        high = np.array([_positions(pair[1]) for pair in extremes], np.int64).reshape(-1, dims)
        # Rounded up, so that the bins cover the extremes, and none is empty.
        step = np.maximum(-((low - high) >> bits), 1)
        # What rounding adds, half of it on each side.
        offset = low - (((step << bits) - (high - low)) >> 1)
        tables = {"offset": offset.astype(np.int32), "step": step.astype(np.int32)}
        return cls(bits, dims, _top(bits), tables)

    def with_bits(self, bits: int) -> LatentBins:
        """Other 2 ** bits bins over the same range.

        Bins of equal width divide the range anew; those in tables are merged, each centre being
        the edge in the middle.

        Raises:
            ValueError: bits out of range, or more than these bins have, where they are in tables.
        """
        if not 4 <= bits <= 12:
            raise ValueError(f"2 ** 4 to 2 ** 12 bins, not 2 ** {bits}")
        if bits == self.bits:
            return self
        if "step" in self.lower:
            low = self.lower["offset"].astype(np.int64)
            width = self.lower["step"].astype(np.int64) << self.bits
            step = np.maximum(-(-width >> bits), 1)
            offset = low - (((step << bits) - width) >> 1)
            tables = {"offset": offset.astype(np.int32), "step": step.astype(np.int32)}
            return LatentBins(bits, self.dims, _top(bits), tables)
        if bits > self.bits:
            raise ValueError(f"bins of these latents are quantiles, 2 ** {self.bits} at most")
        merged = 1 << (self.bits - bits)
        edges = self.lower["edges"]
        tables = {
            "edges": np.ascontiguousarray(edges[..., merged - 1 :: merged]),
            "centres": np.ascontiguousarray(edges[..., merged // 2 - 1 :: merged]),
        }
        return LatentBins(bits, self.dims, _top(bits), tables)

    def distribution_bins(self, level: int, count: int) -> Bins:
        """Bins for a column of ``count`` latents of a level, one after the other.

        Args:
            level: 1 ... levels.
            count: how many images.
        """
        return self._bins(self, level, count)

    def values(self, level: int, symbols: NDArray[Any]) -> NDArray[np.float32]:
        """Centres of bins as real numbers, which float32 holds exactly.

        Args:
            level: 1 ... levels.
            symbols: (images, dims).
        """
        if level == self.levels:
            positions = self.top[1][symbols]
        elif "step" in self.lower:
            step, offset = self.lower["step"][level - 1], self.lower["offset"][level - 1]
            positions = offset + symbols * step + (step >> 1)
        else:
            table = self.lower["centres"][level - 1]
            positions = table[np.arange(self.dims), symbols]
        values: NDArray[np.float32] = np.ldexp(positions.astype(np.float32), -POSITION_BITS)
        return values

    def tensors(self) -> dict[str, NDArray[np.int32]]:
        """What a model file holds of them, by name."""
        edges, centres = self.top
        return {"top.edges": edges, "top.centres": centres, **self.lower}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.int32]]) -> LatentBins:
        """The inverse of :meth:`tensors`.

        Raises:
            KeyError, ValueError: tensors that are no bins.
        """
        lower = {name: array for name, array in tensors.items() if not name.startswith("top.")}
        if sorted(lower) not in (["offset", "step"], ["centres", "edges"]):
            raise ValueError(f"no bins: {', '.join(sorted(tensors))}")
        top = tensors["top.edges"], tensors["top.centres"]
        bits = len(top[1]).bit_length() - 1
        return cls(bits, next(iter(lower.values())).shape[1], top, lower)

    @staticmethod
    @lru_cache(maxsize=64)
    def _bins(bins: LatentBins, level: int, count: int) -> Bins:
        if level == bins.levels:
            return EdgeBins(bins.top[0], POSITION_BITS)
        if "step" in bins.lower:
            offset = np.tile(bins.lower["offset"][level - 1], count)[:, None]
            step = np.tile(bins.lower["step"][level - 1], count)[:, None]
            return AffineBins(offset, step, 1 << bins.bits, POSITION_BITS)
        edges = np.tile(bins.lower["edges"][level - 1], (count, 1))[:, None]
        return EdgeBins(edges, POSITION_BITS)


def find_bins(
    model: HierarchicalVAE,
    images: NDArray[np.uint8],
    bits: int = 10,
    *,
    strategy: Strategy = "uniform",
    generator: torch.Generator | None = None,
    samples_per_bin: int = SAMPLES_PER_BIN,
    progress: Callable[[int, int], None] | None = None,
) -> LatentBins:
    """Bins for a trained model, from samples of its latents.

    Args:
        model: in any mode; left as it is.
        images: training images, (n, C, H, W); repeated where there are too few.
        bits: log2 of the number of bins, 4 ... 12.
        strategy: of the levels below the top.
        generator: of the samples; None for torch's own.
        samples_per_bin: half of it drawn from the prior downwards, as many from the images up.
        progress: called with (samples done, samples in all).

    Raises:
        ValueError: no images, or bits out of range.
    """
    if not 4 <= bits <= 12:
        raise ValueError(f"2 ** 4 to 2 ** 12 bins, not 2 ** {bits}")
    dims = int(np.prod(model.architecture.latent_shape))
    lower = model.architecture.levels - 1
    if not lower:
        return LatentBins.from_extremes(bits, [], dims)
    batches = draw_latents(model, images, samples_per_bin << bits, generator, progress)
    if strategy == "uniform":
        return LatentBins.from_extremes(bits, _extremes(batches, lower), dims)
    kept: list[list[NDArray[Any]]] = [list(batch) for batch in batches]
    columns = [np.concatenate(parts) for parts in zip(*kept, strict=True)]
    edges = [quantile_edges(samples, bits) for samples in columns[:lower]]
    return LatentBins.from_edges(bits, edges, dims)


def draw_latents(
    model: HierarchicalVAE,
    images: NDArray[np.uint8],
    count: int,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[list[NDArray[np.float16]]]:
    """Batches of latents: ``count`` drawn from the prior down, then ``count`` from images up.

    Yields:
        For each level from the lowest, float16 (batch, dims).
    """
    import torch

    if len(images) == 0:
        raise ValueError("no images to draw latents from")
    training = model.training
    model.eval()
    try:
        for source in (0, 1):
            for start in range(0, count, _BATCH):
                size = min(_BATCH, count - start)
                with torch.no_grad():
                    if source == 0:
                        latents = _downwards(model, size, generator)
                    else:
                        chosen = np.arange(start, start + size) % len(images)
                        latents = _upwards(model, torch.from_numpy(images[chosen]), generator)
                yield [latent.flatten(1).half().cpu().numpy() for latent in latents]
                if progress is not None:
                    progress(source * count + start + size, 2 * count)
    finally:
        model.train(training)


def _downwards(
    model: HierarchicalVAE, count: int, generator: torch.Generator | None
) -> list[torch.Tensor]:
    from nc_bitswap.distributions import logistic_noise

    device = next(model.parameters()).device
    shape = (count, *model.architecture.latent_shape)

    def noise() -> torch.Tensor:
        return logistic_noise(shape, generator, device=device, smallest=_SMALLEST_UNIFORM)

    latents = [noise()]
    for level in range(model.architecture.levels - 1, 0, -1):
        means, scales = model.likelihood(level, latents[0])
        latents.insert(0, means + scales * noise())
    return latents


def _upwards(
    model: HierarchicalVAE, images: torch.Tensor, generator: torch.Generator | None
) -> list[torch.Tensor]:
    from nc_bitswap.distributions import logistic_noise

    device = next(model.parameters()).device
    below, latents = images.to(device).float(), []
    for level in range(1, model.architecture.levels + 1):
        means, scales = model.posterior(level, below)
        noise = logistic_noise(
            tuple(means.shape), generator, device=device, smallest=_SMALLEST_UNIFORM
        )
        below = means + scales * noise
        latents.append(below)
    return latents


def _extremes(
    batches: Iterable[list[NDArray[np.float16]]], levels: int
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    low: list[NDArray[Any]] = []
    high: list[NDArray[Any]] = []
    for batch in batches:
        least = [latents.min(axis=0) for latents in batch[:levels]]
        most = [latents.max(axis=0) for latents in batch[:levels]]
        low = least if not low else list(map(np.minimum, low, least))
        high = most if not high else list(map(np.maximum, high, most))
    return list(zip(low, high, strict=True))


def _top(bits: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return _positions(top_edges(bits)), _positions(top_centres(bits))


def _positions(values: NDArray[Any]) -> NDArray[np.int32]:
    limited = np.clip(np.asarray(values, np.float64), -POSITION_LIMIT, POSITION_LIMIT)
    return np.rint(np.ldexp(limited, POSITION_BITS)).astype(np.int32)


def _logit(masses: NDArray[np.float32]) -> NDArray[np.float32]:
    odds: NDArray[np.float32] = masses / (np.float32(1) - masses)
    return np.log(odds)

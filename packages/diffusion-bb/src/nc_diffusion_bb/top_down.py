"""The order of BB-ANS for a diffusion: all latents from the top down, then everything is pushed.

x_T is drawn under q(x_T | x_0), then x_s under q(x_s | x_s+1, x_0) down to x_1, before anything is
pushed; so a first image borrows all bits of all latents. Each latent is cut into 1024 bins of
equal mass under its own prior p(x_s | x_s+1), under which a symbol then is uniform.

References: James Townsend, Tom Bird, David Barber, "Practical Lossless Compression with Latent
Variables using Bits Back Coding", arXiv 1901.04866; Alex Nichol, Prafulla Dhariwal, "Improved
Denoising Diffusion Probabilistic Models", arXiv 2102.09672.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message, tables
from nc_core.ans.bits_back import borrow, push_symbols
from nc_core.ans.distributions import DiscretizedGaussian, EdgeBins, Uniform
from nc_core.ans.distributions.grids import scale_index, scale_value
from nc_core.frame import Frame
from nc_core.protocols import Coder
from nc_diffusion_bb.interleaved import image_values
from nc_diffusion_bb.noised_levels import LATENT_PRECISION, pixels_given
from nc_diffusion_bb.reverse_process import ReverseProcess

__all__ = ["BITS", "DownStep", "TopDownChain", "pop_top_down", "push_top_down"]

BITS = 10
"""Of a latent's symbol."""

_QUANTILE_PRECISION = 28
_WINDOW = 8
_SCALE_BITS = 10
# Deviations of priors are 2 ** (i / 1024 - 14), those of posteriors are over the prior's.
_SCALE_SHIFT = -8
# Bins lie on the line of the standard normal distribution, in units of 1/64.
_UNIT_BITS = 6
_EDGE_FRACTION_BITS = 14


class _Prior(NamedTuple):
    """p(x_s | x_s+1): means and deviations, float64, (B, C, H, W)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def values(self, symbols: NDArray[Any]) -> NDArray[np.float64]:
        """Medians of bins."""
        medians = np.ldexp(_quantiles()[::2].astype(np.float64), -_UNIT_BITS - _EDGE_FRACTION_BITS)
        values: NDArray[np.float64] = medians[symbols.reshape(self.mean.shape)]
        return self.mean + self.deviation * values


class TopDownChain:
    """Distributions of some blocks at once.

    Args:
        process: of the model.
        frame: of the blocks.
        count: how many blocks.
    """

    def __init__(self, process: ReverseProcess, frame: Frame, count: int) -> None:
        self.depth = process.steps
        self._process, self._frame = process, frame
        self._shape = (count, *frame.image)

    def image(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Blocks, a column of pixels, as images -1 ... 1."""
        return image_values(column, self._frame)

    def prior(self, level: int, above: NDArray[np.float64] | None) -> _Prior:
        """p(x_level | x_level+1 = above), and of the highest level the standard normal."""
        if above is None:
            return _Prior(np.zeros(self._shape), np.ones(self._shape))
        mean, log2_deviation = self._process.moments(level, above)
        index = np.rint((log2_deviation - (_SCALE_SHIFT - 6)) * (1 << _SCALE_BITS))
        scales = np.clip(index, 0, (16 << _SCALE_BITS) - 1).astype(np.int64)
        deviation = scale_value(scales, _SCALE_SHIFT, _SCALE_BITS)
        return _Prior(mean, np.broadcast_to(deviation, mean.shape))

    def posterior(
        self,
        level: int,
        above: NDArray[np.float64] | None,
        image: NDArray[np.float64],
        prior: _Prior,
    ) -> DiscretizedGaussian:
        """q(x_level | x_level+1 = above, x_0 = image), as a column of symbols under ``prior``."""
        known = self._process.tables
        if above is None:
            mean = image * known.sqrt_alphas_cumprod[-1]
            deviation = known.sqrt_one_minus_alphas_cumprod[-1]
        else:
            mean = image * known.posterior_mean_coef1[level]
            mean = mean + above * known.posterior_mean_coef2[level]
            deviation = np.sqrt(known.posterior_variance[level])
        unit = prior.deviation / (1 << _UNIT_BITS)
        bins = _bins()
        return DiscretizedGaussian(
            bins.mean_index(((mean - prior.mean) / unit).reshape(-1, 1)),
            scale_index((deviation / unit).reshape(-1, 1), bins.scale_shift, _SCALE_BITS),
            bins,
            precision=LATENT_PRECISION,
            window=_WINDOW,
        )

    def uniform(self) -> Uniform:
        """Symbols of a level under its prior, as a column."""
        return Uniform(1 << BITS, (int(np.prod(self._shape)), 1))

    def pixels(self, lowest: NDArray[np.float64]) -> DiscretizedGaussian:
        """p(x_0 | x_1 = lowest), as a column."""
        mean, deviation = self._process.moments(0, lowest)
        deviation = np.broadcast_to(deviation, mean.shape)
        return pixels_given(self._frame.crop(mean), self._frame.crop(deviation))


class DownStep(NamedTuple):
    """How far the descent has come, for who watches it or goes on from there.

    Attributes:
        symbols: of the levels so far, the highest first.
        value: of the last of them, float64, (B, C, H, W); None at the start.
        bits: net information so far.
        popped: information of this step's pop, in bits.
    """

    symbols: tuple[NDArray[np.int64], ...] = ()
    value: NDArray[np.float64] | None = None
    bits: float = 0.0
    popped: float = 0.0


def push_top_down(
    coder: Coder,
    message: Message,
    chain: TopDownChain,
    data: NDArray[Any],
    *,
    start: DownStep | None = None,
    watch: Callable[[DownStep], object] | None = None,
) -> tuple[float, float]:
    """Push pixels.

    Args:
        coder: of any kind.
        message: changes in place; undefined after an error.
        chain: of the blocks.
        data: pixels, a column.
        start: to go on from, with the message as it was at that step.
        watch: called after every step.

    Returns:
        Net information at the latents that were drawn, in bits, and that of the pixels alone.

    Raises:
        WorkError: the message ran out of words to borrow.
    """
    image = chain.image(data)
    step = DownStep() if start is None else start
    while len(step.symbols) < chain.depth:
        level = chain.depth - len(step.symbols)
        prior = chain.prior(level, step.value)
        drawn, borrowed = borrow(coder, message, chain.posterior(level, step.value, image, prior))
        symbols = (*step.symbols, drawn)
        step = DownStep(symbols, prior.values(drawn), step.bits - borrowed, borrowed)
        if watch is not None:
            watch(step)
    assert step.value is not None
    pixels = push_symbols(coder, message, chain.pixels(step.value), data)
    bits = step.bits + pixels
    for drawn in reversed(step.symbols):
        bits += push_symbols(coder, message, chain.uniform(), drawn)
    return bits, pixels


def pop_top_down(
    coder: Coder,
    message: Message,
    chain: TopDownChain,
    *,
    watch: Callable[[int], object] | None = None,
) -> NDArray[np.int64]:
    """Pop what :func:`push_top_down` pushed; it keeps the priors of all levels in memory.

    Args:
        coder: of any kind.
        message: changes in place; undefined after an error.
        chain: of the blocks.
        watch: called after every level, with the number of those that were popped.

    Returns:
        Pixels, a column.

    Raises:
        CorruptFileError: the stack is empty.
    """
    values: list[NDArray[np.float64] | None] = [None]
    drawn: list[tuple[int, _Prior, NDArray[np.int64]]] = []
    for level in range(chain.depth, 0, -1):
        prior = chain.prior(level, values[-1])
        symbols = coder.pop(message, chain.uniform())
        drawn.append((level, prior, symbols))
        values.append(prior.values(symbols))
        if watch is not None:
            watch(len(drawn))
    lowest = values.pop()
    assert lowest is not None
    data = coder.pop(message, chain.pixels(lowest))
    image = chain.image(data)
    for level, prior, symbols in reversed(drawn):
        coder.push(message, symbols, chain.posterior(level, values.pop(), image, prior))
    return data


@cache
def _bins() -> EdgeBins:
    """Edges of 2 ** BITS bins of equal mass, in units of 1/64 standard deviations."""
    return EdgeBins(_quantiles()[1::2], _EDGE_FRACTION_BITS, scale_shift=0, scale_bits=_SCALE_BITS)


@cache
def _quantiles() -> NDArray[np.int64]:
    """Where the format's normal distribution is (j + 1) / 2 ** (BITS + 1), in 20 fractional bits.

    Entries 0, 2, ... are medians of bins, 1, 3, ... their edges; int64, (2 ** (BITS + 1) - 1,).
    """
    nodes = tables.curve("normal", _QUANTILE_PRECISION, 0).nodes
    shift = _QUANTILE_PRECISION + 8 - (BITS + 1)
    targets = np.arange(1, 2 << BITS) << shift
    cell = np.searchsorted(nodes, targets, side="right") - 1
    inside = ((targets - nodes[cell]) << 14) // (nodes[cell + 1] - nodes[cell])
    quantiles: NDArray[np.int64] = (cell << 14) + inside - (tables.ARGUMENT_LIMIT << 4)
    return quantiles

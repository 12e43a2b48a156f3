"""Grids on which noised images are coded, so that bins do not depend on what they are given.

Level s = 1 ... T is x_s, the image after s steps. Under q it is drawn with deviation
sqrt(beta), given x_s-1; under p it is coded with a deviation between two bounds, given x_s+1. Its
bins have equal width, a fraction of the smaller of these deviations; they reach to six standard
deviations of its marginal distribution, and the outermost are open.

What a bin stands for is its centre. A value rounded to bins of width w has w^2 / 12 more variance
than before; deviations are made smaller by that (Sheppard's correction), so that what the network
sees has the noise that it was trained with.

Reference: W. F. Sheppard, "On the calculation of the most probable values of frequency-constants",
Proceedings of the London Mathematical Society 29, 1898.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions import AffineBins, DiscretizedGaussian, PixelBins
from nc_core.ans.distributions.grids import scale_index, scale_value
from nc_diffusion_bb.diffusion_tables import DiffusionTables
from nc_diffusion_bb.exact_log2 import log2

__all__ = ["LATENT_PRECISION", "NoisedLevels", "pixels_given"]

# The floor of one count under every bin costs less the more bits there are, and what a head of 31
# bits loses to a frequency of many bits costs more: with these, both cost about as much.
LATENT_PRECISION = 27
_PIXEL_PRECISION = 24
# A draw from the floor of one count costs twenty bits under the prior: posteriors have none, and
# end where their mass is below one count.
_WINDOW = 8
_REACH = 6.0
_SCALE_BITS = 10
_FRACTION_BITS = 8
_SCALES = 16 << _SCALE_BITS
_GREY_LEVEL = 2 / 255
_MOST_BINS = 1 << 16
# The grid of scales ends at 2 ** 10 bins.
_WIDEST = 1000.0


class NoisedLevels:
    """Bins and distributions of the levels of a chain.

    Args:
        tables: of the chain.
        bins_per_deviation: how many bins the smaller of a level's two deviations spans.

    Raises:
        ValueError: more bins than a distribution can have.
    """

    def __init__(self, tables: DiffusionTables, bins_per_deviation: float) -> None:
        self._tables = tables
        drawn = np.sqrt(tables.betas)
        coded = np.append(np.sqrt(tables.posterior_variance[1:]), 1.0)
        self._widths = np.minimum(drawn, coded) / bins_per_deviation
        marginal = tables.sqrt_alphas_cumprod + _REACH * tables.sqrt_one_minus_alphas_cumprod
        self._halves = np.ceil(marginal / self._widths).astype(np.int64)
        self._shares = np.sqrt(1 - tables.betas)
        widest = np.maximum(np.append(drawn[1:], 1.0), drawn) / self._widths
        if 2 * self._halves.max() > _MOST_BINS or widest.max() > _WIDEST:
            raise ValueError("a chain of so many steps takes fewer bins-per-deviation")

    def values(self, level: int, symbols: NDArray[Any]) -> NDArray[np.float64]:
        """Centres of bins."""
        half, width = self._halves[level - 1], self._widths[level - 1]
        centres: NDArray[np.float64] = (symbols - half + 0.5) * width
        return centres

    def drawn(self, level: int, below: NDArray[np.float64]) -> DiscretizedGaussian:
        """q(x_level | x_level-1 = below), which symbols are only drawn from; a column."""
        index = level - 1
        width = self._widths[index]
        variance = self._tables.betas[index] - width * width / 12
        scale = scale_index(np.array([[np.sqrt(variance) / width]]), 0, _SCALE_BITS)
        means = below * self._shares[index]
        return self._distribution(level, means, scale, window=_WINDOW)

    def coded(
        self, level: int, mean: NDArray[np.float64], log2_deviation: NDArray[np.float64]
    ) -> DiscretizedGaussian:
        """p(x_level | x_level+1) of given moments, as a column."""
        width = self._widths[level - 1]
        scales = _corrected_scales()[_scale_of(log2_deviation, width)]
        return self._distribution(level, mean, np.broadcast_to(scales, mean.shape))

    def prior(self, count: int) -> DiscretizedGaussian:
        """p(x_T), standard normal, for ``count`` samples; a column."""
        zeros = np.zeros(count)
        return self.coded(self._tables.steps, zeros, zeros)

    def _distribution(
        self,
        level: int,
        means: NDArray[np.float64],
        scales: NDArray[np.int16],
        window: int | None = None,
    ) -> DiscretizedGaussian:
        half = int(self._halves[level - 1])
        bins = AffineBins(
            -half << _FRACTION_BITS,
            1 << _FRACTION_BITS,
            2 * half,
            _FRACTION_BITS,
            scale_bits=_SCALE_BITS,
        )
        return DiscretizedGaussian(
            bins.mean_index(means.reshape(-1, 1) / self._widths[level - 1]),
            scales.reshape(-1, 1),
            bins,
            precision=LATENT_PRECISION,
            window=window,
        )


def pixels_given(
    mean: NDArray[np.float64], log2_deviation: NDArray[np.float64]
) -> DiscretizedGaussian:
    """p(x_0 | x_1), whose bins are the grey levels, as a column.

    Args:
        mean: (B, C, H, W), -1 ... 1 for grey levels 0 ... 255.
        log2_deviation: in the same unit.
    """
    bins = PixelBins(256, _FRACTION_BITS, scale_bits=_SCALE_BITS)
    means = bins.mean_index((mean.reshape(-1, 1) + 1.0) * 127.5)
    scales = np.broadcast_to(_scale_of(log2_deviation, _GREY_LEVEL), mean.shape)
    return DiscretizedGaussian(means, scales.reshape(-1, 1), bins, precision=_PIXEL_PRECISION)


def _scale_of(log2_deviation: NDArray[np.float64], unit: float) -> NDArray[np.int16]:
    """Index of a scale on the grid 2 ** (i / 1024 - 6), in units of ``unit``."""
    offset = 6.0 - log2(float(unit))
    index = np.rint((log2_deviation + offset) * (1 << _SCALE_BITS))
    return np.clip(index, 0, _SCALES - 1).astype(np.int16)


@cache
def _corrected_scales() -> NDArray[np.int16]:
    """For every scale, in bins, the one that is left when rounding adds its variance."""
    scales = scale_value(np.arange(_SCALES), 0, _SCALE_BITS)
    variances = np.maximum(scales * scales - 1 / 12, scales[0] * scales[0])
    return scale_index(np.sqrt(variances), 0, _SCALE_BITS)

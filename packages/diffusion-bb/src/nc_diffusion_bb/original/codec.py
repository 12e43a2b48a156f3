"""One batch of images on a message, in the original's order.

Level s = 1 .. T is x_s, the image x_0 after s steps of noise. To push images, all latents are
popped first, the noisiest first; then the pixels are pushed, then the latents:

    for s = T .. 1:  pop x_s under q(x_s | x_{s+1}, x_0), in bins under p(x_s | x_{s+1})
    push x_0 under p(x_0 | x_1)
    for s = 1 .. T:  push x_s, uniform in its bins

with q(x_T | x_0) and the standard normal distribution at s = T.

Popping goes the other way. Each direction asks the network once per level. Batches follow one
another on one message and come back the last one first.

Reference: James Townsend, Tom Bird, David Barber, "Practical Lossless Compression with Latent
Variables using Bits Back Coding", arXiv 1901.04866; Alex Nichol, Prafulla Dhariwal, "Improved
Denoising Diffusion Probabilistic Models", arXiv 2102.09672.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message
from nc_core.ans.rans import Rans
from nc_core.errors import CorruptFileError, WorkError
from nc_diffusion_bb.original.bins import EqualMassBins, Normal
from nc_diffusion_bb.original.pixels import PixelCounts
from nc_diffusion_bb.original.rates import Growth, Meter
from nc_diffusion_bb.original.settings import CodecSettings

__all__ = ["Moments", "OriginalCodec"]

Array = NDArray[np.float32]


class Moments(Protocol):
    """Means and standard deviations of a chain of latents, float32 (B, C, H, W) each.

    Both sides must get the same last digits from equal arguments.

    Attributes:
        levels: T, the number of latents.
    """

    levels: int

    def prior(self, level: int, above: Array) -> tuple[Array, Array]:
        """p(x_level | x_{level+1} = above), 0 <= level < T."""
        ...

    def posterior(self, level: int, data: Array, above: Array | None) -> tuple[Array, Array]:
        """q(x_level | x_{level+1} = above, x_0 = data); ``above`` is None for level T."""
        ...


class OriginalCodec:
    """Codes batches of images.

    Args:
        moments: the chain.
        settings: precisions and ranges.
    """

    def __init__(self, moments: Moments, settings: CodecSettings) -> None:
        self.levels = moments.levels
        self.settings = settings
        self.moments = moments
        self._bins = EqualMassBins(settings.prior_bits, settings.latent_bits)
        self._pixels = PixelCounts(
            settings.data_bits, settings.data_min, settings.data_max, settings.pixel_bits
        )
        self._coder = Rans()

    def push(self, message: Message, images: NDArray[np.uint8], *, track: bool = False) -> Growth:
        """Push a batch.

        Args:
            message: of at least as many lanes as the batch has dimensions; undefined after an
                error.
            images: uint8, (B, C, H, W).
            track: measure every push and pop.

        Raises:
            WorkError: the message ran out of initial words, or the network gives no numbers.
        """
        meter = Meter(message, self.levels, track=track)
        flat = images.ravel().astype(np.int64)
        if int(flat.max()) >> self.settings.data_bits:
            raise WorkError(f"a pixel of {flat.max()} has more than {self.settings.data_bits} bits")
        data = self._pixels.values(images).astype(np.float32)
        indices = np.empty((self.levels, images.size), np.int32)
        above: Array | None = None
        for level in range(self.levels, 0, -1):
            prior = self._prior(level, above, images.size)
            posterior = self._posterior(level, data, above)
            found = self._pop_latent(message, prior, posterior)
            indices[level - 1] = found
            above = self._value(found, prior, images.shape)
            meter.popped(level)
        meter.drawn()
        starts, freqs = self._pixels.intervals(flat, self._likelihood(above))
        self._push(message, starts, freqs, self.settings.pixel_bits)
        meter.pushed(0)
        for level in range(1, self.levels + 1):
            self._push_index(message, indices[level - 1])
            meter.pushed(level)
        return meter.growth()

    def pop(self, message: Message, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Pop the batch that was pushed last.

        Keeps 12 bytes per level and dimension, for what is pushed after the pixels.

        Args:
            message: as ``push`` left it; undefined after an error.
            shape: (B, C, H, W), of the batch.

        Returns:
            uint8, of that shape.

        Raises:
            CorruptFileError: the message holds no such batch: other settings, or other last
                digits of the network.
            WorkError: the network gives no numbers.
        """
        lanes = math.prod(shape)
        priors: list[Normal] = []
        indices: list[NDArray[np.int32]] = []
        above: Array | None = None
        for level in range(self.levels, 0, -1):
            priors.append(self._prior(level, above, lanes))
            indices.append(self._pop_index(message, lanes))
            above = self._value(indices[-1], priors[-1], shape)
        counts = self._coder.counts(message, self.settings.pixel_bits, lanes)
        pixels, starts, freqs = self._pixels.locate(counts, self._likelihood(above))
        self._coder.pop_intervals(message, starts[None], freqs[None], self.settings.pixel_bits)
        pixels = pixels.reshape(shape)
        data = self._pixels.values(pixels).astype(np.float32)
        for level in range(1, self.levels + 1):
            index, prior = indices.pop(), priors.pop()
            above = self._value(indices[-1], priors[-1], shape) if indices else None
            posterior = self._posterior(level, data, above)
            starts, freqs = self._bins.intervals(index, prior, posterior)
            self._push(message, starts, freqs, self.settings.latent_bits)
        return pixels.astype(np.uint8)

    def _prior(self, level: int, above: Array | None, lanes: int) -> Normal:
        if above is None:
            return Normal(np.zeros(lanes, np.float32), np.ones(lanes, np.float32))
        return _normal(level, *self.moments.prior(level, above))

    def _posterior(self, level: int, data: Array, above: Array | None) -> Normal:
        return _normal(level, *self.moments.posterior(level, data, above))

    def _likelihood(self, above: Array | None) -> Normal:
        if above is None:
            raise ValueError("a chain has at least one latent")
        mean, deviation = self.moments.prior(0, above)
        return _normal(0, mean, np.maximum(deviation, self.settings.deviation_floor))

    def _value(self, index: NDArray[Any], prior: Normal, shape: tuple[int, ...]) -> Array:
        return self._bins.medians(index, prior).astype(np.float32).reshape(shape)

    def _pop_latent(self, message: Message, prior: Normal, posterior: Normal) -> NDArray[np.int64]:
        bits = self.settings.latent_bits
        counts = self._coder.counts(message, bits, len(prior.mean))
        index = self._bins.locate(counts, prior, posterior)
        starts, freqs = self._bins.intervals(index, prior, posterior)
        try:
            self._coder.pop_intervals(message, starts[None], freqs[None], bits)
        except CorruptFileError as error:
            raise WorkError(
                f"bits-back coding found no more initial words to borrow: {error.message}",
                "start with more --initial-words",
            ) from error
        return index

    def _pop_index(self, message: Message, lanes: int) -> NDArray[np.int32]:
        bits = self.settings.prior_bits
        starts = self._coder.counts(message, bits, lanes)
        self._coder.pop_intervals(message, starts[None], np.ones_like(starts)[None], bits)
        return starts.astype(np.int32)

    def _push_index(self, message: Message, index: NDArray[Any]) -> None:
        starts = index.astype(np.uint64)
        self._push(message, starts, np.ones_like(starts), self.settings.prior_bits)

    def _push(
        self, message: Message, starts: NDArray[np.uint64], freqs: NDArray[np.uint64], bits: int
    ) -> None:
        if not freqs.all():
            raise CorruptFileError("the message does not hold what this network would have pushed")
        self._coder.push_intervals(message, starts[None], freqs[None], bits)


def _normal(level: int, mean: Array, deviation: Array) -> Normal:
    normal = Normal(mean.ravel(), deviation.ravel())
    usable = np.isfinite(normal.mean) & np.isfinite(normal.deviation) & (normal.deviation > 0)
    if not usable.all():
        raise WorkError(
            f"level {level}: {np.count_nonzero(~usable):,} of {usable.size:,} means or deviations "
            "are infinite, not positive or not numbers",
            "a network that is not trained enough, or not for this chain, cannot code",
        )
    return normal

"""The variational bound of images, term by term, each with one fresh draw of the noise.

For every step of the chain, from the noisiest down, an image is noised as far as that step and
the network says how the step is undone: the divergence from the true reverse step is the term, in
bits per dimension; at the first step it is the code length of the pixels themselves. What remains
is the prior's term. One pass of the network per image and step.

Noise is a function of (seed, draw, image, step) alone, so results depend neither on the size of
batches nor on who evaluates which image.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_core.rates import Measurement
from nc_diffusion_bb.data import scaled
from nc_diffusion_bb.diffusion import GaussianDiffusion, Network
from nc_diffusion_bb.unet import UNet

__all__ = [
    "TERMS",
    "NoiseStream",
    "Spread",
    "StepNoise",
    "Terms",
    "bound_measurements",
    "fill_terms",
    "placed",
]

TERMS = ("vb", "mse", "xstart_mse")
"""What is known of every step: the bound's term in bits per dimension, and the mean squared errors
of the noise and of the image that the network predicts."""

_WIDE = 128  # channels from which channels-last convolutions are the faster ones on a CPU


StepNoise = Callable[[int], NDArray[np.float32]]
"""From a step to the standard normal noise of a batch there, float32, (B, C, H, W)."""


class NoiseStream:
    """Noise that depends on seed, draw, image and step, and on nothing else.

    Args:
        seed: 0 <= seed < 2 ** 64.
        draw: number of the repetition, 0 <= draw.
        indices: of the images in the dataset.
        shape: (C, H, W) of an image.

    Example:
        >>> NoiseStream(0, 0, [7], (1, 2, 2))(step=3).shape
        (1, 1, 2, 2)
    """

    def __init__(
        self, seed: int, draw: int, indices: Sequence[int], shape: tuple[int, ...]
    ) -> None:
        self._seed, self._draw, self._indices, self._shape = seed, draw, indices, shape
        self._bits = np.random.Philox(key=0)
        self._fresh: Any = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def __call__(self, step: int) -> NDArray[np.float32]:
        """Noise of all images at a step, float32, (B, C, H, W)."""
        noise = np.empty((len(self._indices), *self._shape), np.float32)
        # Not 0 in the second place, where the streams of training have it.
        counter = np.array([0, 1 + self._draw, 0, step], np.uint64)
        for row, index in zip(noise, self._indices, strict=True):
            # Setting the state takes a fifth of the time of making a generator.
            key = np.array([self._seed, index], np.uint64)
            self._bits.state = self._fresh | {"state": {"counter": counter, "key": key}}
            self._generator.standard_normal(out=row, dtype=np.float32)
        return noise


@dataclass
class Terms:
    """Terms of a batch, as far as they are evaluated.

    Args:
        values: float32, (3, B, T + 1): in the order of ``TERMS``, the index of the last axis being
            the step t; index T of ``vb`` is the prior's term, that of the others is not used.
        left: steps that are not evaluated yet; the next one is t = left - 1.
    """

    values: Tensor
    left: int

    @classmethod
    def empty(cls, batch: int, steps: int, device: torch.device | str = "cpu") -> Terms:
        """Nothing evaluated yet, for a batch of that size and a chain of that length."""
        return cls(torch.zeros(len(TERMS), batch, steps + 1, device=device), steps)

    def bits(self) -> NDArray[np.float32]:
        """The bound's terms in bits per dimension, (B, T + 1)."""
        found: NDArray[np.float32] = self.values[0].cpu().numpy()
        return found

    def totals(self) -> NDArray[np.float64]:
        """The bound of every image in bits per dimension, (B,)."""
        found: NDArray[np.float64] = self.bits().sum(axis=1, dtype=np.float64)
        return found

    def by_name(self) -> dict[str, NDArray[np.float32]]:
        """``vb`` (B, T + 1), ``mse`` and ``xstart_mse`` (B, T)."""
        values = self.values.cpu().numpy()
        columns = dict(zip(TERMS, values, strict=True))
        return {name: v if name == "vb" else v[:, :-1] for name, v in columns.items()}


def fill_terms(
    terms: Terms,
    network: Network,
    diffusion: GaussianDiffusion,
    pixels: NDArray[np.uint8],
    noise: StepNoise,
    *,
    clip: bool = True,
    classes: NDArray[np.int64] | None = None,
    after_step: Callable[[], object] | None = None,
) -> None:
    """Evaluate the terms that are left, from the noisiest step down, in place.

    Args:
        terms: of this batch; its device is the one to compute on.
        network: in evaluation mode, on that device.
        diffusion: the chain.
        pixels: uint8, (B, C, H, W).
        noise: of every step.
        clip: predicted images are clipped to [-1, 1], without which a bound means little.
        classes: of the images, (B,), where the network wants them.
        after_step: called when a step is in ``terms``; what it raises ends the evaluation there.
    """
    device = terms.values.device
    with torch.inference_mode():
        start = torch.from_numpy(scaled(pixels)).to(device)
        labels = None if classes is None else torch.from_numpy(classes).to(device)
        terms.values[0, :, -1] = diffusion.prior_term(start)
        while terms.left:
            step = terms.left - 1
            drawn = _on_device(noise(step), device)
            found = _terms_of_step(network, diffusion, start, step, drawn, clip, labels)
            terms.values[:, :, step] = torch.stack(found)
            terms.left = step
            if after_step is not None:
                after_step()


def placed(network: UNet, device: torch.device) -> UNet:
    """A network in evaluation mode on a device, in the memory format that is faster there.

    The format is a function of network and device, since rounding depends on it.
    """
    wide = network.architecture.width >= _WIDE or device.type == "cuda"
    layout = torch.channels_last if wide else torch.contiguous_format
    # The stubs of torch lack this form.
    moved: UNet = network.eval().to(device, memory_format=layout)  # type: ignore[call-overload]
    return moved


def _terms_of_step(
    network: Network,
    diffusion: GaussianDiffusion,
    start: Tensor,
    step: int,
    noise: Tensor,
    clip: bool,
    labels: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """``TERMS`` of one step, (B,) each."""
    t = torch.full((1,), step, device=start.device)
    noised = diffusion.q_sample(start, t, noise)
    outputs = network(noised, diffusion.network_time(t), labels)
    bits, predicted = diffusion.bound_term(outputs, start, noised, t, clip_denoised=clip)
    seen = diffusion.predict_noise(noised, t, predicted)
    return bits, _mean_square(seen - noise), _mean_square(predicted - start)


def _mean_square(difference: Tensor) -> Tensor:
    return difference.square().flatten(1).mean(dim=1)


def _on_device(noise: NDArray[np.float32], device: torch.device) -> Tensor:
    """As a tensor, (B, C, H, W); the host does not wait for a GPU."""
    tensor = torch.from_numpy(noise)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True)
class Spread:
    """What is kept of numbers of many images, per step.

    Args:
        count: images.
        mean, low, high: float64, (T,).
        squares: sums of squared deviations from the mean, float64, (T,).
    """

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Spread:
        """Of (B, T) numbers, B at least 1."""
        wide = values.astype(np.float64)
        mean = wide.mean(axis=0)
        squares = ((wide - mean) ** 2).sum(axis=0)
        return cls(len(wide), mean, squares, wide.min(axis=0), wide.max(axis=0))

    def merged(self, other: Spread) -> Spread:
        """Of the images of both."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return Spread(
            count,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart**2 * (self.count * other.count / count),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    def to_arrays(self) -> Mapping[str, NDArray[np.float64]]:
        """``mean``, ``stdd`` (of all images, not an estimate beyond them), ``min``, ``max``."""
        deviation = np.sqrt(self.squares / self.count)
        return {"mean": self.mean, "stdd": deviation, "min": self.low, "max": self.high}


def bound_measurements(totals: NDArray[np.float64], bits: Spread) -> list[Measurement]:
    """The numbers of a bound, in bits per dimension.

    Args:
        totals: bound of every image, (draws, n).
        bits: of the bound's terms, per step.

    Returns:
        ``total_bpd``, with its standard error over images and, of several draws, the deviation of
        their means (``total_bpd_std_over_draws``); its parts ``pixels_bpd`` (the first step),
        ``latents_bpd`` (the others) and ``prior_bpd``.
    """
    draws, count = totals.shape
    of_images = totals.mean(axis=0)
    error = float(of_images.std(ddof=1)) / math.sqrt(count) if count > 1 else None
    values = {"total_bpd": float(of_images.mean())}
    if draws > 1:
        values["total_bpd_std_over_draws"] = float(totals.mean(axis=1).std())
    values["pixels_bpd"] = float(bits.mean[0])
    values["latents_bpd"] = float(bits.mean[1:-1].sum())
    values["prior_bpd"] = float(bits.mean[-1])
    return [
        Measurement(
            name=name,
            value=value,
            unit="bit/dim",
            standard_error=error if name == "total_bpd" else None,
            n=count,
        )
        for name, value in values.items()
    ]

"""The networks whose output is ``log u(x)``: multilayer perceptrons and a strided CNN."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_rd_bounds.activations import ELEMENTWISE
from nc_rd_bounds.networks import Mlp

__all__ = ["ImageMultiplier", "Multiplier", "VectorMultiplier", "unit_of"]

_STRIDE = 2


class VectorMultiplier(nn.Module):
    """``log u`` of vectors: an MLP of one output.

    Args:
        dims: numbers per vector.
        units: widths of the hidden layers.
        activation: after each of them.
        standardise: subtract a mean and divide by a deviation per dimension first.
    """

    location: Tensor
    scale: Tensor

    def __init__(
        self,
        dims: int,
        units: Sequence[int],
        activation: str = "selu",
        *,
        standardise: bool = False,
    ) -> None:
        super().__init__()
        self.mlp = Mlp(dims, units, 1, activation)
        self.standardises = standardise
        if standardise:
            self.register_buffer("location", torch.zeros(dims))
            self.register_buffer("scale", torch.ones(dims))

    def forward(self, x: Tensor) -> Tensor:
        """``log u``, shape (k,), of vectors (k, n)."""
        if self.standardises:
            x = (x - self.location) / self.scale
        output: Tensor = self.mlp(x)
        return output.squeeze(-1)

    @torch.no_grad()
    def measure(self, x: Tensor) -> None:
        """Take mean and deviation per dimension from vectors (B, n)."""
        self.location.copy_(x.mean(dim=0))
        deviation = x.std(dim=0, correction=0)
        self.scale.copy_(torch.where(deviation > 0, deviation, 1.0))


class ImageMultiplier(nn.Module):
    """``log u`` of images: convolutions of stride 2, then an MLP.

    Sides are halved, rounding up, with zeros around as TensorFlow's ``same`` padding has them.

    Args:
        image: height, width and channels.
        units: channels of the convolutions, then widths of the hidden layers of the MLP.
        kernels: sides of the convolutions' kernels.
        activation: after each convolution and hidden layer.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        units: Sequence[int],
        kernels: Sequence[int],
        activation: str = "selu",
    ) -> None:
        super().__init__()
        height, width, channels = image
        self._image = tuple(image)
        self._activation = ELEMENTWISE[activation]
        self.convolutions = nn.ModuleList()
        for features, kernel in zip(units, kernels, strict=False):
            convolution = nn.Conv2d(channels, features, kernel, _STRIDE)
            nn.init.xavier_uniform_(convolution.weight)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
            self.convolutions.append(convolution)
            height, width, channels = _halved(height), _halved(width), features
        self.mlp = Mlp(height * width * channels, units[len(kernels) :], 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        """``log u``, shape (k,), of images (k, H * W * C), whose channels are the last axis."""
        h = x.reshape(-1, *self._image).permute(0, 3, 1, 2)
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv2d)
            h = self._activation(convolution(_padded(h, convolution.kernel_size)))
        output: Tensor = self.mlp(h.permute(0, 2, 3, 1).flatten(1))
        return output.squeeze(-1)


Multiplier = VectorMultiplier | ImageMultiplier
"""``log u`` of flat samples (k, n), as (k,)."""


def unit_of(network: Multiplier) -> float:
    """The unit that climbs step in: the mean deviation of data that the network standardises."""
    if isinstance(network, VectorMultiplier) and network.standardises:
        return float(network.scale.mean())
    return 1.0


def _halved(side: int) -> int:
    return math.ceil(side / _STRIDE)


def _padded(h: Tensor, kernel: tuple[int, ...]) -> Tensor:
    """Zeros around images, the smaller half of an odd number before them."""
    rows, columns = (
        max((_halved(side) - 1) * _STRIDE + size - side, 0)
        for side, size in zip(h.shape[2:], kernel, strict=True)
    )
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return functional.pad(h, sides)

"""Layers of the networks, all of which integers can take over exactly."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Residual", "ZeroSumConv2d", "activation", "replicate"]


def activation() -> nn.LeakyReLU:
    """LeakyReLU with slope 1/8, which is exact in integers."""
    return nn.LeakyReLU(0.125)


def replicate(x: Tensor, margin: int) -> Tensor:
    """``x`` with ``margin`` copies of its border pixels on every side."""
    return functional.pad(x, (margin,) * 4, mode="replicate")


class ZeroSumConv2d(nn.Conv2d):
    """Convolution without padding that does not see a constant added to a colour plane.

    Input channels are phases times three colours; the kernels' mean over phases and taps is
    removed for each colour. What is left are differences of pixels, whose size does not depend on
    the brightness.
    """

    def effective_weight(self) -> Tensor:
        """The kernels, (outputs, inputs, k, k)."""
        grouped = self.weight.view(self.out_channels, -1, 3, *self.kernel_size)
        centred = grouped - grouped.mean((1, 3, 4), keepdim=True)
        return centred.reshape(self.weight.shape)

    def effective_bias(self) -> Tensor | None:
        """The bias, (outputs,)."""
        return self.bias

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H - k + 1, W - k + 1)."""
        return functional.conv2d(input, self.effective_weight(), self.bias)


class Residual(nn.Module):
    """h + convolution(activation(convolution(activation(h)))); starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.activation = activation()
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        for parameter in (self.first.bias, self.second.weight, self.second.bias):
            assert parameter is not None
            nn.init.zeros_(parameter)

    def forward(self, h: Tensor) -> Tensor:
        """The same shape, (B, width, H, W)."""
        inner: Tensor = self.second(self.activation(self.first(self.activation(h))))
        return h + inner

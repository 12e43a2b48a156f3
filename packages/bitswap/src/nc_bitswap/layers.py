"""Layers of the Bit-Swap model: weight-normalised convolutions, ResNet blocks, squeezing.

Names of modules and parameters are those of the original checkpoints (``v``, ``gain``, ``b``;
``res{width}layer{n}``), which therefore load as they are.

Reference: Friso Kingma, Pieter Abbeel, Jonathan Ho, "Bit-Swap: Recursive Bits-Back Coding for
Lossless Compression with Hierarchical Latent Variables", arXiv 1905.06845; Tim Salimans, Diederik
Kingma, "Weight Normalization", arXiv 1602.07868.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "ResNetBlock",
    "ResNetLayer",
    "Squeeze",
    "Unsqueeze",
    "WeightNormConv",
    "data_dependent_init",
]

_INITIAL_SPREAD = 0.05
_TINY = 1e-10
_SMALLEST_LOG_GAIN = -10.0


class WeightNormConv(nn.Module):
    """A convolution whose kernels have a learned length, with stride 1 and zero padding.

    The kernel of output channel o is v[o] * g[o] / (||v[o]|| + 1e-10), with g = softplus(gain) when
    the layer keeps the logarithm of its gain, and g = gain otherwise.

    Args:
        inputs, outputs: channels.
        kernel_size: odd; padding keeps height and width.
        init_scale: standard deviation that the data-dependent initialisation aims at.
        log_gain: which of the two forms of gain.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        *,
        init_scale: float = 1.0,
        log_gain: bool = True,
    ) -> None:
        super().__init__()
        shape = (outputs, inputs, kernel_size, kernel_size)
        self.v = nn.Parameter(nn.init.normal_(torch.empty(shape), std=_INITIAL_SPREAD))
        self.gain = nn.Parameter(torch.zeros(outputs) if log_gain else torch.ones(outputs))
        self.b = nn.Parameter(torch.zeros(outputs))
        self.padding = (kernel_size - 1) // 2
        self.init_scale = init_scale
        self.log_gain = log_gain

    def effective_weight(self) -> Tensor:
        """The kernels, (outputs, inputs, k, k)."""
        gain = functional.softplus(self.gain) if self.log_gain else self.gain
        norms = self.v.flatten(1).norm(dim=1)
        weight: Tensor = self.v * (gain / (norms + _TINY))[:, None, None, None]
        return weight

    def effective_bias(self) -> Tensor:
        """The bias, (outputs,)."""
        return self.b

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        weight, bias = self.effective_weight(), self.effective_bias()
        return functional.conv2d(inputs, weight, bias, padding=self.padding)

    @torch.no_grad()
    def initialize(self, outputs: Tensor) -> None:
        """Set gain and bias from what the layer gives for a batch.

        With m and s = init_scale / std of each channel, the gain becomes log s (or s) and the bias
        -m s. The forward pass then uses softplus(log s) = log(1 + s), not s, so the outputs come
        out at about 0.8 of the intended spread and with means that are not 0: the original does
        so, and published weights were trained from there.

        Args:
            outputs: of this layer as it was, (B, outputs, H, W).
        """
        channels = outputs.transpose(0, 1).flatten(1)
        scale = self.init_scale / (channels.std(dim=1) + _TINY)
        if self.log_gain:
            self.gain.copy_(torch.log(scale).clamp(min=_SMALLEST_LOG_GAIN))
        else:
            self.gain.copy_(scale)
        self.b.sub_(channels.mean(dim=1) * scale)


class ResNetLayer(nn.Module):
    """x + conv2(dropout(ELU(conv1(ELU(x))))), from ``width`` to ``width`` channels.

    The second convolution starts with a gain of 0, so the layer starts as the identity.
    """

    def __init__(self, width: int, kernel_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.elu = nn.ELU()
        self.conv1 = WeightNormConv(width, width, kernel_size)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = WeightNormConv(width, width, kernel_size, init_scale=0.0, log_gain=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        hidden = self.dropout(self.elu(self.conv1(self.elu(inputs))))
        outputs: Tensor = inputs + self.conv2(hidden)
        return outputs


class ResNetBlock(nn.Sequential):
    """ResNet layers in a row, named as in the original checkpoints."""

    def __init__(self, layers: int, width: int, kernel_size: int, dropout: float = 0.0) -> None:
        super().__init__(
            OrderedDict(
                (f"res{width}layer{number}", ResNetLayer(width, kernel_size, dropout))
                for number in range(1, layers + 1)
            )
        )


class Squeeze(nn.Module):
    """(B, C, H, W) to (B, 4C, H/2, W/2); channel 4c + 2i + j has row offset i, column offset j."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Move every 2x2 square into channels."""
        return functional.pixel_unshuffle(inputs, 2)


class Unsqueeze(nn.Module):
    """The inverse of :class:`Squeeze`."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Move channels back into 2x2 squares."""
        return functional.pixel_shuffle(inputs, 2)


@contextmanager
def data_dependent_init(model: nn.Module) -> Iterator[None]:
    """While this lasts, every forward pass initialises the convolutions that it meets, in order.

    Each is evaluated, initialised from its outputs, and evaluated again, so that the layers
    behind it see what they will see in training. Dropout is off and no gradient is taken.
    """

    def initialize(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        assert isinstance(module, WeightNormConv)
        module.initialize(output)
        return module.forward(*inputs)

    convolutions = [module for module in model.modules() if isinstance(module, WeightNormConv)]
    hooks = [module.register_forward_hook(initialize) for module in convolutions]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()

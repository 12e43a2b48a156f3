"""Coding of the base: z_2 -> z_1 -> three colours, in Bit-Swap order.

The colours of the base depend on each other, so they are pushed one by one; what lies above them
is a chain of core's bits-back coding, whose data are z_1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_bitswap.photo.colours import MixtureParameters
from nc_bitswap.photo.distributions import (
    latent_logistic,
    latent_values,
    pixel_mixture,
    pixel_symbols,
    pixel_values,
    standard_logistic,
)
from nc_bitswap.photo.intervals import Intervals
from nc_bitswap.photo.lattice import padded
from nc_bitswap.photo.model import BASE_MULTIPLE, Base
from nc_core.ans import Message
from nc_core.ans.bits_back import pop_bit_swap, push_bit_swap
from nc_core.errors import CorruptFileError, WorkError
from nc_core.protocols import Coder, Distribution

__all__ = ["pop_base", "push_base"]

# A posterior is only drawn from. Bins further away are cut off, before draws from their one
# count cost twenty bits each under the prior; the mass outside is 2 exp(-16).
_WINDOW = 16


def push_base(coder: Coder, message: Message, base: Base, planes: Tensor) -> float:
    """Push the planes of a base; returns their net information in bits.

    Args:
        coder: any.
        message: changes in place.
        base: lowered.
        planes: (B, 3, H, W), any sides.

    Raises:
        WorkError: the message has too few words to borrow.
    """
    posterior = _posterior(base, planes)
    try:
        z1 = coder.pop(message, posterior)
    except CorruptFileError as error:
        raise WorkError(
            "bits-back coding ran out of initial words to borrow",
            f"start the message with more than {message.initial_words} initial words",
        ) from error
    bits = -Intervals.of(posterior, z1).bits
    rows, columns = planes.shape[2:]
    pushes: list[Intervals] = []

    def look_up(colour: int, mixture: MixtureParameters) -> Tensor:
        values = planes[:, colour : colour + 1]
        distribution = pixel_mixture(colour, mixture, rows, columns)
        pushes.append(Intervals.of(distribution, pixel_symbols(values, colour)))
        return padded(values, BASE_MULTIPLE)

    chain = _Latents(base, _latent_shape(base, planes.shape))
    base.passes(chain.z1(z1), look_up)
    for intervals in reversed(pushes):
        intervals.push(coder, message)
        bits += intervals.bits
    return bits + push_bit_swap(coder, message, chain, z1)


def pop_base(
    coder: Coder, message: Message, base: Base, shape: tuple[int, int, int, int]
) -> Tensor:
    """Pop the planes of a base, ``shape`` = (B, 3, H, W).

    Raises:
        CorruptFileError: the stack is empty.
        ValueError: latents that no encoder draws.
    """
    count, _, rows, columns = shape
    chain = _Latents(base, _latent_shape(base, shape))
    z1 = pop_bit_swap(coder, message, chain)

    def pop(colour: int, mixture: MixtureParameters) -> Tensor:
        symbols = coder.pop(message, pixel_mixture(colour, mixture, rows, columns))
        values = pixel_values(symbols, colour, (count, 1, rows, columns))
        return padded(values, BASE_MULTIPLE)

    planes = base.passes(chain.z1(z1), pop)[:, :, :rows, :columns]
    coder.push(message, z1, _posterior(base, planes))
    return planes


class _Latents:
    """z_1 as data with z_2 above it; a :class:`nc_core.ans.bits_back.Chain`.

    Args:
        base: lowered.
        shape: of z_1.
    """

    depth = 1

    def __init__(self, base: Base, shape: tuple[int, int, int, int]) -> None:
        count, channels, height, width = shape
        self._base, self._lower = base, shape
        self._upper = (count, channels, height // 2, width // 2)

    def z1(self, symbols: NDArray[Any]) -> Tensor:
        """Values of the symbols of z_1."""
        return torch.from_numpy(latent_values(symbols.reshape(self._lower)))

    def prior(self) -> Distribution:
        """p(z_2)."""
        return standard_logistic(int(np.prod(self._upper)))

    def likelihood(self, level: int, above: NDArray[Any]) -> Distribution:
        """p(z_1 | z_2)."""
        z2 = torch.from_numpy(latent_values(above.reshape(self._upper)))
        return latent_logistic(*self._base.conditional(z2))

    def posterior(self, level: int, below: NDArray[Any]) -> Distribution:
        """q(z_2 | z_1)."""
        return latent_logistic(*self._base.posterior(2, self.z1(below)), _WINDOW)


def _posterior(base: Base, planes: Tensor) -> Distribution:
    return latent_logistic(*base.posterior(1, padded(planes, BASE_MULTIPLE)), _WINDOW)


def _latent_shape(base: Base, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    count, _, height, width = shape
    rows, columns = (-(-side // BASE_MULTIPLE) * 2 for side in (height, width))
    return count, base.latent_channels, rows, columns

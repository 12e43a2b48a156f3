"""The trained model as a lossless model of the engine.

A group of blocks is pushed as lattice 0, 1, ... and then the base, each in the reverse of its
coding order, so that popping goes from coarse to fine. The base is coded in Bit-Swap order: its
posterior finds the words of the finer lattices on the message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import nc_bitswap
from nc_bitswap.photo.base_coding import pop_base, push_base
from nc_bitswap.photo.colours import MixtureParameters
from nc_bitswap.photo.distributions import (
    latent_values,
    pixel_mixture,
    pixel_symbols,
    pixel_values,
)
from nc_bitswap.photo.intervals import Intervals
from nc_bitswap.photo.lattice import (
    complete,
    lattice_shapes,
    padded,
    phase_shape,
    to_planes,
    to_rgb,
)
from nc_bitswap.photo.model import BASE_MULTIPLE, PHASES, PhasePlaneOf, PhotoModel
from nc_core.ans import TABLES_VERSION, Message, Rans
from nc_core.errors import CorruptFileError
from nc_core.fixed_draws import probe_pixels
from nc_core.protocols import Block, Coder

__all__ = ["PhotoCodec"]

_BLOCK_PIXELS = 1 << 20
# Small blocks go through the networks together.
_GROUP_PIXELS = 1 << 16
_LARGEST_GROUP = 64
# More than the latents of any group borrow, even where finer lattices cost nothing; words that
# are not borrowed cost nothing either.
_INITIAL_WORDS = 1 << 19


class PhotoCodec:
    """Codes RGB blocks of any height and width; see :class:`nc_core.protocols.LosslessModel`.

    Args:
        name, model_id: of the model.
        model: lowered.
    """

    package = ("nc-bitswap", nc_bitswap.__version__)
    arithmetic: Literal["exact", "float"] = "exact"
    tables = TABLES_VERSION
    block = Block((3,), None, None, _BLOCK_PIXELS)
    lanes = 1
    group: int | None = None
    initial_words = _INITIAL_WORDS

    def __init__(self, name: str, model_id: str, model: PhotoModel) -> None:
        self.name, self.id = name, model_id
        self._model = model

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        """Push blocks; returns their code length at the latents drawn, in bits.

        Args:
            coder: any.
            message: of one lane or more; one is used.
            blocks: uint8, (B, 3, H, W).

        Raises:
            ValueError: another shape or dtype.
            WorkError: the message has too few words to borrow.
        """
        _check(blocks.shape, blocks.dtype)
        return sum(
            self._push_group(coder, message, blocks[start:stop])
            for start, stop in _groups(blocks.shape)
        )

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Pop what one ``push`` of blocks of that shape and dtype pushed.

        Raises:
            CorruptFileError: the message is damaged or too short.
            ValueError: a shape or dtype that ``push`` refuses.
        """
        _check(shape, np.dtype(dtype))
        blocks = np.empty(shape, np.uint8)
        for start, stop in reversed(list(_groups(shape))):
            planes = self._pop_group(coder, message, (stop - start, *shape[1:]))
            try:
                blocks[start:stop] = to_rgb(planes)
            except ValueError as error:
                raise CorruptFileError("the message does not hold what it should") from error
        return blocks

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        """Code length of each block in bits, float64 (B,): the negative ELBO at one draw.

        Latents are drawn from the posterior with a fixed seed, for every block by itself.
        """
        _check(blocks.shape, blocks.dtype)
        lengths = np.empty(len(blocks))
        for index in range(len(blocks)):
            message = Message(1, self.initial_words, seed=0)
            lengths[index] = self._push_group(Rans(), message, blocks[index : index + 1])
        return lengths

    def probe(self) -> str:
        """Hex sha256 of the integers that the networks give for fixed images and latents."""
        return self._probe

    @torch.no_grad()
    def _push_group(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        lattice, bits = to_planes(blocks), 0.0
        for level in range(self._model.levels):
            pushes: list[Intervals] = []
            coarse = lattice[:, :, ::2, ::2]
            plane = _encoding_plane(lattice, pushes.append)
            self._model.lattice(level).passes(coarse, plane)
            for intervals in reversed(pushes):
                intervals.push(coder, message)
                bits += intervals.bits
            lattice = coarse
        return bits + push_base(coder, message, self._model.base, lattice)

    @torch.no_grad()
    def _pop_group(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int]
    ) -> Tensor:
        count, _, height, width = shape
        shapes = lattice_shapes(height, width, self._model.levels)
        lattice = pop_base(coder, message, self._model.base, (count, 3, *shapes[-1]))
        for level in range(self._model.levels - 1, -1, -1):
            height, width = shapes[level]
            plane = _decoding_plane(coder, message, lattice, (height, width))
            lattice = self._model.lattice(level).passes(lattice, plane)[:, :, :height, :width]
        return lattice

    @cached_property
    def _probe(self) -> str:
        """Hash all integers for two small images of odd sides, and fixed latents."""
        digest = hashlib.sha256()

        def add(*tensors: Tensor) -> None:
            for tensor in tensors:
                digest.update(tensor.contiguous().numpy().astype("<i4").tobytes())

        def seen(plane: PhasePlaneOf) -> PhasePlaneOf:
            def hashing(phase: int, colour: int, mixture: MixtureParameters) -> Tensor:
                add(mixture.logits, mixture.means, mixture.scales)
                return plane(phase, colour, mixture)

            return hashing

        lattice = to_planes(probe_pixels((2, 3, 43, 61)).astype(np.uint8))
        base = self._model.base
        with torch.no_grad():
            for level in range(self._model.levels):
                coarse = lattice[:, :, ::2, ::2]
                plane = _encoding_plane(lattice, lambda _: None)
                self._model.lattice(level).passes(coarse, seen(plane))
                lattice = coarse
            planes = padded(lattice, BASE_MULTIPLE)
            parameters = base.posterior(1, planes)
            add(*parameters)
            symbols = np.arange(parameters[0].numel()).reshape(parameters[0].shape) * 389 % 160
            z1 = torch.from_numpy(latent_values(symbols + 176))
            look_up = seen(lambda _, colour, __: planes[:, colour : colour + 1])
            base.passes(z1, lambda colour, mixture: look_up(0, colour, mixture))
            parameters = base.posterior(2, z1)
            add(*parameters, *base.conditional(z1[:, :, ::2, ::2]))
        return digest.hexdigest()


def _encoding_plane(lattice: Tensor, take: Callable[[Intervals], object]) -> PhasePlaneOf:
    """Looks planes up in a lattice, and hands on what is to be pushed."""

    def plane(phase: int, colour: int, mixture: MixtureParameters) -> Tensor:
        row, first = PHASES[phase]
        values = lattice[:, colour : colour + 1, row::2, first::2]
        rows, columns = values.shape[2:]
        distribution = pixel_mixture(colour, mixture, rows, columns)
        take(Intervals.of(distribution, pixel_symbols(values, colour)))
        return complete(values, lattice[:, colour : colour + 1, ::2, ::2])

    return plane


def _decoding_plane(
    coder: Coder, message: Message, coarse: Tensor, shape: tuple[int, int]
) -> PhasePlaneOf:
    """Pops planes of a lattice of (height, width) = ``shape``."""

    def plane(phase: int, colour: int, mixture: MixtureParameters) -> Tensor:
        rows, columns = phase_shape(shape, PHASES[phase])
        distribution = pixel_mixture(colour, mixture, rows, columns)
        symbols = coder.pop(message, distribution)
        values = pixel_values(symbols, colour, (len(coarse), 1, rows, columns))
        return complete(values, coarse[:, colour : colour + 1])

    return plane


def _groups(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    count, _, height, width = shape
    size = min(max(_GROUP_PIXELS // (height * width), 1), _LARGEST_GROUP)
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) != 4 or shape[1] != 3 or not all(shape[1:]) or dtype != np.uint8:
        raise ValueError(f"blocks are uint8, (B, 3, H, W), not {dtype} {shape}")

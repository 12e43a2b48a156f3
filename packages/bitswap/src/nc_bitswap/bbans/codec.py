"""A trained VAE as a lossless model of the engine: bits-back coding on exact networks."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import nc_bitswap
from nc_bitswap.bbans.chain import LATENT_PRECISION, EqualMassBins, VaeChain
from nc_bitswap.bbans.model import Architecture
from nc_bitswap.bbans.networks import CodingNetworks
from nc_core.ans import TABLES_VERSION, Message
from nc_core.ans.bits_back import pop_bb_ans, push_bb_ans
from nc_core.ans.distributions.location_scale import bisect
from nc_core.ans.groups import Group, measure_groups, pop_groups, push_groups
from nc_core.errors import DataError
from nc_core.fixed_draws import counts_for, probe_pixels
from nc_core.frame import Frame
from nc_core.protocols import Block, Coder

__all__ = ["BbansCodec"]

_LARGEST_GROUP = 64
_CHUNK_PIXELS = 1 << 21


class BbansCodec:
    """Codes blocks of up to the VAE's image size; see :class:`nc_core.protocols.LosslessModel`.

    Smaller blocks are surrounded by 0 for the encoder, and only their own pixels are coded.

    Args:
        name, model_id: of the model.
        networks: lowered.
        bins: of the latents.
    """

    package = ("nc-bitswap", nc_bitswap.__version__)
    arithmetic: Literal["exact", "float"] = "exact"
    tables = TABLES_VERSION
    lanes = 1
    group: int | None = None

    def __init__(
        self, name: str, model_id: str, networks: CodingNetworks, bins: EqualMassBins
    ) -> None:
        self.name, self.id = name, model_id
        self._networks, self._bins = networks, bins
        shape = networks.architecture
        self.block = Block((1,), shape.height, shape.width, _CHUNK_PIXELS, largest=shape.top)
        # Enough whatever the networks say; words that are not borrowed cost nothing.
        self.initial_words = _LARGEST_GROUP * shape.latents * LATENT_PRECISION // 32 + 1

    @property
    def architecture(self) -> Architecture:
        """Shape of the VAE."""
        return self._networks.architecture

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        """Push blocks; returns their code length at the latents drawn, in bits.

        Args:
            coder: any.
            message: with initial words to borrow; one lane is used.
            blocks: uint8, (B, 1, h, w), at most as high and wide as the VAE's images.

        Raises:
            ValueError: another shape or dtype.
            DataError: grey levels, for a VAE of binary pixels.
            WorkError: the message has too few words to borrow.
        """
        frame = self._checked(blocks)

        def push(group: Group) -> float:
            data = blocks[group.start : group.stop].reshape(-1, 1).astype(np.int64)
            chain = self._chain(frame, group.stop - group.start)
            return push_bb_ans(coder, message, chain, data)

        return push_groups(coder, message, len(blocks), _LARGEST_GROUP, push)

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Pop what one ``push`` of blocks of that shape and dtype pushed.

        Raises:
            CorruptFileError: the message is damaged or too short.
            ValueError: a shape or dtype that ``push`` refuses.
        """
        frame = self._frame(shape, np.dtype(dtype))
        blocks = np.empty(shape, np.uint8)

        def pop(group: Group) -> None:
            data = pop_bb_ans(coder, message, self._chain(frame, group.stop - group.start))
            blocks[group.start : group.stop] = data.reshape(-1, *shape[1:])

        pop_groups(coder, message, shape[0], _LARGEST_GROUP, pop)
        return blocks

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        """Code length of each block in bits, float64 (B,): the negative ELBO at one draw.

        What latents are drawn follows from the pixels of the block, so that draws for different
        blocks are independent, and those for one block the same whenever it is measured.
        """
        frame = self._checked(blocks)
        return measure_groups(blocks, _LARGEST_GROUP, lambda part: self._lengths(part, frame))

    def probe(self) -> str:
        """Hex sha256 of the integers that the networks give for fixed images and latents."""
        return self._probe

    def _lengths(self, blocks: NDArray[np.uint8], frame: Frame) -> NDArray[np.float64]:
        chain = self._chain(frame, len(blocks))
        data = blocks.reshape(-1, 1).astype(np.int64)
        posterior = chain.posterior(1, data)
        latents = self._networks.architecture.latents
        counts = [counts_for(block, LATENT_PRECISION)(latents) for block in blocks]
        symbols = bisect(posterior, slice(None), np.concatenate(counts)[:, None])
        bits = chain.likelihood(0, symbols).bits(data).reshape(len(blocks), -1).sum(1)
        returned = posterior.bits(symbols).reshape(len(blocks), -1)
        length: NDArray[np.float64] = bits + (self._bins.bits - returned).sum(1)
        return length

    @cached_property
    def _probe(self) -> str:
        shape = self._networks.architecture
        pixels = torch.from_numpy(probe_pixels((2, shape.dims), shape.top + 1))
        symbols = np.arange(2 * shape.latents).reshape(2, -1) * 389 % (1 << self._bins.bits)
        digest = hashlib.sha256()
        with torch.no_grad():
            values = torch.from_numpy(self._bins.values(symbols))
            integers = (*self._networks.posterior(pixels), self._networks.likelihood(values))
        for tensor in integers:
            digest.update(tensor.contiguous().numpy().astype("<i4").tobytes())
        return digest.hexdigest()

    def _chain(self, frame: Frame, count: int) -> VaeChain:
        return VaeChain(self._networks, self._bins, frame, count)

    def _checked(self, blocks: NDArray[Any]) -> Frame:
        frame = self._frame(blocks.shape, blocks.dtype)
        top = self._networks.architecture.top
        if blocks.size and int(blocks.max()) > top:
            raise DataError(
                f"model '{self.name}' codes pixels of 0 and {top}; there is one of {blocks.max()}",
                "make them binary (mnist:test?binarize=threshold), or use a model of grey images",
            )
        return frame

    def _frame(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Frame:
        image = self._networks.architecture.image_shape
        return Frame.of_blocks(image, shape, dtype, "zero")

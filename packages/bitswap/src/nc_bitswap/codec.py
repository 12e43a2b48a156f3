"""A trained model as a lossless model of the engine: bits-back coding on exact networks."""

from __future__ import annotations

import copy
import hashlib
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import nc_bitswap
from nc_bitswap.chain import BlockChain
from nc_bitswap.discretization import LatentBins
from nc_bitswap.model import HierarchicalVAE
from nc_core.ans import TABLES_VERSION, Message, Rans
from nc_core.ans.bits_back import pop_bb_ans, pop_bit_swap, push_bb_ans, push_bit_swap
from nc_core.ans.groups import Group, pop_groups, pop_number, push_groups, push_number
from nc_core.fixed_draws import probe_pixels
from nc_core.frame import Frame, Padding
from nc_core.protocols import Block, Coder

__all__ = ["ORDERS", "POP", "PUSH", "BitswapCodec", "Order"]

Order = Literal["bit-swap", "bb-ans"]
ORDERS: tuple[Order, ...] = ("bit-swap", "bb-ans")

PUSH = {"bit-swap": push_bit_swap, "bb-ans": push_bb_ans}
POP = {"bit-swap": pop_bit_swap, "bb-ans": pop_bb_ans}
"""Functions of :mod:`nc_core.ans.bits_back` by order."""

_LARGEST_GROUP = 32
_CHUNK_PIXELS = 1 << 20
# A latent never borrows more than its precision.
_BITS_PER_LATENT = 28


class BitswapCodec:
    """Codes blocks of up to the networks' image size; see :class:`nc_core.protocols.LosslessModel`.

    Args:
        name, model_id: of the model.
        networks: a lowered :class:`HierarchicalVAE`.
        bins: of its latents.
        padding: what surrounds blocks that are smaller than the networks' images.
        order: of the steps of coding. A message says which one it was made with, so that any
            model decodes both.
    """

    package = ("nc-bitswap", nc_bitswap.__version__)
    arithmetic: Literal["exact", "float"] = "exact"
    tables = TABLES_VERSION
    lanes = 1
    group: int | None = None

    def __init__(
        self,
        name: str,
        model_id: str,
        networks: HierarchicalVAE,
        bins: LatentBins,
        padding: Padding = "zero",
        order: Order = "bit-swap",
    ) -> None:
        self.name, self.id = name, model_id
        self.order: Order = order
        self._networks, self._bins, self._padding = networks, bins, padding
        channels, height, width = networks.architecture.image_shape
        self.block = Block((channels,), height, width, _CHUNK_PIXELS)
        # Enough whatever the networks say; words that are not borrowed cost nothing.
        latents = networks.architecture.levels * bins.dims * _LARGEST_GROUP
        self.initial_words = latents * _BITS_PER_LATENT // 32 + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of what the networks see."""
        return self._networks.architecture.image_shape

    @property
    def padding(self) -> Padding:
        """What surrounds smaller blocks in it."""
        return self._padding

    @property
    def networks(self) -> HierarchicalVAE:
        """The lowered networks."""
        return self._networks

    @property
    def bins(self) -> LatentBins:
        """Bins of the latents."""
        return self._bins

    def with_order(self, order: Order) -> BitswapCodec:
        """The same model, coding in another order."""
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {' and '.join(ORDERS)}")
        other = copy.copy(self)
        other.order = order
        return other

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        """Push blocks; returns their code length at the latents drawn, in bits.

        Args:
            coder: any.
            message: with initial words to borrow; one lane is used.
            blocks: uint8, (B, C, h, w), at most as high and wide as the networks' images.

        Raises:
            ValueError: another shape or dtype.
            WorkError: the message has too few words to borrow.
        """
        frame = self._frame(blocks.shape, blocks.dtype)

        def push(group: Group) -> float:
            data = blocks[group.start : group.stop].reshape(-1, 1).astype(np.int64)
            chain = BlockChain(self._networks, self._bins, frame, group.stop - group.start)
            return PUSH[self.order](coder, message, chain, data)

        bits = push_groups(coder, message, len(blocks), _LARGEST_GROUP, push)
        push_number(coder, message, ORDERS.index(self.order), len(ORDERS))
        return bits

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Pop what one ``push`` of blocks of that shape and dtype pushed, in whichever order.

        Raises:
            CorruptFileError: the message is damaged or too short.
            ValueError: a shape or dtype that ``push`` refuses.
        """
        frame = self._frame(shape, np.dtype(dtype))
        order = ORDERS[pop_number(coder, message, len(ORDERS))]
        blocks = np.empty(shape, np.uint8)

        def pop(group: Group) -> None:
            chain = BlockChain(self._networks, self._bins, frame, group.stop - group.start)
            data = POP[order](coder, message, chain)
            blocks[group.start : group.stop] = data.reshape(-1, *shape[1:])

        pop_groups(coder, message, shape[0], _LARGEST_GROUP, pop)
        return blocks

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        """Code length of each block in bits, float64 (B,): the negative ELBO at one draw.

        Latents are drawn from the posterior with a fixed seed, for every block by itself.
        """
        frame = self._frame(blocks.shape, blocks.dtype)
        coder, lengths = Rans(), np.empty(len(blocks))
        words = self.initial_words // _LARGEST_GROUP + 1
        for index, block in enumerate(blocks):
            chain = BlockChain(self._networks, self._bins, frame, 1)
            message = Message(1, words, seed=0)
            data = block.reshape(-1, 1).astype(np.int64)
            lengths[index] = push_bb_ans(coder, message, chain, data)
        return lengths

    def probe(self) -> str:
        """Hex sha256 of the integers that the networks give for a fixed image and latents."""
        return self._probe

    @cached_property
    def _probe(self) -> str:
        shape = self._networks.architecture
        below = torch.from_numpy(probe_pixels((2, *shape.image_shape)))
        digest = hashlib.sha256()
        size = 1 << self._bins.bits
        for level in range(1, shape.levels + 1):
            symbols = (np.arange(2 * self._bins.dims) * 389 % size).reshape(2, -1)
            values = self._bins.values(level, symbols)
            latents = torch.from_numpy(values.reshape(2, *shape.latent_shape))
            with torch.no_grad():
                pairs = (
                    self._networks.posterior(level, below),
                    self._networks.likelihood(level - 1, latents),
                )
            for tensor in (*pairs[0], *pairs[1]):
                digest.update(tensor.contiguous().numpy().astype("<i4").tobytes())
            below = latents
        return digest.hexdigest()

    def _frame(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Frame:
        image = self._networks.architecture.image_shape
        return Frame.of_blocks(image, shape, dtype, self._padding)

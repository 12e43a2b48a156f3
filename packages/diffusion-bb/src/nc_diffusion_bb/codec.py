"""A trained diffusion as a lossless model of the engine: bits-back coding on an exact network."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import nc_diffusion_bb
from nc_core.ans import TABLES_VERSION, Message
from nc_core.ans.bits_back import Step, pop_bit_swap, push_bit_swap
from nc_core.ans.distributions.location_scale import bisect
from nc_core.ans.groups import Group, measure_groups, pop_groups, push_groups
from nc_core.fixed_draws import counts_for, probe_pixels
from nc_core.frame import Frame
from nc_core.journal import Journal
from nc_core.protocols import Block, Coder
from nc_diffusion_bb.coding import Coding
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.framing import padding_around
from nc_diffusion_bb.interleaved import InterleavedChain
from nc_diffusion_bb.noised_levels import LATENT_PRECISION, NoisedLevels
from nc_diffusion_bb.reverse_process import ReverseProcess
from nc_diffusion_bb.saved_steps import SavedSteps
from nc_diffusion_bb.top_down import BITS, DownStep, TopDownChain, pop_top_down, push_top_down
from nc_diffusion_bb.tracking import Track
from nc_diffusion_bb.unet import UNet

__all__ = ["DiffusionCodec"]

_CHUNK_PIXELS = 1 << 18
# What one image may borrow, in bits for each sample; words that are not borrowed cost nothing.
_BORROWED_BITS = 24
_MOST_WORDS = 1 << 26
# That go through the network side by side: bounds the memory that a file can ask for.
_MOST_PIXELS = 1 << 19
# Samples of all levels that the order bb-ans has in memory at once, at about 32 bytes each.
_MOST_LATENTS = 1 << 26


class DiffusionCodec:
    """Codes blocks of up to the network's image size; see :class:`nc_core.protocols.LosslessModel`.

    Args:
        name, model_id: of the model.
        network: a lowered :class:`UNet`.
        diffusion: what it says.
        alphas_cumprod: abar of the full chain, float64, (steps,).
        coding: how to code; the usual way by default.
    """

    package = ("nc-diffusion-bb", nc_diffusion_bb.__version__)
    arithmetic: Literal["exact", "float"] = "exact"
    tables = TABLES_VERSION
    lanes = 1
    group: int | None = None
    journaled = True
    leads_in = True

    def __init__(
        self,
        name: str,
        model_id: str,
        network: UNet,
        diffusion: DiffusionConfig,
        alphas_cumprod: NDArray[np.float64],
        coding: Coding | None = None,
    ) -> None:
        self.name, self.id = name, model_id
        self._network, self._diffusion, self._schedule = network, diffusion, alphas_cumprod
        channels, height, width = network.architecture.image_shape
        self.block = Block((channels,), height, width, _CHUNK_PIXELS)
        self._tell(Coding.of({}, len(alphas_cumprod)) if coding is None else coding)

    def _tell(self, coding: Coding) -> None:
        channels, height, width = self._network.architecture.image_shape
        if coding.batch_size * height * width > _MOST_PIXELS:
            most = max(_MOST_PIXELS // (height * width), 1)
            raise ValueError(f"batch-size is at most {most} for images of {height}x{width}")
        self._coding = coding
        self._process = ReverseProcess(
            self._network, self._diffusion, self._schedule, coding.respacing, clip=coding.clip
        )
        self._levels = NoisedLevels(self._process.tables, coding.bins_per_deviation)
        dims = channels * height * width
        bits = _BORROWED_BITS
        if coding.order == "bb-ans":
            bits += (BITS + 2) * self._process.steps
        self.initial_words = dims * bits // 32 + 1
        if self.initial_words > _MOST_WORDS:
            raise ValueError("the order bb-ans borrows more than a file may, with so many steps")

    @property
    def coding(self) -> dict[str, str]:
        """What it was told, as the header of a file records it."""
        return self._coding.to_mapping()

    @property
    def order(self) -> str:
        """Of pushes and pops."""
        return self._coding.order

    @property
    def steps(self) -> int:
        """Of the chain that it codes with."""
        return self._process.steps

    @property
    def _largest_group(self) -> int:
        """Images that are coded side by side at most."""
        size = self._coding.batch_size
        if self._coding.order == "bit-swap":
            return size
        latents = math.prod(self._network.architecture.image_shape) * self.steps
        return min(size, max(_MOST_LATENTS // latents, 1))

    def with_coding(self, options: Mapping[str, str]) -> DiffusionCodec:
        """The same model, told these.

        Args:
            options: texts by key: ``respacing``, ``order``, ``batch-size``,
                ``bins-per-deviation``, ``clip``.

        Raises:
            ValueError: an unknown key, or a value that it cannot have.
        """
        other = copy.copy(self)
        other.__dict__.pop("_probe", None)
        other._tell(Coding.of(options, len(self._schedule)))
        return other

    def push(
        self,
        coder: Coder,
        message: Message,
        blocks: NDArray[Any],
        *,
        journal: Journal | None = None,
        track: Track | None = None,
    ) -> float:
        """Push blocks; returns their code length at the latents drawn, in bits.

        Args:
            coder: any.
            message: with initial words to borrow; one lane is used.
            blocks: uint8, (B, C, h, w), at most as high and wide as the network's images.
            journal: keeps the state while it works.
            track: takes note of every push and pop.

        Raises:
            ValueError: another shape or dtype.
            WorkError: the message has too few words to borrow.
        """
        frame = self._frame(blocks.shape, blocks.dtype)
        saved = SavedSteps(journal, message, len(blocks), self.steps)

        def push(group: Group) -> float:
            data = blocks[group.start : group.stop].reshape(-1, 1).astype(np.int64)
            own = Track(self.steps) if track is None else track.begin(data.size)
            bits = self._push(coder, message, frame, data, group, saved, own)
            if track is not None:
                track.take(own)
            return bits

        size = self._largest_group
        return push_groups(coder, message, len(blocks), size, push, powers=True, first=saved.group)

    def pop(
        self,
        coder: Coder,
        message: Message,
        shape: tuple[int, int, int, int],
        dtype: np.dtype[Any],
        *,
        journal: Journal | None = None,
    ) -> NDArray[Any]:
        """Pop what one ``push`` of blocks of that shape and dtype pushed.

        Raises:
            CorruptFileError: the message is damaged or too short.
            ValueError: a shape or dtype that ``push`` refuses.
        """
        frame = self._frame(shape, np.dtype(dtype))
        saved = SavedSteps(journal, message, shape[0], self.steps)
        blocks = np.empty(shape, np.uint8)
        saved.restore_blocks(blocks)

        def pop(group: Group) -> None:
            data = self._pop(coder, message, frame, group, saved, blocks)
            blocks[group.start : group.stop] = data.reshape(-1, *shape[1:])

        size = self._largest_group
        pop_groups(coder, message, shape[0], size, pop, powers=True, first=saved.group)
        return blocks

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        """Code length of each block in bits, float64 (B,): the negative bound at one draw.

        What latents are drawn follows from the pixels of the block, so that draws for different
        blocks are independent, and those for one block the same whenever it is measured.
        """
        frame = self._frame(blocks.shape, blocks.dtype)
        size = self._coding.batch_size
        return measure_groups(blocks, size, lambda part: self._lengths(part, frame))

    def probe(self) -> str:
        """Hex sha256 of the integers that are coded with for a fixed image, at three steps."""
        return self._probe

    @cached_property
    def _probe(self) -> str:
        shape = self._network.architecture.image_shape
        noised = probe_pixels((1, *shape)) / 64.0 - 2.0
        digest = hashlib.sha256()
        for t in sorted({0, self.steps // 2, self.steps - 1}):
            for moment in self._process.moments(t, noised):
                digest.update(np.ascontiguousarray(moment).astype("<f8").tobytes())
        return digest.hexdigest()

    def _push(
        self,
        coder: Coder,
        message: Message,
        frame: Frame,
        data: NDArray[np.int64],
        group: Group,
        saved: SavedSteps,
        track: Track,
    ) -> float:
        count = group.stop - group.start
        if self._coding.order == "bit-swap":

            def watch(step: Step) -> None:
                track.add(step.level - 1, pushed=step.pushed)
                if step.level <= self.steps:
                    track.add(step.level, popped=step.popped)
                    saved.keep_step(group, step)

            return push_bit_swap(
                coder, message, self._interleaved(frame, count), data,
                start=saved.taken_step(), watch=watch,
            )  # fmt: skip

        def watch_down(step: DownStep) -> None:
            track.add(self.steps + 1 - len(step.symbols), popped=step.popped)
            saved.keep_descent(group, step)

        chain = TopDownChain(self._process, frame, count)
        bits, pixels = push_top_down(
            coder, message, chain, data, start=saved.taken_descent(), watch=watch_down
        )
        track.add(0, pushed=pixels)
        for level in range(1, self.steps + 1):
            track.add(level, pushed=float(BITS * count * frame.image_dims))
        return bits

    def _pop(
        self,
        coder: Coder,
        message: Message,
        frame: Frame,
        group: Group,
        saved: SavedSteps,
        blocks: NDArray[np.uint8],
    ) -> NDArray[np.int64]:
        count = group.stop - group.start
        if self._coding.order == "bit-swap":
            return pop_bit_swap(
                coder, message, self._interleaved(frame, count),
                start=saved.taken_step(),
                watch=lambda step: saved.keep_step(group, step, blocks),
            )  # fmt: skip
        before = message.copy()
        return pop_top_down(
            coder, message, TopDownChain(self._process, frame, count),
            watch=lambda levels: saved.keep_group(group, before, blocks, levels),
        )  # fmt: skip

    def _interleaved(self, frame: Frame, count: int) -> InterleavedChain:
        return InterleavedChain(self._process, self._levels, frame, count)

    def _lengths(self, blocks: NDArray[np.uint8], frame: Frame) -> NDArray[np.float64]:
        chain = self._interleaved(frame, len(blocks))
        draws = [counts_for(block, LATENT_PRECISION) for block in blocks]
        lengths = np.zeros(len(blocks))

        def per_block(bits: NDArray[np.float64]) -> NDArray[np.float64]:
            summed: NDArray[np.float64] = bits.reshape(len(blocks), -1).sum(axis=1)
            return summed

        below = blocks.reshape(-1, 1).astype(np.int64)
        for level in range(1, self.steps + 1):
            posterior = chain.posterior(level, below)
            counts = np.concatenate([draw(frame.image_dims) for draw in draws])[:, None]
            latents = bisect(posterior, slice(None), counts)
            lengths += per_block(chain.likelihood(level - 1, latents).bits(below))
            lengths -= per_block(posterior.bits(latents))
            below = latents
        return lengths + per_block(chain.prior().bits(below))

    def _frame(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Frame:
        image = self._network.architecture.image_shape
        return Frame.of_blocks(image, shape, dtype, padding_around(image[0]))

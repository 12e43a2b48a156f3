"""Several messages at once: an image for each of them, all images through the networks together.

Independent experiments code their images in step, so that networks see batches although every
message is a strict sequence. :class:`SideBySide` makes a :class:`nc_core.protocols.Coder` for
many messages of one coder for one message: column k of an array of symbols belongs to message
k. So the two orders of :mod:`nc_core.ans.bits_back` serve for it as they are. Networks are exact:
what a message becomes does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.chain import latents_given, pixels_given
from nc_bitswap.discretization import LatentBins
from nc_bitswap.model import HierarchicalVAE
from nc_core.ans import Message, Uniform
from nc_core.frame import Frame
from nc_core.protocols import Coder, Distribution

__all__ = ["Messages", "SideBySide", "SideBySideChain"]


class Messages:
    """Messages of one lane each.

    Args:
        messages: any number.

    Attributes:
        words_before_push: words on each stack at the first push since construction, or None.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.all = list(messages)
        self.words_before_push: list[int] | None = None

    @property
    def initial_words(self) -> int:
        """Words that each message began with."""
        return self.all[0].initial_words

    def sizes(self) -> NDArray[np.int64]:
        """Words on each stack."""
        return np.array([message.size for message in self.all])


class _Columns:
    """A distribution of (steps, messages) symbols: one of (steps, 1) for each message."""

    def __init__(self, columns: Sequence[Distribution]) -> None:
        self.columns = columns
        self.precision = columns[0].precision
        self.shape = (columns[0].shape[0], len(columns))

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        pairs = [
            column.intervals(symbols[:, place : place + 1])
            for place, column in enumerate(self.columns)
        ]
        starts, freqs = zip(*pairs, strict=True)
        return np.hstack(starts), np.hstack(freqs)


class SideBySide:
    """A coder of :class:`Messages`, with :class:`SideBySideChain`'s distributions.

    Args:
        coder: for each of the messages.
    """

    name = "side-by-side"

    def __init__(self, coder: Coder) -> None:
        self._coder = coder

    def push(self, messages: Any, symbols: NDArray[Any], distribution: Any) -> None:
        """Push a column of symbols to each message."""
        for place, (message, column) in enumerate(
            zip(messages.all, distribution.columns, strict=True)
        ):
            self._coder.push(message, symbols[:, place : place + 1], column)

    def pop(self, messages: Any, distribution: Any) -> NDArray[np.int64]:
        """Pop a column of symbols from each message."""
        return np.hstack(
            [
                self._coder.pop(message, column)
                for message, column in zip(messages.all, distribution.columns, strict=True)
            ]
        )

    def push_intervals(
        self,
        messages: Any,
        starts: NDArray[np.uint64],
        freqs: NDArray[np.uint64],
        precision: int,
    ) -> None:
        """Push a column of intervals to each message."""
        if messages.words_before_push is None:
            messages.words_before_push = [message.size for message in messages.all]
        for place, message in enumerate(messages.all):
            column = slice(place, place + 1)
            self._coder.push_intervals(message, starts[:, column], freqs[:, column], precision)


class SideBySideChain:
    """The latent variables of one image per message: a :class:`nc_core.ans.bits_back.Chain`.

    Args:
        networks: a lowered :class:`HierarchicalVAE`.
        bins: of its latents.
        count: how many messages.
    """

    def __init__(self, networks: HierarchicalVAE, bins: LatentBins, count: int) -> None:
        self.depth = networks.architecture.levels
        self._networks, self._bins, self._count = networks, bins, count
        image = networks.architecture.image_shape
        self._frame = Frame(image, image[1], image[2], "zero")

    def prior(self) -> Any:
        """p(z_depth) of each message."""
        prior = Uniform(1 << self._bins.bits, (self._bins.dims, 1))
        return _Columns([prior] * self._count)

    def likelihood(self, level: int, above: NDArray[Any]) -> Any:
        """p(z_level | z_{level+1} = above) of each message."""
        with torch.no_grad():
            means, scales = self._networks.likelihood(level, self._values(level + 1, above))
        scales = scales.expand_as(means)
        pairs = zip(means, scales, strict=True)
        if level == 0:
            return _Columns([pixels_given(*pair, frame=self._frame) for pair in pairs])
        bins = self._bins.distribution_bins(level, 1)
        return _Columns([latents_given(*pair, bins=bins) for pair in pairs])

    def posterior(self, level: int, below: NDArray[Any]) -> Any:
        """q(z_level | z_{level-1} = below) of each message."""
        with torch.no_grad():
            means, scales = self._networks.posterior(level, self._values(level - 1, below))
        bins = self._bins.distribution_bins(level, 1)
        pairs = zip(means, scales, strict=True)
        return _Columns([latents_given(*pair, bins=bins, drawn=True) for pair in pairs])

    def _values(self, level: int, symbols: NDArray[Any]) -> torch.Tensor:
        """What the networks take of a level: symbols (dims, messages) as (messages, C, H, W)."""
        rows = np.ascontiguousarray(symbols.T)
        shape = (self._count, *self._networks.architecture.shape(level))
        values = self._bins.values(level, rows) if level else rows.astype(np.uint8)
        return torch.from_numpy(values.reshape(shape))

"""What a dataset, a coder, a distribution and a model must offer.

Arrays of images cross these borders in two forms: a dataset yields items in its own layout
(``hw``, ``hwc`` or ``chw``), a model sees blocks ``(B, C, H, W)``. The engine converts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message

__all__ = ["Block", "Coder", "Dataset", "Distribution", "Layout", "LosslessModel"]

Layout = Literal["hw", "hwc", "chw", "none"]


@runtime_checkable
class Dataset(Protocol):
    """A named source of items.

    Attributes:
        name: canonical name (``mnist:test``).
        fields: names of an item's parts, the content first.
        shape: shape of the content; None where it varies.
        dtype: NumPy dtype of the content.
        range: smallest and largest possible value.
        layout: order of the axes of an image; ``none`` for other data.
    """

    name: str
    fields: tuple[str, ...]
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    range: tuple[float, float]
    layout: Layout

    def __len__(self) -> int:
        """Number of items; raises TypeError for a sampler without end."""
        ...

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        """Item ``index`` by field; raises IndexError outside ``0 .. len - 1``."""
        ...


@runtime_checkable
class Distribution(Protocol):
    """Integer distributions of an array of symbols, ``shape`` = (steps, lanes).

    Every symbol s owns the counts ``start <= c < start + freq`` of ``2 ** precision``.
    """

    precision: int
    shape: tuple[int, int]

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Start and frequency of each symbol.

        Args:
            symbols: integers, shape (steps, lanes).

        Returns:
            starts, freqs: uint64, same shape. A frequency of 0 marks an impossible symbol.

        Raises:
            ValueError: a symbol outside the alphabet, or a wrong shape.
        """
        ...

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Symbols that own ``counts`` in row ``step``, with their starts and frequencies.

        Args:
            step: row, 0 <= step < shape[0].
            counts: uint64, shape (lanes,), each below ``2 ** precision``.
        """
        ...


@runtime_checkable
class Coder(Protocol):
    """An entropy coder on a stack: what was pushed last is popped first.

    ``push`` codes the rows of an array from the last to the first, so that ``pop`` returns
    them from the first to the last. An array of fewer lanes than the message uses its first.
    """

    name: str

    def push(self, message: Message, symbols: NDArray[Any], distribution: Distribution) -> None:
        """Push symbols, shape (steps, lanes); ValueError for an impossible symbol."""
        ...

    def pop(self, message: Message, distribution: Distribution) -> NDArray[np.int64]:
        """Pop symbols, shape (steps, lanes); CorruptFileError when the stack is empty."""
        ...

    def push_intervals(
        self,
        message: Message,
        starts: NDArray[np.uint64],
        freqs: NDArray[np.uint64],
        precision: int,
    ) -> None:
        """Push given intervals, shape (steps, lanes), last row first."""
        ...


@dataclass(frozen=True)
class Block:
    """The piece of an item that a model codes at once.

    Args:
        channels: numbers of channels that the model accepts.
        height, width: None where they are free.
        max_pixels: most pixels of a chunk, which holds as many blocks as fit. Where the sides are
            free, it is the largest height x width that is coded at once; larger items are tiled.
        dtypes: NumPy dtype names of the samples.
        largest: the largest sample that the model codes; None: whatever the dtype holds.
    """

    channels: tuple[int, ...]
    height: int | None
    width: int | None
    max_pixels: int
    dtypes: tuple[str, ...] = ("uint8",)
    largest: int | None = None


@runtime_checkable
class LosslessModel(Protocol):
    """A model that codes blocks exactly; the engine does the rest.

    One that codes in several orders also has ``with_order(name)``: the same model in that order,
    or ValueError. Its messages say which order they were made in.

    One that leaves choices to whoever compresses (an order, a number of steps) has a mapping
    ``coding`` of texts by key, what it was told, and ``with_coding(options)``: the same model told
    these and no others, or ValueError with a reason for the user. Keys that are not given keep the
    model's default. What it was told stands in the file, and a decoder tells its own model the
    same; from there on the model, its ``initial_words`` included, must be the same. Its ``coding``
    can be told again: ``model.with_coding(model.coding).coding == model.coding``.

    One that borrows far more bits than a block is worth has ``leads_in = True``: whoever compresses
    with it then uses a lead-in (:mod:`nc_core.lead_in`) unless told otherwise. The coding option
    ``lead-in`` is no affair of the model's own.

    One that learns from the blocks of a call while it codes them has ``adaptive = True``; the
    bits of a block then depend on the others. For every other model they do not.

    One that works for minutes or longer on the blocks of one call has ``journaled = True``; its
    ``push`` and ``pop`` take a keyword ``journal``, a :class:`nc_core.journal.Journal` or None
    (the default), in which they keep their state and from which they go on.

    Attributes:
        name: registered name, or the name of its file.
        id: sha256 of everything that decoding needs.
        package: distribution and version that implement it.
        arithmetic: ``exact`` (decodes anywhere) or ``float`` (same kind of machine only).
        tables: version of the integer tables that its distributions use.
        block: what it codes at once.
        lanes: heads of the message that it wants.
        group: blocks per push; None: all blocks of a chunk.
        initial_words: words per group that bits-back coding may borrow; 0 for none.
    """

    name: str
    id: str
    package: tuple[str, str]
    arithmetic: Literal["exact", "float"]
    tables: int
    block: Block
    lanes: int
    group: int | None
    initial_words: int

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        """Push blocks, shape (B, C, H, W); returns the model's code length in bits.

        The code length is the ideal one, at the latents actually drawn, so that it pairs
        with the words that the message grew by.
        """
        ...

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Pop what one ``push`` of that shape and dtype pushed."""
        ...

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        """The model's own code length of each block, shape (B,), in bits."""
        ...

    def probe(self) -> str:
        """Hex sha256 of the integers handed to the coder for a fixed input."""
        ...

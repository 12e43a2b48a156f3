"""A lead-in: the first blocks of a chunk are coded so that bits-back coding has bits to borrow.

Bits-back coding draws its latents from the message, and what it takes from an empty one are
initial words, which are paid for: with a long chain of latents more than an image is worth. With a
lead-in, the first blocks are coded by the predictive codec, which borrows nothing, until the
message can lend to the model what its first block takes. The file then has no initial bits.

Only the encoder decides how many blocks that are: it pushes their number last. It tries 1, 2, 3
... 8 blocks, and from there on half as many again each time, as every trial that fails costs what
the model computes until it fails.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.groups import pop_number, push_number
from nc_core.ans.message import Message
from nc_core.errors import CorruptFileError, WorkError
from nc_core.journal import Journal
from nc_core.predictive.model import PredictiveModel
from nc_core.protocols import Coder, LosslessModel

__all__ = ["LeadIn", "with_lead_in"]

# Blocks of a lead-in, up to which every number is tried.
_FEW = 8


def with_lead_in(model: Any, lead_in: str) -> Any:
    """The model with or without a lead-in.

    Args:
        model: without one.
        lead_in: ``predictive`` or ``none``.

    Raises:
        ValueError: another value, or a model that borrows nothing.
    """
    if lead_in == LeadIn.NONE:
        return model
    if lead_in != LeadIn.PREDICTIVE:
        raise ValueError(f"{LeadIn.KEY} is {LeadIn.PREDICTIVE} or {LeadIn.NONE}, not '{lead_in}'")
    if not model.initial_words or model.lanes != 1 or model.group is not None:
        raise ValueError("it borrows no bits, so a lead-in is of no use")
    return LeadIn(model)


class LeadIn:
    """A lossless model with a lead-in; see :class:`nc_core.protocols.LosslessModel`.

    Args:
        model: borrows initial words, on one lane, all blocks of a chunk at once.

    Attributes:
        alone: the model.
        KEY: of the coding option that asks for a lead-in, or says that there is none.
        PREDICTIVE, NONE: its values.
    """

    KEY: ClassVar[str] = "lead-in"
    PREDICTIVE: ClassVar[str] = "predictive"
    NONE: ClassVar[str] = "none"
    initial_words = 0

    def __init__(self, model: LosslessModel) -> None:
        self.alone: Any = model
        self._predictive = PredictiveModel()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the model's own."""
        if name.startswith("__") or name == "alone":
            raise AttributeError(name)
        return getattr(self.alone, name)

    @property
    def coding(self) -> dict[str, str]:
        """What the model was told, and the lead-in."""
        return {**getattr(self.alone, "coding", {}), self.KEY: self.PREDICTIVE}

    def with_coding(self, options: Mapping[str, str]) -> Any:
        """The same model, told these and no others, ``lead-in`` among them."""
        from nc_core.coding import told_anew

        return told_anew(self.alone, options)

    def with_order(self, order: str) -> LeadIn:
        """The same model in another order, where it has several."""
        other = copy.copy(self)
        other.alone = self.alone.with_order(order)
        return other

    def push(
        self,
        coder: Coder,
        message: Message,
        blocks: NDArray[Any],
        *,
        journal: Journal | None = None,
    ) -> float:
        """Push blocks; returns their code length in bits.

        Raises:
            ValueError: blocks that one of the codecs refuses.
        """
        saved = _Saved(journal)
        count = saved.count or 1
        if not len(blocks):
            return 0.0
        bits = None
        while bits is None:
            before = message.copy() if saved.count is None else None
            try:
                bits = self._push(coder, message, blocks, count, saved)
            except WorkError:
                if before is None:
                    raise
                message.take(before)
                count = min(_next_count(count), len(blocks))
        push_number(coder, message, count - 1, len(blocks))
        return bits

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
        blocks = np.empty(shape, dtype)
        if not len(blocks):
            return blocks
        saved = _Saved(journal)
        count = saved.count or 1 + pop_number(coder, message, len(blocks))
        if count > len(blocks):
            raise CorruptFileError("the message does not hold as many blocks as it should")
        rest = (len(blocks) - count, *shape[1:])
        if rest[0]:
            options = saved.options(count, self.alone)
            blocks[count:] = self.alone.pop(coder, message, rest, dtype, **options)
        lead = (count, *shape[1:])
        blocks[:count] = self._predictive.pop(coder, message, lead, np.dtype(dtype))
        return blocks

    def probe(self) -> str:
        """Hex sha256 of the probes of both codecs."""
        both = self.alone.probe() + self._predictive.probe()
        return hashlib.sha256(both.encode()).hexdigest()

    def _push(
        self,
        coder: Coder,
        message: Message,
        blocks: NDArray[Any],
        count: int,
        saved: _Saved,
    ) -> float:
        """Push with a lead-in of ``count`` blocks.

        Raises:
            WorkError: the message cannot lend what the rest would borrow.
        """
        bits = 0.0
        if saved.count is None:
            bits = self._predictive.push(coder, message, blocks[:count])
        else:
            bits = saved.bits
        saved.bits = bits
        if count == len(blocks):
            return bits
        options = saved.options(count, self.alone)
        rest: float = self.alone.push(coder, message, blocks[count:], **options)
        return bits + rest


def _next_count(count: int) -> int:
    return count + 1 if count < _FEW else count + count // 2


class _Saved:
    """The part of a journal that is the lead-in's; the model keeps the rest.

    Attributes:
        count: blocks of the lead-in, where an earlier process got beyond it.
        bits: of the lead-in.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._state = None if journal is None else journal.state()
        self.count: int | None = None
        self.bits = 0.0
        if self._state is not None:
            self.count = int(self._state.pop("lead_in_count"))
            self.bits = float(self._state.pop("lead_in_bits"))
        self._now = 0

    def options(self, count: int, model: Any) -> dict[str, Journal]:
        """What ``push`` and ``pop`` of the model take besides."""
        self._now = count
        if self._journal is None or not getattr(model, "journaled", False):
            return {}
        return {"journal": self}

    def state(self) -> dict[str, NDArray[Any]] | None:
        """What the model kept."""
        return self._state

    def due(self, done: float = 0.0) -> bool:
        """Whether to save now; a lead-in takes no time to speak of."""
        return self._journal is not None and self._journal.due(done)

    def save(
        self, message: Message, arrays: Mapping[str, Any], *, done: float | None = None
    ) -> None:
        """Save what the model keeps, and the lead-in."""
        assert self._journal is not None
        own = {"lead_in_count": np.int64(self._now), "lead_in_bits": np.float64(self.bits)}
        self._journal.save(message, {**arrays, **own}, done=done)

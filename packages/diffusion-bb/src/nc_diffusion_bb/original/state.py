"""What is kept of a run: the flat message, what is on it, and how far logs and decoding are.

    checkpoints/encode.safetensors   after the last batch that was kept
    checkpoints/decode.safetensors   likewise; the message shrinks to its initial words

The flat message is the original's: :func:`nc_core.ans.folding.fold`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_core.ans.folding import fold, unfold
from nc_core.ans.message import Message
from nc_core.errors import DataError
from nc_core.runs import RunDirectory
from nc_core.training.checkpoint import load_checkpoint, save_checkpoint
from nc_diffusion_bb.original.rates import Tally

__all__ = ["Decoded", "Encoded"]


@dataclass
class Encoded:
    """A message, and what is on it.

    Args:
        message: of as many lanes as a whole batch has dimensions.
        tally: its batches.
        logs: bytes of the run's logs when this was kept.
    """

    message: Message
    tally: Tally
    logs: Mapping[str, int]

    def save(self, run: RunDirectory) -> None:
        """Keep it, with the size that the logs have now."""
        self.logs = run.log_sizes()
        tally = self.tally
        arrays: dict[str, NDArray[Any]] = {
            "message": fold(self.message).view(np.int32),
            "batches": tally.batches,
            "push_bytes": tally.push_bytes,
            "pop_bytes": tally.pop_bytes,
        }
        plain = {
            "lanes": self.message.lanes,
            "dims": tally.dims,
            "initial_bytes": tally.initial_bytes,
            "extra_bytes": tally.extra_bytes,
            "logs": dict(self.logs),
        }
        save_checkpoint(_path(run, "encode"), {**_tensors(arrays), **plain})

    @classmethod
    def load(cls, run: RunDirectory) -> Encoded | None:
        """What is kept, or None.

        Raises:
            DataError: it is damaged.
        """
        path = _path(run, "encode")
        if not path.exists():
            return None
        state = _load(path, "batches", "push_bytes", "pop_bytes")
        tally = Tally(
            dims=state["dims"],
            initial_bytes=state["initial_bytes"],
            extra_bytes=state["extra_bytes"],
            batches=state["batches"],
            push_bytes=state["push_bytes"],
            pop_bytes=state["pop_bytes"],
        )
        return cls(state["message"], tally, state["logs"])


@dataclass
class Decoded:
    """A message from which batches were popped.

    Args:
        message: what is left.
        images: how many were on it at first.
        left: batches that are still on it.
        logs: bytes of the run's logs when this was kept.
    """

    message: Message
    images: int
    left: int
    logs: Mapping[str, int]

    def save(self, run: RunDirectory) -> None:
        """Keep it, with the size that the logs have now."""
        self.logs = run.log_sizes()
        state = {
            **_tensors({"message": fold(self.message).view(np.int32)}),
            "lanes": self.message.lanes,
            "images": self.images,
            "left": self.left,
            "logs": dict(self.logs),
        }
        save_checkpoint(_path(run, "decode"), state)

    @classmethod
    def load(cls, run: RunDirectory, images: int) -> Decoded | None:
        """What is kept of decoding that many images, or None.

        Raises:
            DataError: it is damaged.
        """
        path = _path(run, "decode")
        if not path.exists():
            return None
        state = _load(path)
        if state["images"] != images:  # decoded once, and then more was encoded
            return None
        return cls(state["message"], images, state["left"], state["logs"])


def _path(run: RunDirectory, name: str) -> Path:
    return run.path / "checkpoints" / f"{name}.safetensors"


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _load(path: Path, *arrays: str) -> dict[str, Any]:
    state = load_checkpoint(path)
    try:
        for name in arrays:
            state[name] = state[name].numpy()
        words = state["message"].numpy().view(np.uint32)
        state["message"] = unfold(words, state["lanes"])
    except (KeyError, AttributeError) as error:
        raise DataError(f"{path}: not a checkpoint of this command") from error
    return state

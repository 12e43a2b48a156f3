"""A model that takes many steps for one push, and a program that runs it, to be killed.

python slow_model.py compress|decompress FILE TARGET JSON-OPTIONS
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions.uniform import Uniform
from nc_core.ans.message import Message
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.container import ContainerReader
from nc_core.header import Header
from nc_core.journal import Journal
from nc_core.lossless import compress_source
from nc_core.protocols import Block, Coder
from nc_core.restore import OpenContainer, restore_files
from nc_core.sources import ArraySource
from raw_model import RawModel

STEPS = 5
GROUP = 2
_NOISE = 1 << 16


class SlowModel(RawModel):
    """Bits-back coding in steps: each pops the next latent, then pushes data and the last latent.

    Args:
        before_step: called before each.
    """

    name = "slow"
    id = "2" * 64
    journaled = True
    group = GROUP
    lanes = GROUP
    initial_words = 200
    block = Block((1,), 10, 6, 240, ("uint8",))

    def __init__(self, before_step: Callable[[], None] = lambda: None) -> None:
        self.before_step = before_step

    def push(
        self,
        coder: Coder,
        message: Message,
        blocks: NDArray[Any],
        *,
        journal: Journal | None = None,
    ) -> float:
        symbols = blocks.reshape(len(blocks), -1).T.astype(np.uint64)
        step, bits, latent = 0, 0.0, np.zeros((3, len(blocks)), np.uint64)
        state = None if journal is None else journal.state()
        if state is not None:
            step, bits, latent = int(state["step"]), float(state["bits"]), state["latent"]
        while step < STEPS:
            self.before_step()
            above = coder.pop(message, Uniform(_NOISE, latent.shape)).astype(np.uint64)
            part = symbols[step::STEPS]
            coder.push_intervals(message, part, np.ones_like(part), 8)
            coder.push_intervals(message, latent, np.ones_like(latent), 16)
            bits += 8.0 * part.size
            latent, step = above, step + 1
            if journal is not None and journal.due(step / STEPS):
                journal.save(message, {"step": step, "bits": bits, "latent": latent})
        coder.push_intervals(message, latent, np.ones_like(latent), 16)
        return bits + 16.0 * latent.size

    def pop(
        self,
        coder: Coder,
        message: Message,
        shape: tuple[int, int, int, int],
        dtype: np.dtype[Any],
        *,
        journal: Journal | None = None,
    ) -> NDArray[Any]:
        latents = Uniform(_NOISE, (3, shape[0]))
        symbols = np.zeros((int(np.prod(shape[1:])), shape[0]), np.uint8)
        state = None if journal is None else journal.state()
        if state is None:
            step, latent = STEPS, coder.pop(message, latents).astype(np.uint64)
        else:
            step, latent, symbols = int(state["step"]), state["latent"], state["symbols"]
        while step > 0:
            self.before_step()
            step -= 1
            below = coder.pop(message, latents).astype(np.uint64)
            part = symbols[step::STEPS]
            part[...] = coder.pop(message, Uniform(256, part.shape))
            coder.push_intervals(message, latent, np.ones_like(latent), 16)
            latent = below
            if journal is not None and journal.due(1 - step / STEPS):
                journal.save(message, {"step": step, "latent": latent, "symbols": symbols})
        return symbols.T.reshape(shape)


def images(count: int = 10, seed: int = 0) -> NDArray[np.uint8]:
    """Blocks of the model; four of them, two groups, make a chunk."""
    return np.random.default_rng(seed).integers(0, 256, (count, 10, 6), np.uint8)


class Countdown:
    """Logs steps, and sends this process a signal before the n-th.

    Args:
        log: a file that grows by a byte per step.
        left: steps before the signal; None for no signal.
        number: of the signal.
    """

    def __init__(self, log: Path, left: int | None = None, number: int = signal.SIGKILL) -> None:
        self._log, self._number = log, number
        self._before = itertools.count() if left is None else itertools.count(-left)
        self._send = left is not None

    def __call__(self) -> None:
        if next(self._before) == 0 and self._send:
            os.kill(os.getpid(), self._number)
            if threading.current_thread() is not threading.main_thread():
                time.sleep(0.1)  # let the main thread hear of it
        with self._log.open("ab", buffering=0) as file:
            file.write(b".")


def compress(
    path: Path, model: RawModel, array: NDArray[Any] | None = None, **options: Any
) -> None:
    """Compress the images, or others."""
    source = ArraySource(images() if array is None else array)
    compress_source(source, path, model, RansNumpy(), **options)


def decompress(path: Path, folder: Path, model: RawModel, **options: Any) -> list[Path]:
    """Restore the images of a file."""
    with path.open("rb") as file:
        reader = ContainerReader(file, path.name)
        header = Header.from_json(reader.header, path.name)
        return restore_files(OpenContainer(reader, header, model, RansNumpy()), folder, **options)


def main() -> None:
    """Do what the command line says."""
    work, path, target, text = sys.argv[1:]
    options = json.loads(text)
    steps = Countdown(Path(options.pop("log")), options.pop("left"), options.pop("signal", 9))
    if work == "compress":
        compress(Path(target), SlowModel(steps), np.load(path), **options)
    else:
        decompress(Path(path), Path(target), SlowModel(steps), **options)


if __name__ == "__main__":
    main()

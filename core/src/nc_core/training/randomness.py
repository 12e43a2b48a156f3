"""Randomness as a function of (seed, purpose, step, rank): nothing to save, nothing to restore.

Numbers come from Philox, a counter-based generator: the key holds seed and purpose, the upper
half of the counter rank and step, so that no two of these streams overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch

from nc_core.training.shards import current_shard

__all__ = ["Purpose", "drawn_alike", "philox", "seed_torch", "seeded"]


class Purpose(IntEnum):
    """What a stream of random numbers is for."""

    USER = 0
    ORDER = 1
    LOAD = 2
    START = 3
    STEP = 4
    EVALUATE = 5


def philox(seed: int, purpose: Purpose, k: int = 0, rank: int = 0) -> np.random.Philox:
    """The bit generator of a stream; its raw words are the same in every version of NumPy.

    Args:
        seed: 0 <= seed < 2 ** 64.
        purpose: what it is for.
        k: step, epoch or other counter.
        rank: of the process.
    """
    key = np.array([seed, purpose], np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, 0, rank, k], np.uint64))


def seed_torch(seed: int, purpose: Purpose, k: int = 0, rank: int = 0) -> None:
    """Seed torch's own generators, which dropout draws from and takes no other instead."""
    word = int(philox(seed, purpose, k, rank).random_raw())
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        torch.manual_seed(word)
    else:  # the same, without the stack walks that devices which are not there would cost
        torch.default_generator.manual_seed(word)


@contextmanager
def forked_generators() -> Iterator[None]:
    """Leave torch's own generators as they were."""
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if used else []
    with torch.random.fork_rng(devices):
        yield


@contextmanager
def seeded(seed: int, k: int = 0) -> Iterator[None]:
    """Draw inside the block from torch's own generators as (seed, k) says.

    For what happens outside of :func:`fit`: making a model, drawing samples.

    Example:
        >>> with seeded(config.seed):
        ...     model = Vae(config)
    """
    with forked_generators():
        seed_torch(seed, Purpose.USER, k)
        yield


@contextmanager
def drawn_alike(seed: int, k: int) -> Iterator[None]:
    """At the beginning of step k, draw inside the block what the first process draws.

    So noise can be drawn for the batch of all processes, of which each takes the rows of its own
    items: it does not depend on how many processes there are.
    """
    if current_shard().rank == 0:
        yield
        return
    with forked_generators():
        seed_torch(seed, Purpose.STEP, k)
        yield

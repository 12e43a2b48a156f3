"""Training data: batch k is a function of (seed, k, rank), and nothing else.

An epoch is a permutation of all items; step k takes its k-th slice of ``batch_size`` indices, the
incomplete last slice is dropped, and each process takes its part of the slice. So a resumed run
sees what the undisturbed one would have, and two processes see what one would have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import UsageError
from nc_core.training.randomness import Purpose, philox
from nc_core.training.shards import Shard

__all__ = ["Batches", "TrainingData"]

_AHEAD_PER_LOADER = 2


@dataclass(frozen=True)
class TrainingData:
    """Where batches come from.

    Args:
        load: makes a batch (tensors, or any nesting of tuples, lists and mappings of them) of
            the items with these indices, int64, shape (n,). The generator is for augmentation
            and is a function of (seed, k, rank). Called in threads.
        length: number of items; None for a sampler without end, whose indices never repeat.

    Example:
        >>> TrainingData(lambda indices, _: torch.from_numpy(images[indices]), len(images))
    """

    load: Callable[[NDArray[np.int64], np.random.Generator], Any]
    length: int | None = None


class Batches:
    """The batches of a training run.

    Args:
        data: where they come from.
        batch_size: items per step, of all processes together.
        seed: of the order and of the generators.

    Raises:
        UsageError: fewer items than one batch.
    """

    def __init__(self, data: TrainingData, batch_size: int, seed: int) -> None:
        self._data = data
        self._size = batch_size
        self._seed = seed
        self._orders: dict[int, NDArray[np.int64]] = {}
        self.steps_per_epoch = None if data.length is None else data.length // batch_size
        if self.steps_per_epoch == 0:
            raise UsageError(
                f"{data.length} training items are fewer than one batch of {batch_size}",
                f"--set training.batch_size={max(1, data.length or 0)}",
            )

    def indices(self, k: int, shard: Shard) -> NDArray[np.int64]:
        """Indices of this process's part of batch k, int64.

        Raises:
            UsageError: the batch cannot be divided among the processes.
        """
        if self._size % shard.world:
            raise UsageError(
                f"a batch of {self._size} cannot be divided among {shard.world} processes",
                f"--set training.batch_size={self._size + -self._size % shard.world}",
            )
        if self.steps_per_epoch is None:
            batch = np.arange(k * self._size, (k + 1) * self._size)
        else:
            epoch, step = divmod(k, self.steps_per_epoch)
            batch = self._order(epoch)[step * self._size : (step + 1) * self._size]
        return np.array_split(batch, shard.world)[shard.rank]

    def batch(self, k: int, shard: Shard) -> Any:
        """Load the part of batch k that is this process's."""
        stream = np.random.Generator(philox(self._seed, Purpose.LOAD, k, shard.rank))
        return self._data.load(self.indices(k, shard), stream)

    def stream(self, first: int, last: int, shard: Shard, loaders: int) -> Generator[Any]:
        """Batches ``first`` to ``last - 1``, loaded ahead by that many threads."""
        if loaders == 0:
            yield from (self.batch(k, shard) for k in range(first, last))
            return
        waiting: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(loaders, "nc-loader") as pool:
            try:
                for k in range(first, last):
                    waiting.append(pool.submit(self.batch, k, shard))
                    if len(waiting) > _AHEAD_PER_LOADER * loaders:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The permutation of an epoch: the order of random words, ties by index."""
        order = self._orders.get(epoch)
        if order is None:
            words = philox(self._seed, Purpose.ORDER, epoch).random_raw(self._data.length)
            order = np.argsort(words, kind="stable")
            self._orders = {epoch: order}  # a loader ahead of others may make one twice: no harm
        return order

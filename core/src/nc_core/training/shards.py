"""Which part of the work is this process's, and numbers from all processes together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor

__all__ = [
    "WHOLE",
    "Shard",
    "copy_from_first",
    "current_shard",
    "gather",
    "reduce",
    "sum_over_processes",
]


@dataclass(frozen=True)
class Shard:
    """Process ``rank`` of ``world`` processes that train together."""

    rank: int
    world: int


WHOLE = Shard(0, 1)


def current_shard() -> Shard:
    """Which process this is; ``range(shard.rank, n, shard.world)`` is its part of n items."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return Shard(dist.get_rank(), dist.get_world_size())
    return WHOLE


def reduce(fabric: Fabric, values: Tensor, how: Literal["sum", "mean"]) -> Tensor:
    """The element-wise sum or mean over all processes, in each of them."""
    return cast("Tensor", fabric.all_reduce(values, reduce_op=how))


def gather(fabric: Fabric, values: Tensor) -> Tensor:
    """The values of all processes, shape (world, ...), in each of them."""
    rows = values.new_zeros((fabric.world_size, *values.shape))
    rows[fabric.global_rank] = values
    return reduce(fabric, rows, "sum")


def sum_over_processes(values: Tensor) -> Tensor:
    """The element-wise sum over all processes, in each of them; no gradient flows through it.

    For a task, which has no Fabric: sums and counts of its part of an evaluation, say.
    """
    import torch.distributed as dist

    total = values.detach().clone()
    if current_shard().world > 1:
        dist.all_reduce(total)
    return total


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Give tensors the values that the first process has, in place."""
    import torch.distributed as dist

    if current_shard().world > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)

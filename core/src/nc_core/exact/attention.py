"""Attention of all positions to all positions.

In exact arithmetic queries, keys and values are integers, so that float64 holds their products and
sums without error. Exponentials come from a table of integers; each result is one exact sum over
another, divided and rounded once.

Reference: Ashish Vaswani et al., "Attention Is All You Need", arXiv 1706.03762, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_core.errors import UsageError
from nc_core.exact import attention_kernels as kernels
from nc_core.exact import tables
from nc_core.exact.arithmetic import exactly
from nc_core.exact.grid import FLOAT32_LIMIT, Grid
from nc_core.exact.rules import Operand, requantize
from nc_core.exact.tensor import GridTensor, on_grid, operand_of

__all__ = ["Attention", "ExactAttention", "exponentiate", "exponentiate_reference"]

# float64 holds all integers up to this one.
_FLOAT64_LIMIT = 1 << 53
# In memory at once: on the CPU as many as its caches hold, elsewhere 64 MiB.
_MOST_LOGITS = {"cpu": 1 << 19}
_MOST_LOGITS_ELSEWHERE = 1 << 23
_STEP = 2.0**-tables.EXPONENTIAL_STEP_BITS


class Attention(nn.Module):
    """Scaled dot-product attention of all positions.

    Args:
        heads: each owns a slab of 3 * c channels of the input: c of queries, keys and values.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, qkv: Tensor) -> Tensor:
        """(B, 3 * channels, positions) to (B, channels, positions)."""
        batch, channels, positions = qkv.shape
        slabs = qkv.reshape(batch, self.heads, channels // self.heads, positions)
        if qkv.device.type != "cpu":  # fused kernels take channels as the last axis
            query, key, value = slabs.transpose(2, 3).contiguous().chunk(3, dim=3)
            mixed = functional.scaled_dot_product_attention(query, key, value).transpose(2, 3)
        else:
            query, key, value = slabs.flatten(0, 1).chunk(3, dim=1)
            scale = query.shape[1] ** -0.5
            logits = torch.baddbmm(
                qkv.new_zeros(1), query.transpose(1, 2), key, beta=0, alpha=scale
            )
            mixed = torch.bmm(value, logits.softmax(dim=2).transpose(1, 2))
        return mixed.reshape(batch, channels // 3, positions)

    def lowered(self) -> ExactAttention:
        """The same in exact arithmetic."""
        return ExactAttention(self)


class ExactAttention(nn.Module):
    """Attention on grids; see :class:`Attention`."""

    kind: ClassVar[str] = "attention"

    def __init__(self, source: Attention) -> None:
        super().__init__()
        self.heads = source.heads

    def forward(self, qkv: Tensor) -> GridTensor:
        """Attention on the input's grid, or on a coarser one that has room for sums.

        Args:
            qkv: on a grid, (B, 3 * channels, positions).

        Returns:
            (B, channels, positions).

        Raises:
            UsageError: an argument without a grid, or in units that are no real numbers.
            ValueError: channels are not three parts of all heads.
        """
        values, grid = operand_of(qkv, "attention")
        if grid.unit != 1:
            raise UsageError(
                "attention meets an input whose scale is no power of two",
                "put a layer between the input and the attention",
            )
        batch, channels, positions = values.shape
        if channels % (3 * self.heads):
            raise ValueError(f"{channels} channels are not queries, keys, values of {self.heads}")
        size = channels // (3 * self.heads)
        plan = _plan(grid, size, positions)
        values, grid = requantize(Operand(values, grid), plan.grid.fraction_bits)
        units = values.double().mul_(2.0**grid.fraction_bits)
        query, key, value = units.reshape(batch * self.heads, 3 * size, positions).chunk(3, dim=1)
        mixed = exactly(values.device, _mixed, query, key, value, plan.factor)
        mixed.round_().mul_(2.0**-grid.fraction_bits)
        return on_grid(Operand(mixed.float().view(batch, channels // 3, positions), grid))

    def exact_tensors(self) -> dict[str, Tensor]:
        """None: everything is in the configuration."""
        return {}

    def exact_config(self) -> dict[str, Any]:
        """Heads and the hash of the table, as JSON."""
        table = tables.exponential_sha256(tables.exponential_table())
        return {"kind": self.kind, "heads": self.heads, "table": table}


def _mixed(query: Tensor, key: Tensor, value: Tensor, factor: float) -> Tensor:
    """Means of values, weighted for each query; all (heads, channels, positions), in units."""
    most = _MOST_LOGITS.get(value.device.type, _MOST_LOGITS_ELSEWHERE)
    mixed = torch.empty_like(value, memory_format=torch.contiguous_format)
    for some, rows in _slices(len(query), query.shape[2], most):
        logits = torch.bmm(query[some, :, rows].transpose(1, 2), key[some])
        sums = exponentiate(logits, factor)
        weighted = torch.bmm(value[some], logits.transpose(1, 2))
        torch.div(weighted, sums[:, None, :], out=mixed[some, :, rows])
    return mixed


def exponentiate(logits: Tensor, factor: float) -> Tensor:
    """Exponentials of differences to the largest of a row, as integers.

    Args:
        logits: float64 integers below 2 ** 52, (..., rows, keys); overwritten with
            round(exp(logit - largest) * 2 ** 20), integers too.
        factor: steps of the table of exponentials for each unit of a logit.

    Returns:
        their sums, float64, (..., rows).
    """
    if logits.device.type != "cpu" or not logits.is_contiguous():
        return exponentiate_reference(logits, factor)
    sums = torch.empty(logits.shape[:-1], dtype=torch.float64)
    if logits.numel():
        table = tables.exponential_table()
        rows = logits.view(-1, logits.shape[-1]).numpy()
        kernels.exponentiate(rows, sums.view(-1).numpy(), factor, _STEP, table)
    return sums


def exponentiate_reference(logits: Tensor, factor: float) -> Tensor:
    """As :func:`exponentiate`, in PyTorch."""
    table = _table_on(logits.device)
    arguments = (logits.amax(-1, keepdim=True) - logits).mul_(factor).clamp_(max=len(table) - 1)
    nearest = arguments.round()
    slopes = 1.0 - arguments.sub_(nearest).mul_(_STEP)
    logits.copy_(table[nearest.long()].mul_(slopes).round_())
    return logits.sum(-1)


def _slices(heads: int, positions: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Heads of examples, and rows of their queries, which have at most so many logits.

    A row is never cut.
    """
    rows = max(min(most // max(positions, 1), positions), 1)
    some = max(most // max(rows * positions, 1), 1)
    for head in range(0, heads, some):
        for row in range(0, positions, rows):
            yield slice(head, head + some), slice(row, row + rows)


class _Plan(NamedTuple):
    grid: Grid
    factor: float


@cache
def _plan(grid: Grid, size: int, positions: int) -> _Plan:
    """The grid on which all sums are exact, and the logits' factor.

    Products of queries and keys: size * limit ** 2 < 2 ** 52. Weighted values: positions *
    2 ** 20 * limit <= 2 ** 53.
    """
    most = min(
        math.isqrt((_FLOAT64_LIMIT // 2 - 1) // size),
        (_FLOAT64_LIMIT >> tables.EXPONENTIAL_BITS) // positions,
        FLOAT32_LIMIT,
    )
    coarse = grid.within(most)
    # Queries and keys are each divided by the fourth root of their size.
    scale = math.ldexp(1.0, tables.EXPONENTIAL_STEP_BITS - 2 * coarse.fraction_bits)
    return _Plan(coarse, scale / math.sqrt(size))


@cache
def _table_on(device: torch.device) -> Tensor:
    return torch.tensor(tables.exponential_table(), dtype=torch.float64, device=device)

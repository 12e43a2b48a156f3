"""The inner maximisation ``C_k``: hill climbs on the objective, all starts of a minibatch together.

Each start has its own Adam (epsilon outside of the bias correction) and stops when two successive
values differ by less than a tolerance. What a climb returns is the last value it computed, or its
start where that is higher: too large a step may lead down. The gradient needs no network: it points
to the mean of the samples, weighted by their shares in the objective. Vectors on the CPU climb in a
compiled kernel; images, and whatever is on a GPU, as masked batches of bounded size, which starts
that have stopped leave.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from nc_core.errors import WorkError
from nc_core.parallel import in_order
from nc_rd_bounds.lower.objective import log_objective_at_samples, pairwise_mse

__all__ = ["Climbs", "Maximum", "Search", "climb", "maximise", "refined"]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-7
_FULL_ENOUGH = 0.8  # share of a batch still climbing below which the others are dropped
_ELEMENTS = {"cpu": 1 << 17, "cuda": 1 << 26}  # of a (starts, k) matrix: what caches or memory hold
_MOST_DIMS_COMPILED = 128
_STARTS_PER_THREAD = 32
_REFINED = 16
_REFINEMENT_STEPS = 1000
_REFINEMENT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Search:
    """How to look for the maximum.

    Args:
        start: climb from all samples (``exhaustive``), or from the best few (``quick``).
        topn: how many, if quick.
        steps: most steps of a climb; 0 takes the best sample.
        lr: Adam's step size, in units of the data.
        tol: a climb ends where two successive values differ by less, in nats.
        chunk: starts that climb at once; None for what the memory suggests.
        refine: go on from the best ends by mean shift, which never descends.
    """

    start: Literal["quick", "exhaustive"] = "quick"
    topn: int = 10
    steps: int = 1000
    lr: float = 1e-2
    tol: float = 1e-6
    chunk: int | None = None
    refine: bool = False

    def exhaustive(self) -> Search:
        """The same from all samples."""
        return replace(self, start="exhaustive")

    def scaled(self, unit: float) -> Search:
        """The same in data of so large a unit."""
        return replace(self, lr=self.lr * unit)


@dataclass(frozen=True, eq=False)
class Climbs:
    """Where climbs ended.

    Args:
        y: their ends, (S, n).
        values: the objective there, (S,), in nats; where the steps ran out, one step before.
        steps: at which each stopped, int64, (S,); -1 where the steps ran out.
        heights: the objective at their starts, (S,), in nats.
    """

    y: Tensor
    values: Tensor
    steps: Tensor
    heights: Tensor

    def at_least(self, starts: Tensor) -> Climbs:
        """The same, with the start (S, n) in place of an end that is lower."""
        fell = self.heights > self.values
        y = torch.where(fell[:, None], starts, self.y)
        return replace(self, y=y, values=torch.where(fell, self.heights, self.values))


@dataclass(frozen=True, eq=False)
class Maximum:
    """The highest end of the climbs of a minibatch.

    Args:
        y: where, (n,).
        value: ``log C_k``, in nats.
        climbs: all of them.
    """

    y: Tensor
    value: float
    climbs: Climbs


def maximise(x: Tensor, log_u: Tensor, lamb: float, search: Search) -> Maximum:
    """``log C_k`` of a minibatch.

    Args:
        x: minibatch, float32, (k, n).
        log_u: logarithm of u there, (k,); no gradient flows into it.
        lamb: lambda, in nats per unit of mean squared error.
        search: how to look.

    Raises:
        WorkError: the network or the data are not finite.
    """
    x, log_u = x.detach(), log_u.detach()
    if not bool(torch.isfinite(log_u).all()):
        raise WorkError(
            "log u of a sample is not finite: the network has diverged",
            "lower the learning rate, or look for extreme samples",
        )
    if search.start == "exhaustive" and search.steps > 0:
        climbs = climb(x, x, log_u, lamb, search).at_least(x)
    else:
        heights = _heights(x, log_u, lamb, search)
        count = min(search.topn, len(x)) if search.start == "quick" else len(x)
        best = torch.argsort(heights, stable=True)[-count:]
        if search.steps > 0:
            climbs = climb(x[best], x, log_u, lamb, search).at_least(x[best])
        else:
            climbs = Climbs(x[best], heights[best], torch.zeros_like(best), heights[best])
    if search.refine:
        climbs = refined(climbs, x, log_u, lamb)
    highest = int(climbs.values.argmax())
    return Maximum(climbs.y[highest], float(climbs.values[highest]), climbs)


def _heights(x: Tensor, log_u: Tensor, lamb: float, search: Search) -> Tensor:
    """The objective at every sample, (k,): what a climb computes before its first step."""
    if _is_compiled(x):
        return _climb_compiled(x, x, log_u, lamb, replace(search, steps=1)).values
    return log_objective_at_samples(x, log_u, lamb, search.chunk)


def _is_compiled(x: Tensor) -> bool:
    """Whether climbs in the space of these samples are those of the kernel."""
    return x.device.type == "cpu" and x.shape[1] <= _MOST_DIMS_COMPILED and x.dtype == torch.float32


def climb(starts: Tensor, x: Tensor, log_u: Tensor, lamb: float, search: Search) -> Climbs:
    """Climb from every start.

    Args:
        starts: (S, n).
        x: minibatch, (k, n).
        log_u: logarithm of u there, (k,).
        lamb: lambda.
        search: how to climb.
    """
    if _is_compiled(x):
        return _climb_compiled(starts, x, log_u, lamb, search)
    limit = _ELEMENTS.get(x.device.type, _ELEMENTS["cpu"])
    size = search.chunk or max(1, limit // len(x))
    parts = [_climb_batch(part, x, log_u, lamb, search) for part in torch.split(starts, size)]
    return Climbs(
        torch.cat([part.y for part in parts]),
        torch.cat([part.values for part in parts]),
        torch.cat([part.steps for part in parts]),
        torch.cat([part.heights for part in parts]),
    )


def _climb_compiled(
    starts: Tensor, x: Tensor, log_u: Tensor, lamb: float, search: Search
) -> Climbs:
    """Climbs of vectors on the CPU; torch's number of threads share them."""
    from nc_rd_bounds.lower.climb_kernel import climb_all

    columns, fixed = x.T.contiguous().numpy(), (-log_u).contiguous().numpy()
    ends = torch.empty_like(starts)
    values, heights = starts.new_empty(len(starts)), starts.new_empty(len(starts))
    stops = torch.empty(len(starts), dtype=torch.int64)
    rows = [tensor.numpy() for tensor in (starts.contiguous(), ends, values, heights, stops)]

    def climb_part(part: slice) -> None:
        first, *results = (array[part] for array in rows)
        climb_all(first, columns, fixed, lamb, search.steps, search.lr, search.tol, *results)

    threads = min(torch.get_num_threads(), -(-len(starts) // _STARTS_PER_THREAD))
    size = -(-len(starts) // threads)
    parts = [slice(begin, begin + size) for begin in range(0, len(starts), size)]
    deque(in_order(climb_part, parts, threads), maxlen=0)
    return Climbs(ends, values, stops, heights)


def _climb_batch(starts: Tensor, x: Tensor, log_u: Tensor, lamb: float, search: Search) -> Climbs:
    """All climbs of a batch, step by step.

    Distances are taken from the starts: with ``y = start + d`` the exponents are
    ``-lambda mse(x_i, start) - log u_i + 2 lambda/n (x_i - start) . d - lambda/n |d|^2``. The first
    two terms stay, the third is one matrix product, and all are small where it matters.
    """
    rate = 2.0 * lamb / x.shape[1]
    centre = x.mean(dim=0)
    centred = x - centre
    origin = starts - centre
    columns = centred.T.contiguous()
    fixed = pairwise_mse(starts, x).mul_(-lamb).sub_(log_u)
    offset = torch.zeros_like(starts)
    first, second = torch.zeros_like(starts), torch.zeros_like(starts)
    previous = starts.new_full((len(starts),), math.inf)
    rows = torch.arange(len(starts), device=x.device)
    ends, values = starts.clone(), torch.full_like(previous, -math.inf)
    heights = values
    stops = torch.full_like(rows, -1)
    climbing = torch.ones_like(rows, dtype=torch.bool)
    for step in range(search.steps):
        weights = torch.addmm(fixed, offset, columns, alpha=rate)
        top = weights.amax(dim=1, keepdim=True)
        weights.sub_(top).exp_()
        total = weights.sum(dim=1, keepdim=True)
        shift = (weights @ centred).div_(total).sub_(origin)
        height = (total.log() + top).squeeze(1)
        height = height - rate * (offset * (origin + 0.5 * offset)).sum(dim=1)
        values[rows] = torch.where(climbing, height, values[rows])
        if step == 0:
            heights = height.clone()
        stopping = climbing & ((previous - height).abs() < search.tol)
        if bool(stopping.any()):
            ended = rows[stopping]
            ends[ended], stops[ended] = (starts[ended] + offset[stopping]), step
            climbing = climbing & ~stopping
            left = int(climbing.sum())
            if left == 0:
                break
            if left < _FULL_ENOUGH * len(rows):
                keep = climbing.nonzero().squeeze(1)
                rows, fixed, origin, offset = rows[keep], fixed[keep], origin[keep], offset[keep]
                first, second, shift = first[keep], second[keep], shift[keep]
                height, climbing = height[keep], climbing[keep]
        previous = height
        gradient = shift.sub_(offset).mul_(-rate)
        first.lerp_(gradient, 1 - _BETA1)
        second.lerp_(gradient.square_(), 1 - _BETA2)
        size = search.lr * math.sqrt(1 - _BETA2 ** (step + 1)) / (1 - _BETA1 ** (step + 1))
        offset = offset.addcdiv(first, second.sqrt().add_(_EPSILON), value=-size)
    else:
        late = rows[climbing]
        ends[late] = starts[late] + offset[climbing]
    log_k = math.log(len(x))
    return Climbs(ends, values - log_k, stops, heights - log_k)


def refined(climbs: Climbs, x: Tensor, log_u: Tensor, lamb: float) -> Climbs:
    """The best climbs, continued in float64 by ``y <- sum_i w_i x_i``, which never descends.

    The w_i are the shares of the samples in the objective. Returns at most 16 climbs, with their
    values at their ends.
    """
    best = climbs.values.topk(min(_REFINED, len(climbs.values))).indices
    centres, exponents = x.double(), -log_u.double()
    y, before = climbs.y[best].double(), torch.full((len(best),), -math.inf, device=x.device)
    for _ in range(_REFINEMENT_STEPS):
        logits = exponents - lamb * pairwise_mse(y, centres)
        heights = torch.logsumexp(logits, dim=1)
        if bool((heights - before < _REFINEMENT_TOLERANCE).all()):
            break
        before = heights
        y = torch.softmax(logits, dim=1) @ centres
    values = (heights - math.log(len(x))).to(x.dtype)
    return Climbs(y.to(x.dtype), values, climbs.steps[best], climbs.heights[best])

"""Symbols and distributions that every coder must code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.distributions import Bernoulli, Categorical, Uniform
from nc_core.protocols import Distribution

__all__ = ["CoderCase", "coder_cases"]


@dataclass(frozen=True)
class CoderCase:
    """Symbols, (steps, lanes), with their distribution and what to call them in a message."""

    label: str
    symbols: NDArray[np.int64]
    distribution: Distribution

    def __str__(self) -> str:
        steps, lanes = self.symbols.shape
        return f"{self.label} ({steps} steps, {lanes} lanes)"


def coder_cases(max_precision: int) -> Iterator[CoderCase]:
    """Random and extreme symbols of several families; no, one and odd numbers of steps and lanes.

    Args:
        max_precision: bits of the finest distribution that the coder takes.
    """
    generator = np.random.default_rng(0)
    fine = min(28, max_precision)
    for shape in ((1000, 1), (101, 3), (17, 64), (1, 1), (0, 2), (1, 5)):
        symbols = generator.integers(0, 251, shape)
        yield CoderCase("random bytes below 251", symbols, Uniform(251, shape, fine))
    shape = (200, 7)
    for label, symbol in (("only the first symbol", 0), ("only the last symbol", 255)):
        yield CoderCase(label, np.full(shape, symbol), Uniform(256, shape))
    coins = (generator.random(shape) < 0.01).astype(np.int64)
    almost = np.full(shape, (1 << fine) - 1)
    yield CoderCase("rare ones", coins, Bernoulli(almost, fine))
    counts = _counts(generator, min(16, max_precision))
    drawn = generator.choice(len(counts), shape, p=counts / counts.sum())
    yield CoderCase("categorical with impossible symbols", drawn, Categorical(counts, shape))
    yield CoderCase("one precision bit", generator.integers(0, 2, shape), Uniform(2, shape, 1))
    finest = generator.integers(0, 1 << fine, shape)
    yield CoderCase("the finest uniform", finest, Uniform(1 << fine, shape))
    foreign = _Foreign(Uniform(1000, shape, fine))
    yield CoderCase("somebody else's distribution", generator.integers(0, 1000, shape), foreign)


def _counts(generator: np.random.Generator, precision: int) -> NDArray[np.int64]:
    """Frequencies of 40 symbols that sum to 2 ** precision; every fifth is impossible."""
    weights = generator.random(40) ** 4 + 1e-3
    weights[::5] = 0
    counts = np.floor(weights / weights.sum() * (1 << precision)).astype(np.int64)
    counts[weights > 0] += counts[weights > 0] == 0
    counts[counts.argmax()] += (1 << precision) - counts.sum()
    return np.asarray(counts, np.int64)


class _Foreign:
    """A distribution with nothing but what the protocol asks for."""

    def __init__(self, inner: Distribution) -> None:
        self._inner = inner
        self.precision, self.shape = inner.precision, inner.shape

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        return self._inner.intervals(symbols)

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        return self._inner.locate(step, counts)

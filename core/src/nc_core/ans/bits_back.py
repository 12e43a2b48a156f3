"""Bits-back coding of data with a chain of latents, in its two orders.

A chain has latents z_1 ... z_depth above the data x = z_0: a model p(z_0 | z_1) ... p(z_depth)
and an approximate posterior q(z_1 | z_0) q(z_2 | z_1) ... . To push x, latents are drawn by
*popping* them from the message under q, and variables are pushed under p. The message grows by

    sum over levels of  -log2 p(z_{l} | z_{l+1}) + log2 q(z_{l+1} | z_l),  and -log2 p(z_depth),

whose expectation is the negative evidence lower bound, in either order:

    BB-ANS      pop z_1, pop z_2, ..., pop z_depth; push z_0, push z_1, ..., push z_depth
    Bit-Swap    pop z_1, push z_0; pop z_2, push z_1; ...; then push z_depth

Popping is the exact reversal, the last step first, and leaves the message as it was.

The orders differ in what a first push borrows from the initial words of the message, which is
paid once per message. BB-ANS borrows the information of all latents, which grows with depth.
Bit-Swap borrows that of z_1; later pops mostly find what was pushed just before, so that its
need hardly depends on depth. ``Message.low_water`` measures it.

References: James Townsend, Tom Bird, David Barber, "Practical Lossless Compression with Latent
Variables using Bits Back Coding", arXiv 1901.04866; Friso Kingma, Pieter Abbeel, Jonathan Ho,
"Bit-Swap: Recursive Bits-Back Coding for Lossless Compression with Hierarchical Latent
Variables", arXiv 1905.06845, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message
from nc_core.errors import CorruptFileError, WorkError
from nc_core.protocols import Coder, Distribution

__all__ = [
    "Chain",
    "Step",
    "borrow",
    "pop_bb_ans",
    "pop_bit_swap",
    "push_bb_ans",
    "push_bit_swap",
    "push_symbols",
]


class Chain(Protocol):
    """Latent variables in a row above the data, level 0.

    Every variable is an array of symbols, (steps, lanes), integers; shapes may differ from
    level to level. Both sides must get equal integers from equal arguments.

    Attributes:
        depth: number of latent levels; 0 codes the data under the prior.
    """

    depth: int

    def prior(self) -> Distribution:
        """p(z_depth)."""
        ...

    def likelihood(self, level: int, above: NDArray[Any]) -> Distribution:
        """p(z_level | z_{level+1} = above), 0 <= level < depth."""
        ...

    def posterior(self, level: int, below: NDArray[Any]) -> Distribution:
        """q(z_level | z_{level-1} = below), 1 <= level <= depth."""
        ...


class Step(NamedTuple):
    """How far coding in Bit-Swap's order has come, for who watches it or goes on from there.

    Attributes:
        level: pushing: levels whose latent was drawn; depth + 1 when the prior was pushed too.
            Popping: the level of ``variable``.
        variable: the one that is neither on the message nor done with.
        bits: net information so far.
        pushed, popped: information of this step's push and pop, in bits.
    """

    level: int
    variable: NDArray[Any]
    bits: float = 0.0
    pushed: float = 0.0
    popped: float = 0.0


Watch = Callable[[Step], object]


def push_bit_swap(
    coder: Coder,
    message: Message,
    chain: Chain,
    data: NDArray[Any],
    *,
    start: Step | None = None,
    watch: Watch | None = None,
) -> float:
    """Push data, drawing every latent just before it is needed.

    Args:
        coder: of any kind.
        message: changes in place; undefined after an error.
        chain: the model and its approximate posterior.
        data: integers, (steps, lanes).
        start: to go on from, with the message as it was at that step.
        watch: called after every step.

    Returns:
        Net information at the latents that were drawn, in bits: pushed minus popped, without
        the losses of the coder. Pairs with the growth of the message.

    Raises:
        WorkError: the message ran out of words to borrow.
        ValueError: a symbol that its distribution cannot code.
    """
    step = Step(0, data) if start is None else start
    while step.level < chain.depth:
        level = step.level + 1
        latent, borrowed = borrow(coder, message, chain.posterior(level, step.variable))
        pushed = push_symbols(coder, message, chain.likelihood(level - 1, latent), step.variable)
        step = Step(level, latent, step.bits + pushed - borrowed, pushed, borrowed)
        if watch is not None:
            watch(step)
    pushed = push_symbols(coder, message, chain.prior(), step.variable)
    if watch is not None:
        watch(Step(chain.depth + 1, step.variable, step.bits + pushed, pushed))
    return step.bits + pushed


def pop_bit_swap(
    coder: Coder,
    message: Message,
    chain: Chain,
    *,
    start: Step | None = None,
    watch: Watch | None = None,
) -> NDArray[np.int64]:
    """Pop what ``push_bit_swap`` pushed.

    Args:
        coder: of any kind.
        message: changes in place; undefined after an error.
        chain: the model and its approximate posterior.
        start: to go on from, with the message as it was at that step.
        watch: called after every step.

    Returns:
        The data, (steps, lanes).

    Raises:
        CorruptFileError: the stack is empty.
    """
    step = Step(chain.depth, coder.pop(message, chain.prior())) if start is None else start
    while step.level:
        level, above = step.level, step.variable
        below = coder.pop(message, chain.likelihood(level - 1, above))
        coder.push(message, above, chain.posterior(level, below))
        step = Step(level - 1, below)
        if watch is not None:
            watch(step)
    return step.variable


def push_bb_ans(coder: Coder, message: Message, chain: Chain, data: NDArray[Any]) -> float:
    """Push data, drawing all latents first; otherwise as ``push_bit_swap``."""
    variables, bits = [data], 0.0
    for level in range(1, chain.depth + 1):
        latent, borrowed = borrow(coder, message, chain.posterior(level, variables[-1]))
        variables.append(latent)
        bits -= borrowed
    for level in range(chain.depth):
        likelihood = chain.likelihood(level, variables[level + 1])
        bits += push_symbols(coder, message, likelihood, variables[level])
    return bits + push_symbols(coder, message, chain.prior(), variables[-1])


def pop_bb_ans(coder: Coder, message: Message, chain: Chain) -> NDArray[np.int64]:
    """Pop what ``push_bb_ans`` pushed; otherwise as ``pop_bit_swap``."""
    variables = [coder.pop(message, chain.prior())]
    for level in range(chain.depth - 1, -1, -1):
        variables.append(coder.pop(message, chain.likelihood(level, variables[-1])))
    variables.reverse()
    for level in range(chain.depth, 0, -1):
        coder.push(message, variables[level], chain.posterior(level, variables[level - 1]))
    return variables[0]


def push_symbols(
    coder: Coder, message: Message, distribution: Distribution, symbols: NDArray[Any]
) -> float:
    """Push symbols, (steps, lanes); returns their information in bits."""
    starts, freqs = distribution.intervals(symbols)
    coder.push_intervals(message, starts, freqs, distribution.precision)
    return _information(freqs, distribution.precision)


def borrow(
    coder: Coder, message: Message, distribution: Distribution
) -> tuple[NDArray[np.int64], float]:
    """Draw symbols, (steps, lanes), by popping them; returns them and their information in bits.

    Raises:
        WorkError: the message ran out of words to borrow.
    """
    try:
        symbols = coder.pop(message, distribution)
    except CorruptFileError as error:
        raise WorkError(
            "bits-back coding ran out of initial words to borrow",
            f"start the message with more than {message.initial_words} initial words",
        ) from error
    _, freqs = distribution.intervals(symbols)
    return symbols, _information(freqs, distribution.precision)


def _information(freqs: NDArray[np.uint64], precision: int) -> float:
    """Bits of intervals of that many counts out of ``2 ** precision``."""
    return precision * freqs.size - float(np.log2(freqs.astype(np.float64)).sum())

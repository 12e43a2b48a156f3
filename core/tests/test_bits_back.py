"""Bits-back coding on small chains of tables, whose exact cost is known by enumeration."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans.bits_back import pop_bb_ans, pop_bit_swap, push_bb_ans, push_bit_swap
from nc_core.ans.distributions import Categorical
from nc_core.ans.message import Message
from nc_core.ans.rans import Rans
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.errors import CorruptFileError, WorkError

PRECISION = 24
ORDERS = {"bb-ans": (push_bb_ans, pop_bb_ans), "bit-swap": (push_bit_swap, pop_bit_swap)}


def frequencies(pmf):
    """Integer tables close to a pmf, every symbol possible."""
    total = 1 << PRECISION
    freqs = 1 + np.floor(pmf * (total - pmf.shape[-1])).astype(np.int64)
    freqs[..., 0] += total - freqs.sum(axis=-1)
    return freqs


@dataclass
class TableChain:
    """A chain whose conditional distributions are rows of tables.

    ``likelihoods[l]`` is (symbols of z_{l+1}, symbols of z_l), ``posteriors[l]`` is
    (symbols of z_l, symbols of z_{l+1}), both integer frequencies.
    """

    likelihoods: list[NDArray[np.int64]]
    posteriors: list[NDArray[np.int64]]
    top: NDArray[np.int64]
    shape: tuple[int, int]

    @property
    def depth(self):
        return len(self.likelihoods)

    def prior(self):
        return Categorical(self.top, self.shape)

    def likelihood(self, level, above):
        return Categorical(self.likelihoods[level][above])

    def posterior(self, level, below):
        return Categorical(self.posteriors[level - 1][below])

    def costs(self, symbol):
        """Probability under q of every path of latents above a symbol, and its cost in bits."""
        chances, costs = [], []
        sizes = [range(len(table)) for table in self.likelihoods]
        for path in product([symbol], *sizes):
            pairs = list(pairwise(path))
            q = [self.posteriors[level][pair] for level, pair in enumerate(pairs)]
            p = [self.likelihoods[level][pair[::-1]] for level, pair in enumerate(pairs)]
            q, p = np.array(q) / 2**PRECISION, np.array([*p, self.top[path[-1]]]) / 2**PRECISION
            chances.append(q.prod())
            costs.append(np.log2(q).sum() - np.log2(p).sum())
        return np.array(chances), np.array(costs)


def random_chain(sizes, shape, exact=False, seed=0):
    """Sizes of the alphabets of z_0, z_1, ...; ``exact``: the posterior is the model's own."""
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.ones(sizes[-1]))
    pairs = list(pairwise(sizes))
    likelihoods = [rng.dirichlet(np.full(below, 0.5), above) for below, above in pairs]
    posteriors, marginal = [], prior
    for likelihood in reversed(likelihoods):
        joint = likelihood * marginal[:, None]
        marginal = joint.sum(axis=0)
        posteriors.insert(0, (joint / marginal).T)
    if not exact:
        posteriors = [0.7 * table + 0.3 / table.shape[1] for table in posteriors]
    return TableChain(
        [frequencies(table) for table in likelihoods],
        [frequencies(table) for table in posteriors],
        frequencies(prior),
        shape,
    )


def random_data(symbols, shape, seed=0):
    return np.random.default_rng(seed).integers(0, symbols, shape)


@pytest.fixture(params=ORDERS)
def order(request):
    return ORDERS[request.param]


@pytest.fixture(params=[Rans, RansNumpy])
def coder(request):
    return request.param()


@pytest.mark.parametrize("sizes", [(5,), (4, 3), (5, 3, 4), (6, 4, 3, 5)])
@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (30, 8)])
def test_data_and_initial_words_come_back(coder, order, sizes, shape):
    push, pop = order
    chain = random_chain(sizes, shape)
    message = Message(8, initial_words=200, seed=3)
    blocks = [random_data(sizes[0], shape, seed) for seed in range(4)]
    for block in blocks:
        push(coder, message, chain, block)
    for block in reversed(blocks):
        assert np.array_equal(pop(coder, message, chain), block)
    assert message.is_initial()


class PooledChain(TableChain):
    """One latent for each lane of data, whatever the number of steps."""

    def likelihood(self, level, above):
        return super().likelihood(level, np.repeat(above, self.shape[0], axis=0))

    def posterior(self, level, below):
        return super().posterior(level, below.sum(axis=0, keepdims=True) % 5)

    def prior(self):
        return Categorical(self.top, (1, self.shape[1]))


def test_levels_may_differ_in_shape_and_use_fewer_lanes(coder, order):
    push, pop = order
    chain = PooledChain(**vars(random_chain((5, 4), (30, 3))))
    message = Message(8, initial_words=20, seed=3)
    data = random_data(5, (30, 3))
    push(coder, message, chain, data)
    assert np.array_equal(pop(coder, message, chain), data)
    assert message.is_initial()


@pytest.mark.parametrize("sizes", [(5, 3, 4), (6, 4, 3, 5)])
def test_the_expected_cost_is_the_negative_elbo(order, sizes):
    push, _ = order
    shape = (500, 8)
    chain = random_chain(sizes, shape)
    data = random_data(sizes[0], shape)
    mean = variance = 0.0
    for symbol, count in enumerate(np.bincount(data.ravel())):
        chances, costs = chain.costs(symbol)
        expected = chances @ costs
        mean += count * expected
        variance += count * (chances @ (costs - expected) ** 2)
    message = Message(8, initial_words=4000, seed=1)
    bits = push(RansNumpy(), message, chain, data)
    assert bits == pytest.approx(mean, abs=4 * variance**0.5)
    # The paired claim is sharp: the message grew by what was returned.
    assert message.bits - Message(8, 4000, 1).bits == pytest.approx(bits, rel=1e-4)


@pytest.mark.parametrize("sizes", [(6, 4), (5, 3, 4), (6, 4, 3, 5)])
def test_with_the_exact_posterior_the_cost_is_the_evidence(coder, order, sizes):
    push, _ = order
    shape = (100, 8)
    chain = random_chain(sizes, shape, exact=True)
    data = random_data(sizes[0], shape)
    evidence = 0.0
    for symbol, count in enumerate(np.bincount(data.ravel())):
        chances, costs = chain.costs(symbol)
        evidence -= count * np.log2((chances * 2.0**-costs).sum())
    message = Message(8, initial_words=1000, seed=2)
    bits = push(coder, message, chain, data)
    assert bits == pytest.approx(evidence, rel=1e-4)
    assert message.bits - Message(8, 1000, 2).bits == pytest.approx(bits, rel=1e-4)


def test_without_latents_the_prior_codes_the_data(order):
    push, pop = order
    chain = random_chain((9,), (40, 2))
    data = random_data(9, (40, 2))
    message = Message(2)
    bits = push(RansNumpy(), message, chain, data)
    assert bits == pytest.approx(-np.log2(chain.top[data] / 2**PRECISION).sum())
    assert np.array_equal(pop(RansNumpy(), message, chain), data)


def borrowed_bits(push, depth):
    """Initial bits that one block of latents of 64 values, 3 bits apart, costs."""
    values = np.arange(64)
    distance = np.minimum((values[:, None] - values) % 64, (values - values[:, None]) % 64)
    table = np.exp(-0.5 * distance**2)
    table = frequencies(table / table.sum(axis=1, keepdims=True))
    top = np.full(64, (1 << PRECISION) // 64)
    chain = TableChain([table] * depth, [table] * depth, top, (100, 8))
    message = Message(8, initial_words=2000, seed=5)
    push(RansNumpy(), message, chain, random_data(64, (100, 8)))
    return 32 * (message.initial_words - message.low_water)


def test_what_bit_swap_borrows_does_not_grow_with_depth():
    bit_swap = {depth: borrowed_bits(push_bit_swap, depth) for depth in (1, 2, 4, 8)}
    bb_ans = {depth: borrowed_bits(push_bb_ans, depth) for depth in (1, 2, 4, 8)}
    assert bit_swap[1] == bb_ans[1]
    assert bit_swap[8] < 1.15 * bit_swap[1]
    assert bb_ans[8] > 7 * bb_ans[1]
    for depth in (2, 4, 8):
        assert bit_swap[depth] < 0.7 * bb_ans[depth]


def test_a_push_that_cannot_borrow_enough_says_so(coder, order):
    push, _ = order
    message = Message(4, initial_words=2, seed=1)
    with pytest.raises(WorkError, match="initial words") as failure:
        push(coder, message, random_chain((5, 9, 9), (200, 4)), random_data(5, (200, 4)))
    assert "more than 2" in str(failure.value)


def test_a_pop_from_an_exhausted_message_is_refused(coder, order):
    push, pop = order
    chain = random_chain((5, 3), (300, 4))
    message = Message(4, initial_words=300, seed=1)
    push(coder, message, chain, random_data(5, (300, 4)))
    words = message.to_words()
    with pytest.raises(CorruptFileError):
        pop(coder, Message.from_words(words[:20], 4), chain)


def test_an_impossible_symbol_is_refused(coder, order):
    push, _ = order
    chain = random_chain((3, 2), (1, 1))
    chain.likelihoods[0][:, 2] = 0
    chain.likelihoods[0][:, 0] = (1 << PRECISION) - chain.likelihoods[0][:, 1]
    with pytest.raises(ValueError, match="impossible"):
        push(coder, Message(1, 10, 0), chain, np.array([[2]]))

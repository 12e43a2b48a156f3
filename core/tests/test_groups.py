"""Blocks in groups: that they come back, what their sizes cost, and going on within a group."""

from __future__ import annotations

import numpy as np
import pytest

from nc_core.ans.bits_back import borrow, push_symbols
from nc_core.ans.distributions import Uniform
from nc_core.ans.groups import measure_groups, pop_groups, push_groups
from nc_core.ans.message import Message
from nc_core.ans.rans import Rans
from nc_core.errors import CorruptFileError, WorkError

SAMPLES, LARGEST = 40, 16


class Toy:
    """Blocks of ``kept`` bits a sample that borrow ``drawn`` bits a sample."""

    def __init__(self, drawn, kept=8, words=5_000):
        self.coder, self.message = Rans(), Message(1, words, seed=3)
        self.drawn, self.kept = drawn, kept
        self.groups = []

    def push(self, group):
        self.groups.append(group)
        shape = ((group.stop - group.start) * SAMPLES, 1)
        latents, borrowed = borrow(self.coder, self.message, Uniform(1 << self.drawn, shape))
        pushed = push_symbols(
            self.coder, self.message, Uniform(1 << self.kept, shape), self.blocks(group)
        )
        pushed += push_symbols(self.coder, self.message, Uniform(1 << self.drawn, shape), latents)
        return pushed - borrowed

    def pop(self, group):
        self.groups.append(group)
        shape = ((group.stop - group.start) * SAMPLES, 1)
        latents = self.coder.pop(self.message, Uniform(1 << self.drawn, shape))
        popped = self.coder.pop(self.message, Uniform(1 << self.kept, shape))
        np.testing.assert_array_equal(popped, self.blocks(group))
        self.coder.push(self.message, latents, Uniform(1 << self.drawn, shape))

    def push_all(self, count, **options):
        return push_groups(self.coder, self.message, count, LARGEST, self.push, **options)

    def pop_all(self, count, **options):
        pop_groups(self.coder, self.message, count, LARGEST, self.pop, **options)

    def taken_sizes(self):
        sizes = [group.stop - group.start for group in self.groups]
        self.groups = []
        return sizes

    def blocks(self, group):
        numbers = np.repeat(np.arange(group.start, group.stop), SAMPLES)
        return (numbers % (1 << self.kept))[:, None]


@pytest.mark.parametrize("powers", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 40, 100])
@pytest.mark.parametrize("drawn", [1, 20])
def test_what_was_pushed_comes_back(count, powers, drawn):
    toy = Toy(drawn)
    assert toy.push_all(count, powers=powers) == pytest.approx(count * SAMPLES * toy.kept)
    pushed = toy.taken_sizes()
    assert sum(pushed) == count
    toy.pop_all(count, powers=powers)
    assert toy.taken_sizes() == pushed[::-1]
    assert toy.message.is_initial()


@pytest.mark.parametrize(("drawn", "kept", "largest"), [(1, 8, 16), (28, 1, 1)])
def test_sizes_that_are_powers_cost_a_fraction_of_a_bit_each(drawn, kept, largest):
    """Whether groups soon are as large as they may be, or every block goes alone."""
    toy, sizeless = Toy(drawn, kept), Toy(drawn, kept)
    count = 64 if largest > 1 else 40
    toy.push_all(count, powers=True)
    for group in list(toy.groups):
        sizeless.push(group)
    sizes = toy.taken_sizes()
    assert max(sizes) == largest
    assert toy.message.bits - sizeless.message.bits < 8 + 0.25 * len(sizes)


@pytest.mark.parametrize("powers", [False, True])
def test_pushing_goes_on_before_a_group_and_popping_within(powers):
    whole, parts = Toy(2), Toy(2)
    whole.push_all(40, powers=powers)
    states = []

    def push(group):
        states.append((group, parts.message.copy()))
        return parts.push(group)

    push_groups(parts.coder, parts.message, 40, LARGEST, push, powers=powers)
    for group, message in states:
        parts.message.take(message)
        parts.push_all(40, powers=powers, first=group)
        assert parts.message.bits == whole.message.bits
        np.testing.assert_array_equal(parts.message.to_words(), whole.message.to_words())

    states.clear()

    def pop(group):
        states.append((group, parts.message.copy()))
        parts.pop(group)

    pop_groups(parts.coder, parts.message, 40, LARGEST, pop, powers=powers)
    for group, message in states:
        parts.message.take(message)
        parts.pop_all(40, powers=powers, first=group)
        assert parts.message.is_initial()


def test_a_group_that_borrows_too_much_is_halved():
    toy = Toy(1, words=60)
    failures = []

    def push(group):
        if group.stop - group.start > 2:
            failures.append(group)
            raise WorkError("no words")
        return toy.push(group)

    push_groups(toy.coder, toy.message, 24, LARGEST, push, powers=True)
    assert failures
    assert max(toy.taken_sizes()) == 2
    toy.pop_all(24, powers=True)
    assert toy.message.is_initial()


def test_blocks_are_measured_in_groups_too():
    sizes = []

    def lengths(blocks):
        sizes.append(len(blocks))
        return blocks.sum(axis=1).astype(float)

    found = measure_groups(np.arange(70).reshape(35, 2), LARGEST, lengths)
    assert found.tolist() == [4 * row + 1 for row in range(35)]
    assert sizes == [16, 16, 3]
    assert measure_groups(np.zeros((0, 2)), LARGEST, lengths).shape == (0,)


def test_nothing_to_borrow_for_one_block():
    with pytest.raises(WorkError):
        Toy(20, words=1).push_all(3)


@pytest.mark.parametrize("powers", [False, True])
def test_latents_that_no_encoder_draws_are_damage(powers):
    toy = Toy(2)
    toy.push_all(20, powers=powers)

    def pop(group):
        raise ValueError("a symbol of no counts")

    with pytest.raises(CorruptFileError, match="does not hold what it should"):
        pop_groups(toy.coder, toy.message, 20, LARGEST, pop, powers=powers)


def test_a_size_beyond_the_first_block_is_damage():
    toy = Toy(2)
    toy.push_all(40)
    with pytest.raises(CorruptFileError, match="as many blocks"):
        pop_groups(toy.coder, toy.message, 4, LARGEST, lambda group: None)

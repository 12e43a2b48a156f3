"""Intervals out of any total: exact inverses where one renormalisation is not enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nc_core.ans.finer import pop_fraction, push_fraction
from nc_core.ans.message import HEAD_MIN, Message
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.errors import CorruptFileError

HEAD_TOP = (1 << 63) - 1


def message_of(heads, words=(1, 2, 3)):
    halves = [head >> 32 for head in heads] + [head & 0xFFFFFFFF for head in heads]
    return Message.from_words(np.array([*halves, *words], np.uint64), len(heads))


def locate_in(starts, freqs):
    """The symbol 0 owns the interval given; a count outside fails the test."""

    def locate(counts):
        assert ((counts >= starts) & (counts < starts + freqs)).all()
        return np.zeros(len(counts), np.int64), starts, freqs

    return locate


def uniform(counts):
    return counts, counts, np.ones(len(counts), np.uint64)


@st.composite
def intervals(draw, lanes):
    rows = []
    for _ in range(lanes):
        total = draw(st.one_of(st.integers(1, 50), st.integers(1, 1 << 31)))
        freq = draw(st.one_of(st.just(1), st.just(total), st.integers(1, total)))
        rows.append((draw(st.integers(0, total - freq)), freq, total))
    return np.array(rows, np.uint64).T


@st.composite
def heads_near_every_bound(draw):
    start, freq, total = draw(intervals(1))
    multiples = HEAD_MIN // int(total[0])
    bounds = [HEAD_MIN, HEAD_TOP, int(freq[0]) * multiples << 32, int(total[0]) * multiples << 32]
    near = st.sampled_from(bounds).flatmap(lambda bound: st.integers(bound - 3, bound + 3))
    head = draw(st.one_of(near, st.integers(HEAD_MIN, HEAD_TOP)))
    return min(max(head, HEAD_MIN), HEAD_TOP), start, freq, total


def test_the_largest_head_survives_a_third():
    for order in ("pop, push", "push, pop"):
        message = message_of([HEAD_TOP])
        before = message.to_words()
        if order == "pop, push":
            push_fraction(message, pop_fraction(message, 3, uniform), 1, 3)
        else:
            push_fraction(message, 2, 1, 3)
            assert pop_fraction(message, 3, uniform) == [2]
        assert np.array_equal(message.to_words(), before)


@given(heads_near_every_bound())
@settings(max_examples=200)
def test_a_pop_undoes_a_push_from_any_head(case):
    head, start, freq, total = case
    message = message_of([head])
    before = message.to_words()
    push_fraction(message, start, freq, total)
    assert HEAD_MIN <= int(message.heads[0]) <= HEAD_TOP
    pop_fraction(message, total, locate_in(start, freq))
    assert np.array_equal(message.to_words(), before)


@given(heads_near_every_bound())
@settings(max_examples=200)
def test_a_push_undoes_a_pop_from_any_head(case):
    head, _, _, total = case
    message = message_of([head])
    before = message.to_words()
    count = pop_fraction(message, total, uniform)
    assert HEAD_MIN <= int(message.heads[0]) <= HEAD_TOP
    push_fraction(message, count, 1, total)
    assert np.array_equal(message.to_words(), before)


@given(st.lists(intervals(5), min_size=1, max_size=30), st.integers(0, 3))
@settings(max_examples=60)
def test_lanes_with_totals_of_their_own_come_back_in_reverse(rows, first_lane):
    message = Message(8)
    for row in rows:
        push_fraction(message, *row, first_lane)
    for start, freq, total in reversed(rows):
        pop_fraction(message, total, locate_in(start, freq), first_lane)
    assert message.is_initial()


def test_powers_of_two_give_the_words_of_ordinary_rans():
    rng = np.random.default_rng(1)
    precisions = rng.integers(1, 25, (40, 6))
    freqs = rng.integers(1, (1 << precisions) + 1).astype(np.uint64)
    starts = rng.integers(0, (1 << precisions) - freqs.astype(np.int64) + 1).astype(np.uint64)
    ordinary, fraction = Message(6), Message(6)
    RansNumpy().push_intervals(ordinary, starts, freqs, precisions)
    for start, freq, precision in zip(starts[::-1], freqs[::-1], precisions[::-1], strict=True):
        push_fraction(fraction, start, freq, 1 << precision)
    assert np.array_equal(fraction.to_words(), ordinary.to_words())


def test_the_cost_is_the_information():
    rng = np.random.default_rng(2)
    totals = rng.integers(2, 5000, 2000)
    freqs = rng.integers(1, totals)
    message = Message(1)
    for freq, total in zip(freqs, totals, strict=True):
        push_fraction(message, 0, freq, total)
    assert message.bits == pytest.approx(np.log2(totals / freqs).sum(), rel=1e-5)


def test_an_empty_stack_is_refused_and_the_message_left_alone():
    message = Message(2, initial_words=1, seed=4)
    with pytest.raises(CorruptFileError):
        for _ in range(9):
            before = message.copy()
            pop_fraction(message, [1 << 20, 1 << 21], uniform)
    assert np.array_equal(message.to_words(), before.to_words())
    assert message.cursor.tolist() == before.cursor.tolist()


def test_the_low_water_mark_follows_pops():
    message = Message(1, initial_words=10, seed=5)
    drawn = [pop_fraction(message, 1 << 31, uniform) for _ in range(5)]
    low = message.size
    for count in reversed(drawn):
        push_fraction(message, count, 1, 1 << 31)
    assert message.is_initial()
    assert message.low_water == low < 10


@pytest.mark.parametrize(
    ("start", "freq", "total"),
    [(0, 0, 3), (3, 1, 3), (2, 2, 3), (-1, 1, 3), (0, 1, 0), (0, 1, (1 << 31) + 1)],
)
def test_impossible_intervals_are_refused(start, freq, total):
    message = Message(1)
    with pytest.raises(ValueError, match="total"):
        push_fraction(message, start, freq, total)
    assert message.is_initial()


def test_more_lanes_than_the_message_has_are_refused():
    message = Message(3)
    with pytest.raises(ValueError, match="lanes"):
        push_fraction(message, [0, 0], 1, 2, first_lane=2)


def test_craystack_gives_the_same_words_for_any_totals():
    rans = pytest.importorskip("craystack.rans", reason="craystack is not installed")
    rng = np.random.default_rng(3)
    message = Message(7, initial_words=300, seed=3)
    theirs = rans.unflatten(message.to_words(), (7,))
    for _ in range(80):
        total = rng.integers(1, 1 << rng.integers(1, 28, 7), endpoint=True).astype(np.uint64)
        freq = rng.integers(1, total, endpoint=True).astype(np.uint64)
        start = rng.integers(0, total - freq, endpoint=True).astype(np.uint64)
        if rng.random() < 0.5:
            push_fraction(message, start, freq, total)
            theirs = rans.push_with_finer_prec(theirs, start, freq, total)
        else:
            ours = pop_fraction(message, total, uniform)
            counts, finish = rans.pop_with_finer_prec(theirs, total)
            theirs = finish(counts, np.ones(7, np.uint64))
            assert np.array_equal(ours, counts)
        assert np.array_equal(rans.flatten(theirs), message.to_words())

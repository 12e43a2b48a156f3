"""Folding all lanes into one head, and the codecs that it is made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nc_core.ans.folding import (
    fold,
    pop_benford,
    pop_big_uniform,
    push_benford,
    push_big_uniform,
    unfold,
)
from nc_core.ans.message import HEAD_MIN, Message
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.errors import CorruptFileError

heads = st.one_of(
    st.integers(31, 62).map(lambda bit: 1 << bit),
    st.integers(32, 63).map(lambda bit: (1 << bit) - 1),
    st.integers(HEAD_MIN, (1 << 63) - 1),
)


def busy_message(lanes, seed=0):
    rng = np.random.default_rng(seed)
    message = Message(lanes)
    freqs = rng.integers(1, 4000, (20, lanes)).astype(np.uint64)
    RansNumpy().push_intervals(message, np.zeros_like(freqs), freqs, 12)
    return message


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 5, 7, 8, 9, 100, 1024, 1025])
def test_unfolding_restores_every_lane(lanes):
    message = busy_message(lanes)
    words = fold(message)
    assert np.array_equal(unfold(words, lanes).to_words(), message.to_words())
    assert np.array_equal(fold(unfold(words, lanes)), words)


def test_folding_leaves_the_message_alone():
    message = busy_message(6)
    before = message.to_words()
    fold(message)
    assert np.array_equal(message.to_words(), before)
    assert message.lanes == 6


def test_one_lane_folds_into_its_own_words():
    message = busy_message(1)
    assert np.array_equal(fold(message), message.to_words())


def test_words_below_the_floor_stay_out_and_come_back_from_the_base():
    message = Message(9, initial_words=50, seed=1)
    freqs = np.full((30, 9), 3, np.uint64)
    RansNumpy().push_intervals(message, np.zeros_like(freqs), freqs, 12)
    words = fold(message, floor=50)
    assert len(words) == len(fold(message)) - 50
    base = Message(9, initial_words=50, seed=1)
    assert np.array_equal(unfold(words, 9, base).to_words(), message.to_words())


def test_a_fresh_lane_costs_little_more_than_the_31_bits_it_holds():
    lanes = 8192
    assert 32 * len(fold(Message(lanes))) / lanes == pytest.approx(31 + 4.5, abs=0.2)


@pytest.mark.parametrize("damage", ["shortened", "head too small", "head too large"])
def test_damaged_words_are_refused(damage):
    words = fold(busy_message(40)).copy()
    if damage == "shortened":
        words = words[:20]
    else:
        words[0] = 0 if damage == "head too small" else 1 << 31
        words[1] = 5
    with pytest.raises(CorruptFileError):
        unfold(words, 40)


@given(st.lists(heads, min_size=1, max_size=12), st.integers(0, 3))
@settings(max_examples=100)
def test_benford_codes_every_head(values, more_lanes):
    message = Message(len(values) + more_lanes)
    data = np.array(values, np.uint64)
    push_benford(message, data)
    assert np.array_equal(pop_benford(message, len(values)), data)
    assert message.is_initial()


def test_benford_costs_the_logarithm():
    rng = np.random.default_rng(0)
    values = (2.0 ** rng.uniform(31, 62.999, (200, 16))).astype(np.uint64)
    message = Message(16)
    for row in values:
        push_benford(message, row)
    ideal = (np.log2(values) + 5 - np.log2(np.log2(np.e))).sum()
    assert message.bits == pytest.approx(ideal, rel=1e-3)


@given(
    st.integers(0, 64).flatmap(
        lambda precision: st.tuples(
            st.just(precision),
            st.lists(st.integers(0, (1 << precision) - 1), min_size=1, max_size=6),
        )
    )
)
def test_big_uniform_codes_every_integer(case):
    precision, values = case
    message = Message(len(values))
    data = np.array(values, np.uint64)
    push_big_uniform(message, data, precision)
    assert message.bits == pytest.approx(precision * len(values), abs=1e-3)
    assert np.array_equal(pop_big_uniform(message, len(values), precision), data)
    assert message.is_initial()


def test_values_outside_their_interval_are_refused():
    for value in (0, HEAD_MIN - 1, 1 << 63):
        with pytest.raises(ValueError, match="outside"):
            push_benford(Message(2), np.array([HEAD_MIN, value], np.uint64))
    for precision in (8, 65):
        with pytest.raises(ValueError, match="bits"):
            push_big_uniform(Message(1), np.array([256], np.uint64), precision)
    with pytest.raises(ValueError, match="lanes"):
        push_benford(Message(1), np.array([HEAD_MIN, HEAD_MIN], np.uint64))


def test_craystack_folds_into_the_same_words():
    craystack = pytest.importorskip("craystack", reason="craystack is not installed")
    for lanes in (1, 2, 3, 6, 33):
        message = busy_message(lanes, seed=lanes)
        theirs = craystack.rans.unflatten(message.to_words(), (lanes,))
        assert np.array_equal(craystack.flatten(theirs), fold(message))


def test_craystack_codes_heads_with_the_same_words():
    craystack = pytest.importorskip("craystack", reason="craystack is not installed")
    values = (2.0 ** np.random.default_rng(1).uniform(31, 53, (40, 8))).astype(np.uint64)
    message = Message(8)
    theirs = craystack.rans.unflatten(message.to_words(), (8,))
    for row in values:
        push_benford(message, row)
        (theirs,) = craystack.Benford64.push(theirs, row)
    assert np.array_equal(craystack.rans.flatten(theirs), message.to_words())

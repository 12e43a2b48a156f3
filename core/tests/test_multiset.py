"""Collections without order: what they save, and that they come back."""

from __future__ import annotations

from math import factorial, log2, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nc_core.ans.finer import pop_fraction, push_fraction
from nc_core.ans.message import Message
from nc_core.ans.multiset import (
    pop_multiset,
    pop_without_replacement,
    push_multiset,
    push_without_replacement,
)
from nc_core.errors import CorruptFileError


def push_byte(message, symbol):
    push_fraction(message, symbol, 1, 256, first_lane=1)


def pop_byte(message):
    ones = np.ones(1, np.uint64)
    return int(pop_fraction(message, 256, lambda count: (count, count, ones), first_lane=1)[0])


def push_text(message, text):
    for letter in text:
        push_byte(message, letter)
    push_byte(message, len(text))


def pop_text(message):
    return bytes(pop_byte(message) for _ in range(pop_byte(message)))[::-1]


@given(st.lists(st.integers(0, 255), max_size=60))
def test_symbols_come_back_sorted_and_the_message_as_it_was(symbols):
    message = Message(2, initial_words=40, seed=1)
    push_multiset(message, symbols, push_byte)
    assert pop_multiset(message, len(symbols), pop_byte) == sorted(symbols)
    assert message.is_initial()


@given(st.lists(st.binary(max_size=5), max_size=20))
def test_anything_that_sorts_can_be_collected(texts):
    message = Message(2, initial_words=40, seed=2)
    push_multiset(message, texts, push_text)
    assert pop_multiset(message, len(texts), pop_text) == sorted(texts)
    assert message.is_initial()


def test_the_order_costs_nothing():
    symbols = np.random.default_rng(3).integers(0, 30, 400).tolist()
    message = Message(2, initial_words=100, seed=3)
    before = message.bits
    push_multiset(message, symbols, push_byte)
    copies = prod(factorial(symbols.count(symbol)) for symbol in set(symbols))
    orders = factorial(len(symbols)) // copies
    assert message.bits - before == pytest.approx(8 * len(symbols) - log2(orders), abs=0.1)


def test_drawing_without_replacement_is_undone_by_adding():
    message = Message(1, initial_words=20, seed=4)
    remaining = [1, 1, 2, 5, 5, 5]
    drawn = [pop_without_replacement(message, remaining) for _ in range(6)]
    assert sorted(drawn) == [1, 1, 2, 5, 5, 5]
    assert remaining == []
    for symbol in reversed(drawn):
        push_without_replacement(message, remaining, symbol)
    assert remaining == [1, 1, 2, 5, 5, 5]
    assert message.is_initial()


def test_a_message_without_words_to_draw_with_is_refused():
    message, remaining = Message(1), list(range(1000))
    with pytest.raises(CorruptFileError):
        pop_without_replacement(message, remaining)
    assert remaining == list(range(1000))
    assert message.is_initial()

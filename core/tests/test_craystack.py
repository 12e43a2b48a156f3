"""The craystack coder, and all coders on the same programs: one bitstream, word for word."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nc_core.ans.craystack_adapter import CraystackCoder
from nc_core.ans.distributions import Bernoulli, Categorical, Uniform
from nc_core.ans.message import Message
from nc_core.ans.rans import Rans
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.errors import CorruptFileError, MissingDependencyError


@pytest.fixture(scope="module")
def craystack_coder():
    return installed(CraystackCoder)


@pytest.fixture(scope="module", params=[RansNumpy, CraystackCoder])
def other_coder(request):
    return installed(request.param)


def installed(coder):
    try:
        return coder()
    except MissingDependencyError:
        pytest.skip("craystack is not installed")


@st.composite
def distributions(draw, lanes):
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, lanes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    precision = draw(st.integers(5, 28))
    family = draw(st.sampled_from(["uniform", "bernoulli", "categorical", "shared"]))
    if family == "uniform":
        return Uniform(draw(st.integers(1, 1 << precision)), shape, precision)
    if family == "bernoulli":
        return Bernoulli(rng.integers(1, 1 << precision, shape), precision)
    size = draw(st.integers(1, 12))
    tables = (1, 1) if family == "shared" else shape
    cuts = np.sort(rng.integers(0, 1 << precision, (*tables, size - 1), endpoint=True), axis=2)
    return Categorical(np.diff(cuts, axis=2, prepend=0, append=1 << precision), shape)


def possible_symbols(distribution, rng):
    """Symbols drawn by locating random counts."""
    steps, lanes = distribution.shape
    counts = rng.integers(0, 1 << distribution.precision, (steps, lanes)).astype(np.uint64)
    rows = [distribution.locate(step, counts[step])[0] for step in range(steps)]
    return np.array(rows, np.int64).reshape(steps, lanes)


@given(
    st.integers(1, 6).flatmap(
        lambda lanes: st.tuples(
            st.just(lanes),
            st.lists(st.tuples(st.booleans(), distributions(lanes)), max_size=12),
        )
    ),
    st.integers(0, 2**32),
)
@settings(max_examples=100, deadline=None)
def test_every_coder_gives_the_words_of_the_default_one(other_coder, program, seed):
    lanes, operations = program
    coders = [Rans(), other_coder]
    messages = [Message(lanes, initial_words=300, seed=7) for _ in coders]
    rng = np.random.default_rng(seed)
    undo = []
    for pops, distribution in operations:
        if pops:
            results = [
                coder.pop(message, distribution)
                for coder, message in zip(coders, messages, strict=True)
            ]
            assert all(np.array_equal(result, results[0]) for result in results)
            undo.append(("push", results[0], distribution))
        else:
            symbols = possible_symbols(distribution, rng)
            for coder, message in zip(coders, messages, strict=True):
                coder.push(message, symbols, distribution)
            undo.append(("pop", symbols, distribution))
        words = messages[0].to_words()
        assert all(np.array_equal(message.to_words(), words) for message in messages)
        assert len({message.low_water for message in messages}) == 1
    for operation, symbols, distribution in reversed(undo):
        for coder, message in zip(coders, messages, strict=True):
            if operation == "push":
                coder.push(message, symbols, distribution)
            else:
                assert np.array_equal(coder.pop(message, distribution), symbols)
    assert all(message.is_initial() for message in messages)


def test_an_exhausted_message_is_refused_before_craystack_invents_words(craystack_coder):
    message = Message(4, initial_words=5, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CorruptFileError):
            craystack_coder.pop(message, Uniform(1 << 20, (30, 4)))
    assert message.is_initial()


def test_the_very_last_word_can_be_popped(craystack_coder):
    message = Message(1, initial_words=1, seed=1)
    craystack_coder.pop(message, Uniform(1 << 16, (2, 1)))
    assert message.size == message.low_water == 0


def test_impossible_symbols_and_too_many_lanes_are_refused(craystack_coder):
    message = Message(2)
    never = Categorical(np.array([4, 0, 4]), (1, 2))
    with pytest.raises(ValueError, match="impossible"):
        craystack_coder.push(message, np.array([[0, 1]]), never)
    with pytest.raises(ValueError, match="lanes"):
        craystack_coder.pop(message, Uniform(2, (1, 3)))
    assert message.is_initial()


def test_the_error_without_craystack_says_where_it_comes_from(monkeypatch):
    monkeypatch.setitem(sys.modules, "craystack", None)
    with pytest.raises(MissingDependencyError) as failure:
        CraystackCoder()
    assert "github.com/j-towns/craystack" in str(failure.value.hint)
    assert "scipy" in str(failure.value.hint)

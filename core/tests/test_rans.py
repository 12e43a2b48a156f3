"""The compiled coder and its NumPy oracle: the same words, and nothing lost."""

from __future__ import annotations

import doctest
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nc_core
from nc_core.ans import (
    AffineBins,
    Bernoulli,
    BetaBinomial,
    Categorical,
    DiscretizedGaussian,
    DiscretizedLaplace,
    DiscretizedLogistic,
    EdgeBins,
    Message,
    Mixture,
    PixelBins,
    Rans,
    RansNumpy,
    Uniform,
    rans,
)
from nc_core.ans.distributions import location_scale, weight_index
from nc_core.errors import CorruptFileError
from nc_core.protocols import Coder, Distribution

LANES = [1, 3, 100]
CODERS = [Rans, RansNumpy]


@pytest.fixture(params=CODERS)
def coder(request):
    return request.param()


# Distributions of every family, of any shape


def parameters(generator, shape, spread=300 << 8, scales=1024):
    return generator.integers(-spread, spread, shape), generator.integers(0, scales, shape)


def finer(generator, shape, bins, **options):
    """A Gaussian with any of the scales of a finer grid."""
    means, scales = parameters(generator, shape, scales=bins.scales)
    return DiscretizedGaussian(means, scales, bins, **options)


def mixture(generator, shape, bins):
    components = [
        family(*parameters(generator, shape), bins)
        for family in (DiscretizedLogistic, DiscretizedGaussian, DiscretizedLaplace)
    ]
    weights = np.moveaxis(generator.dirichlet(np.ones(3), shape), -1, 0)
    return Mixture(components, weight_index(weights))


def edges(generator, *shape):
    return np.sort(generator.integers(-(300 << 8), 300 << 8, (*shape, 100)))


def tables(generator, *shape):
    return generator.dirichlet(np.full(17, 0.3), shape)


FAMILIES = {
    "uniform": lambda g, s: Uniform(1000, s),
    "uniform of bits": lambda g, s: Uniform(1 << 16, s),
    "uniform over one": lambda g, s: Uniform(1, s),
    "bernoulli": lambda g, s: Bernoulli.from_probability(g.random(s)),
    "shared categorical": lambda g, s: Categorical.from_pmf(tables(g, 1)[0], s),
    "coarse shared categorical": lambda g, s: Categorical.from_pmf(tables(g, 1)[0], s, 6),
    "categorical": lambda g, s: Categorical.from_pmf(tables(g, *s)),
    "categorical by step": lambda g, s: Categorical.from_pmf(tables(g, s[0], 1), s),
    "categorical by lane": lambda g, s: Categorical.from_pmf(tables(g, 1, s[1]), s),
    "beta-binomial": lambda g, s: BetaBinomial(g.integers(0, 3072, s), g.integers(0, 3072, s), 30),
    "logistic": lambda g, s: DiscretizedLogistic(*parameters(g, s), PixelBins()),
    "gaussian": lambda g, s: DiscretizedGaussian(*parameters(g, s), PixelBins(), precision=16),
    "laplace": lambda g, s: DiscretizedLaplace(*parameters(g, s), PixelBins(), precision=28),
    "two pixels": lambda g, s: DiscretizedLaplace(*parameters(g, s), PixelBins(2), precision=12),
    "one pixel": lambda g, s: DiscretizedLaplace(*parameters(g, s), PixelBins(1)),
    "deep pixels": lambda g, s: DiscretizedLogistic(
        *parameters(g, s, 1 << 24), PixelBins(1 << 16, 8, 5)
    ),
    "affine bins": lambda g, s: DiscretizedGaussian(
        *parameters(g, s), AffineBins(-50000, 99, 999), precision=28
    ),
    "affine bins by step": lambda g, s: DiscretizedGaussian(
        *parameters(g, s), AffineBins(g.integers(-9999, 9, (s[0], 1)), 40, 300)
    ),
    "affine bins by lane": lambda g, s: DiscretizedGaussian(
        *parameters(g, s), AffineBins(-3000, g.integers(1, 99, (1, s[1])), 300)
    ),
    "affine bins by symbol": lambda g, s: DiscretizedGaussian(
        *parameters(g, s), AffineBins(g.integers(-9999, 9, s), g.integers(1, 99, s), 300)
    ),
    "edges": lambda g, s: DiscretizedLogistic(*parameters(g, s), EdgeBins(edges(g))),
    "edges by lane": lambda g, s: DiscretizedLogistic(
        *parameters(g, s), EdgeBins(edges(g, 1, s[1]))
    ),
    "edges by symbol": lambda g, s: DiscretizedLogistic(*parameters(g, s), EdgeBins(edges(g, *s))),
    "no edge": lambda g, s: DiscretizedLogistic(*parameters(g, s), EdgeBins(np.zeros(0, np.int64))),
    "window": lambda g, s: DiscretizedLogistic(
        *parameters(g, s), AffineBins(-50000, 99, 999), precision=28, window=8
    ),
    "window of pixels": lambda g, s: DiscretizedLaplace(*parameters(g, s), PixelBins(), window=3),
    "finer pixels": lambda g, s: finer(g, s, PixelBins(scale_bits=10)),
    "finer edges": lambda g, s: finer(g, s, EdgeBins(edges(g), 8, 2, scale_bits=7)),
    "finer window": lambda g, s: finer(
        g, s, AffineBins(-50000, 99, 999, scale_bits=9), precision=28, window=8
    ),
    "mixture": lambda g, s: mixture(g, s, PixelBins()),
    "mixture on edges": lambda g, s: mixture(g, s, EdgeBins(edges(g, 1, s[1]))),
}


CERTAIN = {"uniform over one", "one pixel", "no edge"}


def random_symbols(generator, distribution):
    """Symbols drawn from the distribution, and where it allows some from its whole alphabet."""
    words = Message(distribution.shape[1], distribution.shape[0] * distribution.shape[1] + 9, 5)
    drawn = RansNumpy().pop(words, distribution)
    anywhere = generator.integers(0, distribution.size, distribution.shape)
    _, freqs = distribution.intervals(anywhere)
    return np.where((freqs > 0) & (generator.random(freqs.shape) < 0.5), anywhere, drawn)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("name", FAMILIES)
def test_both_coders_write_and_read_the_same_words(name, lanes):
    generator = np.random.default_rng(lanes)
    distribution = FAMILIES[name](generator, (1 if lanes == 100 else 61, lanes))
    assert isinstance(distribution, Distribution)
    symbols = random_symbols(generator, distribution)
    compiled, plain = Message(lanes + 2, 9, seed=4), Message(lanes + 2, 9, seed=4)
    Rans().push(compiled, symbols, distribution)
    RansNumpy().push(plain, symbols, distribution)
    assert np.array_equal(compiled.to_words(), plain.to_words())
    assert np.array_equal(Rans().pop(compiled, distribution), symbols)
    assert np.array_equal(RansNumpy().pop(plain, distribution), symbols)
    assert compiled.is_initial()
    assert plain.is_initial()


@pytest.mark.parametrize("name", FAMILIES)
def test_both_coders_draw_the_same_symbols(name):
    distribution = FAMILIES[name](np.random.default_rng(8), (30, 4))
    compiled, plain = Message(4, 200, seed=6), Message(4, 200, seed=6)
    drawn = Rans().pop(compiled, distribution)
    assert np.array_equal(drawn, RansNumpy().pop(plain, distribution))
    assert np.array_equal(compiled.to_words(), plain.to_words())
    assert np.array_equal(compiled.cursor, plain.cursor)
    assert compiled.low_water == compiled.size
    Rans().push(compiled, drawn, distribution)
    assert compiled.is_initial()
    assert compiled.low_water == plain.low_water


@given(
    mean=st.integers(-(2**31) + 1, 2**31 - 1),
    scale=st.integers(0, 1023),
    symbol=st.sampled_from([0, 1, 128, 254, 255]),
    initial=st.integers(0, 2**31),
)
@settings(max_examples=200, deadline=None)
def test_the_farthest_tails_code_exactly(mean, scale, symbol, initial):
    message = Message(1, 3, seed=initial)
    twin = message.copy()
    symbols = np.full((2, 1), symbol)
    for window, bins in ((None, PixelBins()), (None, AffineBins(-128, 256, 256))):
        distribution = DiscretizedLogistic(
            np.full((2, 1), mean), np.full((2, 1), scale), bins, window=window
        )
        Rans().push(message, symbols, distribution)
        RansNumpy().push(twin, symbols, distribution)
        assert np.array_equal(message.to_words(), twin.to_words())
        assert np.array_equal(Rans().pop(message, distribution), symbols)
        drawn = Rans().pop(message, distribution)
        RansNumpy().pop(twin, distribution)
        assert np.array_equal(drawn, RansNumpy().pop(twin, distribution))
        Rans().push(message, drawn, distribution)
        Rans().push(twin, drawn, distribution)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_a_message_is_a_stack(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    lanes = data.draw(st.sampled_from([1, 2, 7]))
    message, pushed = Message(lanes), []
    for name in data.draw(st.lists(st.sampled_from(sorted(FAMILIES)), max_size=5)):
        shape = (data.draw(st.integers(0, 5)), data.draw(st.integers(1, lanes)))
        distribution = FAMILIES[name](generator, shape)
        symbols = random_symbols(generator, distribution)
        coders = data.draw(st.permutations([Rans(), RansNumpy()]))
        coders[0].push(message, symbols, distribution)
        pushed.append((coders[1], symbols, distribution))
    for coder, symbols, distribution in reversed(pushed):
        assert np.array_equal(coder.pop(message, distribution), symbols)
    assert message.is_initial()


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_intervals_of_mixed_precisions_come_back(data):
    lanes, steps = data.draw(st.sampled_from([1, 3])), data.draw(st.integers(0, 6))
    shape = (steps, lanes)
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    precisions = generator.integers(1, 29, shape)
    totals = 1 << precisions
    freqs = np.minimum(1 << generator.integers(0, 29, shape), totals)
    starts = generator.integers(0, totals - freqs + 1)
    words = []
    for coder in (Rans(), RansNumpy()):
        message = Message(lanes, 5, seed=1)
        coder.push_intervals(message, starts, freqs, precisions)
        words.append(message.to_words())
        coder.pop_intervals(message, starts, freqs, precisions)
        assert message.is_initial()
    assert np.array_equal(*words)


# What arrays may be like


@pytest.mark.parametrize("name", FAMILIES)
def test_an_array_without_steps_changes_nothing(coder, name):
    distribution = FAMILIES[name](np.random.default_rng(0), (0, 2))
    message = Message(2)
    coder.push(message, np.zeros((0, 2), np.int64), distribution)
    assert coder.pop(message, distribution).shape == (0, 2)
    assert message.is_initial()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, np.int32])
def test_symbols_may_be_of_any_integer_type_and_layout(coder, dtype):
    generator = np.random.default_rng(2)
    symbols = generator.integers(0, 256, (3, 50)).astype(dtype).T
    symbols.flags.writeable = False
    mean, scale = np.full((50, 3), 30000), np.full((50, 3), 600)
    mean.flags.writeable = scale.flags.writeable = False
    distribution = DiscretizedLogistic(mean, scale, PixelBins())
    message = Message(3)
    coder.push(message, symbols, distribution)
    popped = coder.pop(message, distribution)
    assert popped.dtype == np.int64
    assert np.array_equal(popped, symbols)


def test_fewer_lanes_use_the_first_ones(coder):
    message = Message(4)
    coder.push(message, np.full((9, 2), 3), Uniform(1 << 16, (9, 2)))
    assert (message.heads[2:] == 1 << 31).all()
    assert (message.heads[:2] != 1 << 31).all()


def test_more_lanes_than_the_message_has_are_refused(coder):
    distribution = Uniform(4, (1, 3))
    for call in (
        lambda: coder.push(Message(2), np.zeros((1, 3), int), distribution),
        lambda: coder.pop(Message(2, 9), distribution),
        lambda: coder.counts(Message(2), 8, 3),
    ):
        with pytest.raises(ValueError, match="3 lanes"):
            call()


def test_coders_satisfy_the_protocol(coder):
    assert isinstance(coder, Coder)


class Dice:
    """A distribution that core knows nothing of."""

    precision = 3

    def __init__(self, shape):
        self.shape = shape

    def intervals(self, symbols):
        freqs = np.where(symbols == 0, 3, 1).astype(np.uint64)
        return np.where(symbols == 0, 0, symbols + 2).astype(np.uint64), freqs

    def locate(self, step, counts):
        symbols = np.maximum(counts.astype(np.int64) - 2, 0)
        return symbols, *self.intervals(symbols)


def test_any_distribution_works_with_both_coders():
    dice, words = Dice((40, 3)), []
    symbols = np.random.default_rng(0).integers(0, 6, (40, 3))
    for coder in (Rans(), RansNumpy()):
        message = Message(3)
        coder.push(message, symbols, dice)
        words.append(message.to_words())
        assert np.array_equal(coder.pop(message, dice), symbols)
    assert np.array_equal(*words)


# Refusals leave the message as it was


def snapshot(message):
    return (*message.to_words().tolist(), *message.cursor.tolist())


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - CERTAIN))
def test_popping_more_than_was_pushed_is_refused(coder, name):
    distribution = FAMILIES[name](np.random.default_rng(1), (4000, 3))
    message = Message(3, 20, seed=2)
    before = snapshot(message)
    with pytest.raises(CorruptFileError, match="ends before"):
        coder.pop(message, distribution)
    assert snapshot(message) == before


def test_popping_intervals_from_an_empty_stack_is_refused(coder):
    starts, freqs = np.zeros((40, 1), np.uint64), np.full((40, 1), 1, np.uint64)
    message = Message()
    with pytest.raises(CorruptFileError, match="ends before"):
        coder.pop_intervals(message, starts, freqs, 24)
    assert message.is_initial()


def test_popping_intervals_that_were_not_pushed_is_refused(coder):
    message = Message(1, 9, seed=3)
    before = snapshot(message)
    starts = coder.counts(message, 8)[None] + np.uint64(1)
    with pytest.raises(CorruptFileError, match="does not hold"):
        coder.pop_intervals(message, starts % np.uint64(256), np.ones((1, 1), np.uint64), 8)
    assert snapshot(message) == before


IMPOSSIBLE = {
    "shared categorical": Categorical(np.array([8, 0]), (40, 2)),
    "categorical": Categorical(np.array([[[8, 0]]] * 40), (40, 2)),
    "window": DiscretizedLogistic(
        np.zeros((40, 2), int), np.full((40, 2), 300), AffineBins(0, 90000, 2), window=8
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_pushing_an_impossible_symbol_is_refused(coder, name):
    symbols = np.zeros((40, 2), int)
    symbols[17, 1] = 1
    message = Message(2, 5, seed=9)
    before = snapshot(message)
    with pytest.raises(ValueError, match="step 17, lane 1"):
        coder.push(message, symbols, IMPOSSIBLE[name])
    assert snapshot(message) == before


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("beyond", ["above", "below"])
def test_pushing_a_symbol_outside_the_alphabet_is_refused(coder, name, beyond):
    distribution = FAMILIES[name](np.random.default_rng(3), (5, 2))
    symbols = random_symbols(np.random.default_rng(4), distribution)
    symbols[2, 1] = distribution.size if beyond == "above" else -1
    message = Message(2)
    with pytest.raises(ValueError, match="symbols lie in"):
        coder.push(message, symbols, distribution)
    assert message.is_initial()


@pytest.mark.parametrize(
    "starts, freqs, precision",
    [
        ([[0]], [[0]], 8),
        ([[0]], [[257]], 8),
        ([[255]], [[2]], 8),
        ([[0]], [[1]], 0),
        ([[0]], [[1]], 29),
        ([[0.0]], [[1]], 8),
        ([0], [1], 8),
        ([[0, 0]], [[1]], 8),
        ([[0]], [[1]], [[8, 8]]),
        ([[0]], [[1]], 8.0),
    ],
)
def test_intervals_that_make_no_sense_are_refused(coder, starts, freqs, precision):
    message = Message()
    with pytest.raises(ValueError):
        coder.push_intervals(message, np.array(starts), np.array(freqs), np.array(precision))
    assert message.is_initial()


@pytest.mark.parametrize("scale_bits", [6, 10])
def test_parameters_that_changed_behind_its_back_cannot_crash_the_coder(scale_bits):
    mean, scale = np.full((9, 1), 30000, np.int32), np.full((9, 1), 600, np.int16)
    distribution = DiscretizedLogistic(mean, scale, PixelBins(scale_bits=scale_bits))
    scale[:] = -5
    mean[:] = -(2**31)
    symbols = np.full((9, 1), 255)
    message = Message()
    Rans().push(message, symbols, distribution)
    assert np.array_equal(Rans().pop(message, distribution), symbols)


@pytest.mark.parametrize("module", [rans, location_scale])
def test_examples_in_the_documentation_run(module):
    assert doctest.testmod(module).attempted > 0
    assert doctest.testmod(module).failed == 0


# Compilation


def run(program, **environment):
    """Run a program in a fresh interpreter."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# One kernel, which takes a second to compile.
PROGRAM = """
import numpy as np
from nc_core.ans import Message, Rans, RansNumpy
from nc_core.ans.kernels import push_intervals
starts, freqs = np.arange(30).reshape(10, 3), np.full((10, 3), 2)
messages = Message(3), Message(3)
for coder, message in zip((Rans(), RansNumpy()), messages):
    coder.push_intervals(message, starts, freqs, 20)
print(np.array_equal(*(message.to_words() for message in messages)))
print(push_intervals.function.__code__.co_filename)
"""


def test_importing_the_package_does_not_import_numba():
    result = run("import sys, nc_core.ans; print('numba' in sys.modules)")
    assert result.stdout == "False\n", result.stderr


def test_kernels_are_kept_on_disk_and_made_again_when_damaged(tmp_path):
    contents = []
    for _ in range(3):
        result = run(PROGRAM, NUMBA_CACHE_DIR=str(tmp_path))
        assert result.stdout.startswith("True\n"), result.stderr
        files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
        assert len(files) == 2
        contents.append(files)
        if len(contents) == 2:
            assert contents[0] == files
            for path in files:
                path.write_bytes(path.read_bytes()[:40])


def test_without_a_folder_to_write_kernels_are_compiled_in_memory(tmp_path):
    package = tmp_path / "nc_core"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(nc_core.__file__).parent, package, ignore=ignore)
    # A file where each of numba's folders should be: not even root can write there.
    for folder in (package / "ans" / "kernels", tmp_path):
        (folder / "__pycache__").write_text("")
    nowhere = str(tmp_path / "__pycache__" / "cache")
    paths = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    result = run(
        PROGRAM,
        NUMBA_CACHE_DIR=nowhere,
        XDG_CACHE_HOME=nowhere,
        HOME=nowhere,
        PYTHONPATH=paths,
    )
    same, file = result.stdout.splitlines()
    assert same == "True", result.stderr
    assert Path(file).is_relative_to(tmp_path)
    assert not list(tmp_path.rglob("*.nb?"))

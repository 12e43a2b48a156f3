"""Vectors of craystack: every coder, codec and combinator gives the recorded words."""

from __future__ import annotations

import json
import math
from statistics import NormalDist

import numpy as np
import pytest

from nc_core.ans.craystack_adapter import CraystackCoder
from nc_core.ans.distributions import (
    AffineBins,
    Bernoulli,
    Categorical,
    DiscretizedGaussian,
    DiscretizedLogistic,
    EdgeBins,
    Mixture,
    Uniform,
    weight_index,
)
from nc_core.ans.finer import pop_fraction, push_fraction
from nc_core.ans.folding import (
    fold,
    pop_benford,
    pop_big_uniform,
    push_benford,
    push_big_uniform,
    unfold,
)
from nc_core.ans.message import Message
from nc_core.ans.multiset import pop_multiset, push_multiset
from nc_core.ans.rans import Rans
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.errors import MissingDependencyError

CORE_PROGRAMS = ["w1_p8", "w5_p12", "w3x4_p16", "w64_p24", "w7_mixedprec"]


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "bitswap"

    def load(name):
        path = folder / name
        return json.loads(path.read_text()) if path.suffix == ".json" else np.load(path)

    return load


@pytest.fixture(scope="module")
def rans_vectors(golden):
    with golden("rans_vectors.npz") as archive:
        return dict(archive)


@pytest.fixture(params=[Rans, RansNumpy, CraystackCoder])
def coder(request):
    try:
        return request.param()
    except MissingDependencyError:
        pytest.skip("craystack is not installed")


def raised_to_one(pmf, precision):
    """Frequencies of craystack's Categorical: rounded, zeros raised, surplus from the largest."""
    freqs = np.maximum(np.rint(pmf * (1 << precision)).astype(np.int64), 1)
    for row in freqs:
        row[row.argmax()] += (1 << precision) - row.sum()
    return freqs


def rounded_cumulative(weights, precision):
    """Frequencies of craystack's CategoricalNew: differences of rounded cumulative weights."""
    cumulative = np.cumsum(weights, axis=-1) / weights.sum(axis=-1, keepdims=True)
    ends = np.ceil(cumulative * (1 << precision) - 0.5).astype(np.int64)
    return np.diff(ends, axis=-1, prepend=0)


def uniform(counts):
    return counts, counts, np.ones(len(counts), np.uint64)


# The core


@pytest.mark.parametrize("program", CORE_PROGRAMS)
def test_programs_of_pushes_give_craystacks_words(rans_vectors, coder, program):
    starts = rans_vectors[f"core/{program}/starts"]
    steps, lanes = len(starts), starts[0].size
    rows = [
        rans_vectors[f"core/{program}/{name}"].reshape(steps, lanes)[::-1]
        for name in ("starts", "freqs", "precisions")
    ]
    message = Message(lanes)
    coder.push_intervals(message, *rows)
    assert np.array_equal(message.to_words(), rans_vectors[f"core/{program}/words"])


@pytest.mark.parametrize("program", CORE_PROGRAMS)
def test_folding_gives_craystacks_words(rans_vectors, program):
    words = rans_vectors[f"core/{program}/words"]
    folded = rans_vectors[f"core/{program}/scalar_head_flat_words"]
    lanes = rans_vectors[f"core/{program}/starts"][0].size
    assert np.array_equal(fold(Message.from_words(words, lanes)), folded)
    assert np.array_equal(unfold(folded, lanes).to_words(), words)


def test_the_recorded_sizes_agree_with_the_words(rans_vectors, golden):
    for name, facts in golden("rans_vectors.json").items():
        words = rans_vectors[f"{name}/words"]
        lanes = math.prod(facts["shape"])
        assert len(words) == facts["words"]
        if "info_bits" in facts:
            bits = Message.from_words(words, lanes).bits
            assert bits == pytest.approx(facts["info_bits"], rel=1e-4)
        else:
            assert 32 * (len(words) - 2 * lanes) == facts["bits_over_base"]


def test_popping_a_sample_is_undone_by_pushing_it(rans_vectors, coder):
    before, after = rans_vectors["sample/words0"], rans_vectors["sample/words1"]
    lanes, precision = 6, 12
    message = Message.from_words(before, lanes)
    sampled = Message.from_words(after, lanes)
    # The tables were not recorded; the two heads of a lane tell the interval between them.
    high = message.heads >> np.uint64(precision)
    freqs = sampled.heads // high
    starts = message.heads % np.uint64(1 << precision) + freqs * high - sampled.heads
    coder.push_intervals(sampled, starts[None], freqs[None], precision)
    assert np.array_equal(sampled.to_words(), before)
    symbols = rans_vectors["sample/categorical_symbols"]
    assert np.array_equal(starts == 0, symbols == 0)


# Codecs on tables, and combinators


def table_codecs(vectors):
    """Distributions of the codecs on integer tables, by name."""
    shape = (10, 12)
    return {
        "uniform_p12": Uniform(1 << 12, shape),
        "bernoulli_p16": Bernoulli.from_probability(
            np.broadcast_to(vectors["codec/bernoulli_p16/p"], shape), 16
        ),
        "categorical_p14": Categorical(
            raised_to_one(vectors["codec/categorical_p14/probs"], 14)[None], shape
        ),
        "categoricalnew_p14": Categorical(
            rounded_cumulative(vectors["codec/categoricalnew_p14/weights"], 14)[None], shape
        ),
    }


@pytest.mark.parametrize(
    "name", ["uniform_p12", "bernoulli_p16", "categorical_p14", "categoricalnew_p14"]
)
def test_codecs_on_tables_give_craystacks_words(rans_vectors, coder, name):
    distribution = table_codecs(rans_vectors)[name]
    data, words = rans_vectors[f"codec/{name}/data"], rans_vectors[f"codec/{name}/words"]
    message = Message(12)
    coder.push(message, data, distribution)
    assert np.array_equal(message.to_words(), words)
    assert np.array_equal(coder.pop(message, distribution), data)
    assert message.is_initial()


def test_the_categorical_table_is_craystacks(rans_vectors):
    freqs = raised_to_one(rans_vectors["codec/categorical_p14/probs"], 14)
    recorded = rans_vectors["codec/categorical_p14/cumulative_buckets"].astype(np.int64)
    assert np.array_equal(np.diff(recorded), freqs)


def test_big_codecs_give_craystacks_words(rans_vectors):
    heads = rans_vectors["codec/benford64/data"]
    integers = rans_vectors["codec/biguniform_p40/data"]
    message = Message(12)
    for row in heads[::-1]:
        push_benford(message, row)
    assert np.array_equal(message.to_words(), rans_vectors["codec/benford64/words"])
    assert np.array_equal([pop_benford(message, 12) for _ in heads], heads)
    for row in integers[::-1]:
        push_big_uniform(message, row, 40)
    assert np.array_equal(message.to_words(), rans_vectors["codec/biguniform_p40/words"])
    assert np.array_equal([pop_big_uniform(message, 12, 40) for _ in integers], integers)
    assert message.is_initial()


def test_any_denominator_gives_craystacks_words(rans_vectors):
    starts, totals = rans_vectors["finer/starts"], rans_vectors["finer/N"]
    message = Message(3)
    for start in starts:
        push_fraction(message, start, 1, totals)
    assert np.array_equal(message.to_words(), rans_vectors["finer/words"])
    for start in starts[::-1]:
        assert np.array_equal(pop_fraction(message, totals, uniform), start)
    assert message.is_initial()


def test_multisets_give_craystacks_words(rans_vectors):
    symbols = rans_vectors["multiset/symbols"].tolist()
    message = Message.from_words(rans_vectors["multiset/words0"], 4)
    push_multiset(message, symbols, lambda to, symbol: push_fraction(to, symbol, 1, 256, 1))
    assert np.array_equal(message.to_words(), rans_vectors["multiset/words1"])
    popped = pop_multiset(message, 40, lambda of: int(pop_fraction(of, 256, uniform, 1)[0]))
    assert popped == sorted(symbols)
    assert np.array_equal(message.to_words(), rans_vectors["multiset/words0"])


# Parametric codecs, which cost the same number of bits


def gaussian(bins, means, deviations, precision):
    return DiscretizedGaussian(
        np.repeat(bins.mean_index(means)[None], 10, axis=0),
        bins.scale_index(deviations)[None],
        bins,
        precision=precision,
    )


def parametric_codecs(vectors):
    """Distributions of ours for the parametric codecs, by name; lanes are flat."""
    found = {}
    unit = AffineBins(0, 256, 256, fraction_bits=8)  # the unit of length is one of 256 bins
    cell = AffineBins(0, 256, 63, fraction_bits=8)
    quantiles = np.array([NormalDist().inv_cdf(k / 256) for k in range(1, 256)])

    def parameters(name, *keys):
        return [vectors[f"codec/{name}/{key}"] for key in keys]

    name = "logistic_unifbins_p16_b8"
    means, log_scales = parameters(name, "means", "log_scales")
    found[name] = DiscretizedLogistic(
        np.repeat(unit.mean_index((means + 1) * 128)[None], 10, axis=0),
        unit.scale_index(np.exp(log_scales) * 128)[None],
        unit,
    )

    name = "logisticmixture_p14_b8"
    means, log_scales, logits = (
        np.moveaxis(array, 1, 0).reshape(3, 12)
        for array in parameters(name, "means", "log_scales", "logit_probs")
    )
    weights = np.exp(logits) / np.exp(logits).sum(axis=0)
    components = [
        DiscretizedLogistic(
            np.repeat(unit.mean_index((mean + 1) * 128)[None], 10, axis=0),
            unit.scale_index(np.exp(log_scale) * 128)[None],
            unit,
        )
        for mean, log_scale in zip(means, log_scales, strict=True)
    ]
    found[name] = Mixture(components, weight_index(weights)[:, None])

    name = "diaggaussian_stdbins_p16_b8"
    mean, deviation = parameters(name, "mean", "stdd")
    bins = EdgeBins(np.rint(np.ldexp(quantiles, 14)).astype(np.int64), fraction_bits=14)
    found[name] = gaussian(bins, mean, deviation, 24)

    name = "diaggaussian_gaussianbins_p18_b8"
    mean, deviation, centre, width = parameters(name, "mean", "stdd", "bin_mean", "bin_stdd")
    edges = np.ldexp(centre[:, None] + width[:, None] * quantiles, 14)
    bins = EdgeBins(np.rint(edges).astype(np.int64)[None], fraction_bits=14)
    found[name] = gaussian(bins, mean, deviation, 24)

    # Data far out in the tails here: they cost what the floor of one count out of 2**16 costs.
    name = "diaggaussian_unifbins_p16_n64"
    mean, deviation = parameters(name, "mean", "stdd")
    found[name] = gaussian(cell, (mean + 4) * 63 / 8, deviation * 63 / 8, 16)
    return found


def test_parametric_codecs_cost_what_craystacks_cost(rans_vectors):
    for name, distribution in parametric_codecs(rans_vectors).items():
        data = rans_vectors[f"codec/{name}/data"].reshape(10, 12).astype(np.int64)
        theirs = Message.from_words(rans_vectors[f"codec/{name}/words"], 12).bits
        tolerance = 5e-3 if name == "diaggaussian_unifbins_p16_n64" else 3e-4
        assert distribution.bits(data).sum() == pytest.approx(theirs, rel=tolerance)

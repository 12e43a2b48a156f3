"""Integer distributions: exact totals, exact inverses, the cost of real-valued distributions."""

from __future__ import annotations

import hashlib
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nc_core.ans import (
    TABLES_VERSION,
    AffineBins,
    Bernoulli,
    BetaBinomial,
    Categorical,
    DiscretizedGaussian,
    DiscretizedLaplace,
    DiscretizedLogistic,
    EdgeBins,
    Mixture,
    PixelBins,
    Uniform,
    tables,
)
from nc_core.ans.distributions import (
    concentration_index,
    concentration_value,
    position_index,
    scale_index,
    scale_value,
    weight_index,
)
from nc_core.ans.tables import generate
from nc_core.errors import DataError

FAMILIES = [DiscretizedLogistic, DiscretizedGaussian, DiscretizedLaplace]
CURVES = ["sigmoid", "normal", "laplace"]
MEAN_LIMIT = 2**31 - 1

# Where symbols lie: pixels, few and many; latents of equal and of unequal width, and empty bins.
BINS = {
    "pixels": PixelBins(256),
    "few pixels": PixelBins(3, fraction_bits=14, scale_shift=-8),
    "two pixels": PixelBins(2),
    "one pixel": PixelBins(1),
    "deep pixels": PixelBins(2048, fraction_bits=4, scale_shift=5),
    "affine": AffineBins(-4000, 13, 600),
    "edges": EdgeBins(np.array([-9000, -300, -20, -20, -1, 0, 7, 7, 7, 5000])),
    "no edge": EdgeBins(np.zeros(0, np.int64)),
}

# Scales closer together.
FINER = {
    "finer pixels": PixelBins(256, scale_bits=10),
    "finer affine": AffineBins(-4000, 13, 600, scale_shift=-2, scale_bits=8),
    "finer edges": EdgeBins(np.array([-9000, -20, -20, 0, 7, 5000]), scale_shift=1, scale_bits=7),
}
ALL_BINS = BINS | FINER
SCALE_BITS = [6, 7, 8, 9, 10]

means = st.integers(-(2**18), 2**18) | st.integers(-MEAN_LIMIT, MEAN_LIMIT)
scales = st.integers(0, 1023)
fine_scales = st.integers(0, 2**14 - 1)


def repeated(make, lanes):
    """A distribution whose lanes are all alike."""
    return make((1, lanes))


def whole_alphabet(make, size):
    """Starts of all symbols and the end of the last."""
    starts, freqs = make((1, size)).intervals(np.arange(size)[None])
    ends = starts + freqs
    assert np.array_equal(starts[0, 1:], ends[0, :-1])
    return np.append(starts[0], ends[0, -1])


def check_inverse(make, size, precision, counts):
    """That counts are located in exactly the intervals that hold them."""
    distribution = make((1, len(counts)))
    cumulative = whole_alphabet(make, size)
    assert cumulative[0] == 0
    assert cumulative[-1] == 1 << precision
    symbols, starts, freqs = distribution.locate(0, counts)
    assert np.array_equal(symbols, np.searchsorted(cumulative, counts, side="right") - 1)
    assert np.array_equal(starts, cumulative[symbols])
    assert np.array_equal(freqs, cumulative[symbols + 1] - starts)
    assert freqs.all()
    return np.diff(cumulative)


def counts_to_try(precision):
    """All counts of a small precision; of a large one both tails and some between."""
    total = 1 << precision
    if precision <= 12:
        return np.arange(total, dtype=np.uint64)
    middle = np.random.default_rng(7).integers(0, total, 500)
    ends = np.arange(50)
    return np.concatenate([ends, middle, total - 1 - ends]).astype(np.uint64)


def location_scale(family, mean, scale, bins, precision, window=None):
    def make(shape):
        return family(
            np.full(shape, mean),
            np.full(shape, scale),
            bins,
            precision=precision,
            window=window,
        )

    return make


# Intervals and their inverses


@pytest.mark.parametrize("bins", ALL_BINS.values(), ids=ALL_BINS)
@pytest.mark.parametrize("family", FAMILIES)
@given(mean=means, scale=fine_scales, precision=st.sampled_from([12, 24, 28]))
@settings(max_examples=15, deadline=None)
def test_location_scale_owns_every_count_once(family, bins, mean, scale, precision):
    make = location_scale(family, mean, scale % bins.scales, bins, precision)
    freqs = check_inverse(make, bins.size, precision, counts_to_try(precision))
    assert (freqs >= 1).all()


@pytest.mark.parametrize("bins", ALL_BINS.values(), ids=ALL_BINS)
@given(
    mean=means, scale=fine_scales, window=st.integers(1, 23), precision=st.sampled_from([12, 28])
)
@settings(max_examples=15, deadline=None)
def test_a_window_owns_every_count_once(bins, mean, scale, window, precision):
    make = location_scale(DiscretizedLogistic, mean, scale % bins.scales, bins, precision, window)
    check_inverse(make, bins.size, precision, counts_to_try(precision))


@given(
    parameters=st.lists(st.tuples(means, scales, st.integers(1, 50)), min_size=1, max_size=4),
    bins=st.sampled_from(list(BINS.values())),
    precision=st.sampled_from([12, 24, 28]),
)
@settings(max_examples=40, deadline=None)
def test_mixtures_own_every_count_once(parameters, bins, precision):
    weights = weight_index(np.array([one[2] for one in parameters]) / sum(p[2] for p in parameters))

    def make(shape):
        components = [
            FAMILIES[i % 3](np.full(shape, mean), np.full(shape, scale), bins, precision=precision)
            for i, (mean, scale, _) in enumerate(parameters)
        ]
        return Mixture(components, weights[:, None, None])

    freqs = check_inverse(make, bins.size, precision, counts_to_try(precision))
    assert (freqs >= 1).all()


@given(
    weights=st.lists(st.floats(0, 1) | st.just(0.0), min_size=1, max_size=40),
    precision=st.sampled_from([6, 12, 24, 28]),
)
@settings(max_examples=60, deadline=None)
def test_categorical_from_probabilities_keeps_every_symbol(weights, precision):
    pmf = np.array(weights) + 1e-9
    pmf /= pmf.sum()

    def make(shape):
        return Categorical.from_pmf(pmf, shape, precision)

    freqs = check_inverse(make, len(pmf), precision, counts_to_try(precision))
    assert (freqs >= 1).all()
    assert np.abs(freqs - pmf * 2.0**precision).max() <= len(pmf) + 1


def test_categorical_skips_impossible_symbols():
    frequencies = np.array([0, 3, 0, 0, 4, 1, 0])

    def make(shape):
        return Categorical(frequencies, shape)

    freqs = check_inverse(make, 7, 3, np.arange(8, dtype=np.uint64))
    assert np.array_equal(freqs, frequencies)


@given(size=st.integers(1, 5000), precision=st.sampled_from([13, 24, 28]))
@settings(max_examples=40, deadline=None)
def test_uniform_owns_every_count_once(size, precision):
    def make(shape):
        return Uniform(size, shape, precision)

    freqs = check_inverse(make, size, precision, counts_to_try(precision))
    assert freqs.max() - freqs.min() <= 1


def test_uniform_chooses_an_exact_precision_for_powers_of_two():
    assert Uniform(256, (1, 1)).precision == 8
    assert Uniform(1, (1, 1)).precision == 1
    assert Uniform(6, (1, 1)).precision == 28
    assert (Uniform(256, (2, 3)).bits(np.zeros((2, 3), int)) == 8.0).all()


@given(zeros=st.integers(1, 2**12 - 1))
@settings(max_examples=20, deadline=None)
def test_bernoulli_owns_every_count_once(zeros):
    def make(shape):
        return Bernoulli(np.full(shape, zeros), 12)

    assert check_inverse(make, 2, 12, counts_to_try(12))[0] == zeros


def test_bernoulli_keeps_certain_symbols_possible():
    certain = Bernoulli.from_probability(np.array([[0.0, 1.0]]), 10)
    _, freqs = certain.intervals(np.array([[1, 0]]))
    assert freqs.tolist() == [[1, 1]]


@given(
    alpha=st.integers(0, 3071), beta=st.integers(0, 3071), precision=st.sampled_from([12, 24, 28])
)
@settings(max_examples=30, deadline=None)
def test_beta_binomial_owns_every_count_once(alpha, beta, precision):
    def make(shape):
        return BetaBinomial(np.full(shape, alpha), np.full(shape, beta), 255, precision)

    counts = np.append(counts_to_try(precision)[:20], counts_to_try(precision)[-20:])
    assert (check_inverse(make, 256, precision, counts) >= 1).all()


def test_rows_and_lanes_have_parameters_of_their_own():
    generator = np.random.default_rng(3)
    shape = (4, 3)
    mean, scale = generator.integers(0, 65536, shape), generator.integers(0, 1024, shape)
    together = DiscretizedLogistic(mean, scale, PixelBins(256))
    symbols = generator.integers(0, 256, shape)
    starts, freqs = together.intervals(symbols)
    for step, lane in np.ndindex(shape):
        alone = DiscretizedLogistic(
            mean[step : step + 1, lane : lane + 1],
            scale[step : step + 1, lane : lane + 1],
            PixelBins(256),
        )
        start, freq = alone.intervals(symbols[step : step + 1, lane : lane + 1])
        assert (start[0, 0], freq[0, 0]) == (starts[step, lane], freqs[step, lane])


def test_parameters_broadcast_to_the_shape_of_the_bins():
    bins = AffineBins(np.arange(5)[:, None] * 100, 7, 30)
    distribution = DiscretizedLogistic(np.zeros((1, 3), int), np.full((1, 1), 500), bins)
    assert distribution.shape == (5, 3)


# The formula


@pytest.fixture(scope="module")
def nodes():
    """The polygon of a logistic with 24 bits and 256 symbols, in Python's integers."""
    spare = (1 << 24) - 256
    return [(spare * int(node) + (1 << 25)) >> 26 for node in generate.sigmoid()]


@given(
    mean=st.integers(-70000, 70000),
    scale=fine_scales,
    symbol=st.integers(1, 255),
    bits=st.sampled_from(SCALE_BITS),
)
@settings(max_examples=60, deadline=None)
def test_starts_follow_the_declared_formula(nodes, mean, scale, symbol, bits):
    scale %= 16 << bits
    inverse = int((Decimal(2) ** (30 - Decimal(scale) / (1 << bits))).to_integral_value())
    argument = ((((symbol << 8) - 128) - mean) * inverse) >> 16
    position = min(max(argument, -24 << 16), 24 << 16) + (24 << 16)
    cell, fraction = position >> 10, position & 1023
    value = nodes[cell] + ((nodes[cell + 1] - nodes[cell]) * fraction >> 10)
    bins = PixelBins(256, scale_bits=bits)
    distribution = DiscretizedLogistic(np.array([[mean]]), np.array([[scale]]), bins)
    starts, _ = distribution.intervals(np.array([[symbol]]))
    assert int(starts[0, 0]) == (value >> 8) + symbol


@pytest.mark.parametrize("bits", SCALE_BITS)
def test_scales_are_correctly_rounded_in_both_directions(bits):
    octaves = [Decimal(i) / (1 << bits) for i in range(16 << bits)]
    inverse = [int((Decimal(2) ** (30 - octave)).to_integral_value()) for octave in octaves]
    forward = [int((Decimal(2) ** (10 + octave)).to_integral_value()) for octave in octaves]
    assert tables.inverse_scales(bits).tolist() == inverse
    assert tables.forward_scales(bits).tolist() == forward


SCALES_SHA256 = {
    6: "5d4e22a30fb01dd785531b83051bba2387a9303df78011a00e3518aff5835055",
    7: "7ac79a0122bf4e0641ff93618e419581f81531cac9deff815c6ba73df05205bd",
    8: "d632ed45720027481f2cf35d26e504c1dcd23deabeef5ad2f5708943361f214d",
    9: "f5c19bb116048b035d6e430474ba2649f69e97c80ef5ecdb9fa2b47d2616fab2",
    10: "d4b8e1d7f8fb9f6219143877d76858e0dc4368ae388d3efbc7e091ac6117bb2e",
}


@pytest.mark.parametrize("bits", SCALE_BITS)
def test_scales_are_those_that_files_were_written_with(bits):
    both = np.concatenate([tables.inverse_scales(bits), tables.forward_scales(bits)])
    assert hashlib.sha256(both.astype("<i8").tobytes()).hexdigest() == SCALES_SHA256[bits]


def test_every_grid_of_scales_holds_the_coarser_ones():
    for bits in SCALE_BITS[1:]:
        assert np.array_equal(tables.inverse_scales(bits)[::2], tables.inverse_scales(bits - 1))
        assert np.array_equal(tables.forward_scales(bits)[::2], tables.forward_scales(bits - 1))


@pytest.mark.parametrize("precision", [12, 17, 24, 28])
@pytest.mark.parametrize("name", CURVES)
def test_curves_increase_from_nothing_to_everything(name, precision):
    size = 200
    curve = tables.curve(name, precision, size)
    assert curve.nodes[0] == 0
    assert (curve.nodes[-2:] == ((1 << precision) - size) << 8).all()
    assert (np.diff(curve.nodes) >= 0).all()
    inside = np.arange(0, 48 << 16, 997)
    cell, fraction = inside >> 10, inside & 1023
    polygon = (curve.nodes[cell] << 10) + (curve.nodes[cell + 1] - curve.nodes[cell]) * fraction
    assert np.array_equal(polygon, curve.intercepts[cell] + curve.slopes[cell] * inside)


def test_tables_are_what_their_program_makes():
    assert TABLES_VERSION == 1
    for name in [*CURVES, "octave"]:
        assert np.array_equal(tables.load(name), getattr(generate, name)())
        assert not tables.load(name).flags.writeable


def test_the_program_writes_the_files_that_ship(tmp_path):
    generate.write_tables(tmp_path)
    for path in tmp_path.iterdir():
        shipped = tables.__path__[0] + "/" + path.name
        with open(shipped, "rb") as file:  # noqa: PTH123
            assert path.read_bytes() == file.read()


def test_a_damaged_table_is_refused(tmp_path, monkeypatch):
    generate.write_tables(tmp_path)
    damaged = np.load(tmp_path / "normal.npy")
    damaged[1500] += 1
    np.save(tmp_path / "normal.npy", damaged)
    monkeypatch.setattr(tables.resources, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match="normal"):
        tables.load.__wrapped__("normal")


# What symbols cost


def real_cdf(family, argument):
    if family is DiscretizedLogistic:
        return 0.5 * (1 + np.tanh(argument / 2))
    if family is DiscretizedGaussian:
        return 0.5 * np.vectorize(math.erfc)(-argument / math.sqrt(2))
    tail = 0.5 * np.exp(-np.abs(argument))
    return np.where(argument < 0, tail, 1 - tail)


@pytest.mark.parametrize("low, high", [(0.05, 0.5), (0.3, 3.0), (2.0, 30.0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_code_length_is_that_of_the_real_valued_distribution(family, low, high):
    generator = np.random.default_rng(11)
    cases, bins = 300, PixelBins(256)
    mean = bins.mean_index(generator.uniform(20, 235, (cases, 1)))
    scale = bins.scale_index(np.exp(generator.uniform(np.log(low), np.log(high), (cases, 1))))
    edges = (np.arange(1, 256) - 0.5 - mean / 256) / scale_value(scale)
    # The lower half of a distribution function keeps its digits; use symmetry above the mean.
    below = np.concatenate([np.zeros((cases, 1)), real_cdf(family, edges), np.ones((cases, 1))], 1)
    above = np.concatenate([np.ones((cases, 1)), real_cdf(family, -edges), np.zeros((cases, 1))], 1)
    pmf = np.where(below[:, 1:] < 0.5, np.diff(below, axis=1), -np.diff(above, axis=1))
    symbols = np.broadcast_to(np.arange(256), (cases, 256))
    coded = family(np.repeat(mean, 256, 1), np.repeat(scale, 256, 1), bins).bits(symbols)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nansum(-pmf * np.log2(pmf))
    assert 0 <= (pmf * coded).sum() / entropy - 1 < 1e-4


@pytest.mark.parametrize("bits, most", [(6, 2e-5), (8, 2e-6), (10, 2e-7)])
def test_finer_scales_cost_less(bits, most):
    """What rounding the scale of a Gaussian costs, with its mean on the grid."""
    cases, bins = 400, AffineBins(-(10 << 8), 1 << 7, 40, scale_bits=bits)
    scales = np.exp(np.random.default_rng(2).uniform(np.log(0.9), np.log(1.1), (cases, 1)))
    edges = (np.arange(1, 40) / 2 - 10) / scales
    whole = [np.zeros((cases, 1)), real_cdf(DiscretizedGaussian, edges), np.ones((cases, 1))]
    pmf = np.diff(np.concatenate(whole, axis=1), axis=1)
    index = np.repeat(bins.scale_index(scales), 40, 1)
    coded = DiscretizedGaussian(np.zeros((1, 1), int), index, bins, precision=28)
    symbols = np.broadcast_to(np.arange(40), (cases, 40))
    cost = (pmf * (coded.bits(symbols) + np.log2(np.maximum(pmf, 1e-300)))).sum() / cases
    assert 0 < cost < most


def test_a_window_costs_nothing_at_the_bound():
    """Popped from a window and pushed under the plain distribution: the draw costs nothing."""
    bins = AffineBins(-(8 << 12), 1 << 6, 1024, fraction_bits=12)
    shape = (1, 1024)
    mean, scale = np.full(shape, 1234), np.full(shape, int(scale_index(np.array(0.11))))
    symbols = np.arange(1024)[None]
    plain = DiscretizedGaussian(mean, scale, bins, precision=28)
    window = DiscretizedGaussian(mean, scale, bins, precision=28, window=8)
    _, freqs = window.intervals(symbols)
    drawn = freqs[0] / 2.0**28
    possible = drawn > 0
    assert 40 < possible.sum() < 200
    change = plain.bits(symbols)[0, possible] - window.bits(symbols)[0, possible]
    assert abs((drawn[possible] * change).sum()) < 1e-3


def test_beta_binomial_costs_what_its_probabilities_say():
    generator = np.random.default_rng(5)
    alpha = concentration_index(np.exp(generator.uniform(-3, 6, (20, 1))))
    beta = concentration_index(np.exp(generator.uniform(-3, 6, (20, 1))))
    lgamma = np.vectorize(math.lgamma)
    k = np.arange(256.0)
    a, b = concentration_value(alpha), concentration_value(beta)
    log_pmf = (
        lgamma(256) - lgamma(k + 1) - lgamma(256 - k)
        + lgamma(k + a) + lgamma(255 - k + b) - lgamma(255 + a + b)
        + lgamma(a + b) - lgamma(a) - lgamma(b)
    )  # fmt: skip
    symbols = np.broadcast_to(np.arange(256), (20, 256))
    distribution = BetaBinomial(np.repeat(alpha, 256, 1), np.repeat(beta, 256, 1))
    pmf = np.exp(log_pmf)
    entropy = -(pmf * log_pmf).sum() / math.log(2)
    assert (pmf * distribution.bits(symbols)).sum() == pytest.approx(entropy, rel=1e-4)


def beta_binomial_weights(a, b, trials, bits):
    """The ratio recurrence step by step, in one number after the other; int64, (n, trials + 1)."""
    n = float(trials)
    mantissa, exponent = np.full(a.shape, 0.5), np.ones(a.shape, np.int64)
    mantissas, exponents = [mantissa], [exponent]
    for k in range(trials):
        product = mantissa * ((n - k) * (k + a)) / ((k + 1.0) * (n - k - 1.0 + b))
        mantissa, shift = np.frexp(product)
        exponent = exponent + shift
        mantissas.append(mantissa)
        exponents.append(exponent)
    relative = np.maximum(np.array(exponents) - np.max(exponents, axis=0), -1000)
    return np.rint(np.ldexp(mantissas, relative + bits)).astype(np.int64).T


@pytest.mark.parametrize("precision", [12, 24, 28])
@pytest.mark.parametrize("trials", [1, 7, 8, 9, 255, 4000])
def test_compiled_tables_of_beta_binomials_are_those_of_the_recurrence(trials, precision):
    generator = np.random.default_rng(trials)
    alpha, beta = generator.integers(0, 3072, (2, 37, 1))
    alpha[:4, 0], beta[:4, 0] = [0, 3071, 0, 3071], [0, 3071, 3071, 0]
    size = trials + 1
    a, b = concentration_value(alpha[:, 0]), concentration_value(beta[:, 0])
    weights = beta_binomial_weights(a, b, trials, 62 - precision - size.bit_length())
    sums = np.pad(np.cumsum(weights, axis=1), ((0, 0), (1, 0)))
    starts = sums * ((1 << precision) - size) // sums[:, -1:] + np.arange(size + 1)
    tables = BetaBinomial(alpha, beta, trials, precision).kernel_arguments()[0]
    assert np.array_equal(tables, starts.ravel())


def test_impossible_symbols_cost_infinitely_many_bits():
    distribution = Categorical(np.array([0, 8]), (1, 2))
    assert distribution.bits(np.array([[0, 1]])).tolist() == [[math.inf, 0.0]]


# Grids


def test_grids_round_to_the_nearest_index():
    index = np.arange(1024)
    assert np.array_equal(scale_index(scale_value(index)), index)
    assert np.array_equal(scale_index(scale_value(index) * 1.005), index)
    assert np.array_equal(scale_index(scale_value(index) * 0.995), index)
    assert np.array_equal(scale_index(scale_value(index, 5), 5), index)
    index = np.arange(3072)
    assert np.array_equal(concentration_index(concentration_value(index)), index)
    assert scale_value(np.array([384, 448])).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("bits", SCALE_BITS)
def test_scales_round_to_the_nearest_index_of_any_grid(bits):
    count, half_step = 16 << bits, 2.0 ** (0.5 / (1 << bits)) - 1
    index = np.arange(count)
    for shift in (-8, 0, 5):
        values = scale_value(index, shift, bits)
        assert np.allclose(values, 2.0 ** (index / (1 << bits) - 6 + shift), rtol=1e-13)
        for change in (0, half_step * 0.99, -half_step * 0.99):
            assert np.array_equal(scale_index(values * (1 + change), shift, bits), index)
        bins = PixelBins(scale_shift=shift, scale_bits=bits)
        assert bins.scales == count
        assert np.array_equal(bins.scale_index(values), index)


def test_grids_are_limited_to_their_ends():
    ends = np.array([1e-300, 1e-2, 1e9, np.inf])
    assert scale_index(ends).tolist() == [0, 0, 1023, 1023]
    assert scale_index(ends, scale_bits=10).tolist() == [0, 0, 16383, 16383]
    assert position_index(np.array([1e30, -np.inf]), 8).tolist() == [1 << 30, -(1 << 30)]
    assert position_index(np.array([1.0, -0.25, 0.001]), 8).tolist() == [256, -64, 0]


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_values_off_the_log_grid_are_refused(value):
    with pytest.raises(ValueError, match="positive"):
        scale_index(np.array([1.0, value]))


def test_positions_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="not a number"):
        position_index(np.array([np.nan]))


def test_mixture_weights_sum_exactly():
    weights = np.random.default_rng(1).dirichlet(np.ones(5), (7, 3))
    index = weight_index(np.moveaxis(weights, -1, 0), 12)
    assert (index.sum(axis=0) == 1 << 12).all()
    assert np.abs(np.moveaxis(index, 0, -1) / 2**12 - weights).max() < 2 / 2**12


# States that cannot be built

ONE = np.zeros((1, 1), int)
REFUSED = {
    "uniform over nothing": lambda: Uniform(0, (1, 1)),
    "uniform finer than its precision": lambda: Uniform(9, (1, 1), 3),
    "no lanes": lambda: Uniform(2, (1, 0)),
    "a precision too large": lambda: Uniform(2, (1, 1), 29),
    "a certain Bernoulli": lambda: Bernoulli(ONE, 8),
    "a real-valued frequency": lambda: Bernoulli(np.full((1, 1), 3.0), 8),
    "a probability above 1": lambda: Bernoulli.from_probability(np.full((1, 1), 1.5)),
    "a Bernoulli of one axis": lambda: Bernoulli(np.array([3]), 8),
    "frequencies that sum to 7": lambda: Categorical(np.array([3, 4]), (1, 1)),
    "negative frequencies": lambda: Categorical(np.array([-4, 8]), (1, 1)),
    "tables of unequal sums": lambda: Categorical(np.array([[[4, 4]], [[2, 2]]])),
    "an empty alphabet": lambda: Categorical(np.zeros((1, 1, 0), int)),
    "tables for other lanes": lambda: Categorical(np.full((1, 2, 2), 4), (1, 3)),
    "probabilities that sum to 2": lambda: Categorical.from_pmf(np.array([1.0, 1.0]), (1, 1)),
    "negative probabilities": lambda: Categorical.from_pmf(np.array([1.5, -0.5]), (1, 1)),
    "probabilities that are no numbers": lambda: Categorical.from_pmf(np.array([np.nan]), (1, 1)),
    "symbols beyond the precision": lambda: Categorical.from_pmf(np.full(9, 1 / 9), (1, 1), 3),
    "no trials": lambda: BetaBinomial(ONE, ONE, 0),
    "an unknown concentration": lambda: BetaBinomial(ONE + 3072, ONE),
    "no symbols": lambda: PixelBins(0),
    "too many symbols": lambda: PixelBins(65537),
    "no fractional bits": lambda: PixelBins(256, 0),
    "a far shift": lambda: PixelBins(256, 8, 9),
    "coarser scales": lambda: PixelBins(256, scale_bits=5),
    "the finest scales and finer": lambda: PixelBins(256, scale_bits=11),
    "indices of finer scales still": lambda: scale_index(np.ones(1), 0, 11),
    "bins of no width": lambda: AffineBins(0, 0, 4),
    "bins out of reach": lambda: AffineBins(0, 1 << 29, 4),
    "offsets of one axis": lambda: AffineBins(np.zeros(3, int), 1, 4),
    "decreasing edges": lambda: EdgeBins(np.array([3, 2])),
    "edges of two axes": lambda: EdgeBins(np.array([[1, 2]])),
    "an unknown scale": lambda: DiscretizedLogistic(ONE, ONE + 1024, PixelBins()),
    "an unknown finer scale": lambda: DiscretizedLogistic(ONE, ONE + 4096, PixelBins(scale_bits=8)),
    "a negative scale": lambda: DiscretizedLogistic(ONE, ONE - 1, PixelBins()),
    "a real-valued mean": lambda: DiscretizedLogistic(ONE + 0.5, ONE, PixelBins()),
    "a mean of 33 bits": lambda: DiscretizedLogistic(ONE + (1 << 32), ONE, PixelBins()),
    "a precision below 12": lambda: DiscretizedLogistic(ONE, ONE, PixelBins(4), precision=11),
    "more symbols than counts": lambda: DiscretizedLogistic(
        ONE, ONE, PixelBins(4096), precision=12
    ),
    "a window of 24": lambda: DiscretizedLogistic(ONE, ONE, PixelBins(), window=24),
    "shapes that do not fit": lambda: DiscretizedLogistic(
        np.zeros((1, 2), int), np.zeros((1, 3), int), PixelBins()
    ),
    "a mixture of nothing": lambda: Mixture([], ONE),
    "weights that sum to 3": lambda: Mixture(
        [DiscretizedLogistic(ONE, ONE, BINS["pixels"])] * 2, np.array([1, 2])[:, None, None]
    ),
    "components on other bins": lambda: Mixture(
        [DiscretizedLogistic(ONE, ONE, PixelBins()) for _ in range(2)], np.ones((2, 1, 1), int)
    ),
    "a component with a window": lambda: Mixture(
        [DiscretizedLogistic(ONE, ONE, BINS["pixels"], window=8)], np.ones((1, 1, 1), int)
    ),
    "components of finer scales": lambda: Mixture(
        [DiscretizedLogistic(ONE, ONE, FINER["finer pixels"])], np.ones((1, 1, 1), int)
    ),
    "weights of no bits": lambda: weight_index(np.ones((1, 1)), 0),
    "real weights that sum to 2": lambda: weight_index(np.ones((2, 1))),
}


@pytest.mark.parametrize("build", REFUSED.values(), ids=REFUSED)
def test_what_cannot_code_cannot_be_built(build):
    with pytest.raises(ValueError):
        build()


@pytest.mark.parametrize("symbols", [[[-1]], [[256]], [[0.0]], [0], [[0, 0]]])
def test_symbols_outside_the_alphabet_are_refused(symbols):
    for distribution in (
        Uniform(256, (1, 1)),
        Categorical(np.full(256, 4), (1, 1)),
        DiscretizedLogistic(ONE, ONE, PixelBins(256)),
    ):
        with pytest.raises(ValueError):
            distribution.intervals(np.array(symbols))


def test_shared_tables_serve_any_shape():
    table = Categorical(np.full(4, 4), (1, 1)).for_shape((5, 7))
    assert table.intervals(np.full((5, 7), 3))[0].tolist() == [[12] * 7] * 5
    with pytest.raises(ValueError):
        Categorical(np.full((2, 1, 4), 4)).for_shape((3, 1))

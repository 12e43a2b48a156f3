"""Layers in integer arithmetic: bounds that hold, and sums that are exact in every setting."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from nc_core.errors import DataError, UsageError, WorkError  # noqa: E402
from nc_core.exact import arithmetic  # noqa: E402
from nc_core.exact.geometry import Geometry, as_source  # noqa: E402
from nc_core.exact.grid import FLOAT32_LIMIT, Grid  # noqa: E402
from nc_core.exact.layer import ExactLayer  # noqa: E402
from nc_core.exact.planning import Observed, Precision, build_layer  # noqa: E402
from nc_core.exact.quantization import Part, cut, integer_parts, largest_sums  # noqa: E402
from nc_core.exact.rules import Operand  # noqa: E402
from nc_core.exact.tensor import on_grid, plain  # noqa: E402
from nc_core.testing.torch_settings import onednn, precision, threads  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


CPU = torch.device("cpu")


def units(tensor: torch.Tensor) -> torch.Tensor:
    """Elements of a tensor on a grid as integers."""
    return tensor.integers()


def as_integers(layer: ExactLayer, inputs: torch.Tensor) -> torch.Tensor:
    """What a layer computes, in int64 arithmetic that leaves nothing to rounding.

    Args:
        layer: with one part.
        inputs: integers in units of the layer's input grid.
    """
    (part,) = layer.parts
    weight = torch.from_numpy(part.weight).double()
    bias = torch.from_numpy(part.bias).double()
    # float64 holds every integer below 2 ** 53, and no sum here reaches 2 ** 24.
    sums = layer.geometry.apply(inputs.double(), layer.geometry.native(weight), bias)
    assert float(sums.abs().max()) < FLOAT32_LIMIT
    finest = layer.output_grid.fraction_bits - layer.input_grid.fraction_bits
    up = torch.from_numpy(finest - part.shifts.astype(np.int64))
    return sums.long() * (2 ** up.view(-1, 1, 1))


def random_layer(
    seed: int, outputs: int, inputs: int, taps: int, bits: int, **options
) -> ExactLayer:
    generator = np.random.default_rng(seed)
    shape = (outputs, inputs, taps, taps)
    weight = generator.standard_normal(shape) * np.exp(
        generator.standard_normal((outputs, 1, 1, 1))
    )
    bias = generator.standard_normal(outputs)
    limit = (1 << (bits - 1)) - 1
    parts = integer_parts(weight, bias, 6, limit, [(0, inputs)], 1)
    geometry = Geometry(
        "conv2d", stride=(1, 1), padding=(taps // 2,) * 2, dilation=(1, 1), **options
    )
    return ExactLayer(geometry, Grid(6, limit), parts)


def extreme_inputs(layer: ExactLayer, batch: int, seed: int) -> torch.Tensor:
    """Inputs of the largest magnitude everywhere: the most that sums can be."""
    limit = layer.input_grid.limit
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, layer.parts[0].weight.shape[1], 9, 9)
    signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
    same = torch.sign(torch.from_numpy(layer.parts[0].weight)).sum((2, 3))[0].sign()
    signs[0] = same[:, None, None]
    return signs * limit


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    channels=st.sampled_from([1, 3, 8, 17, 33]),
    taps=st.sampled_from([1, 3, 5]),
    bits=st.integers(4, 16),
    batch=st.sampled_from([1, 3, 16]),
)
def test_layers_equal_integer_arithmetic(
    seed: int, channels: int, taps: int, bits: int, batch: int
) -> None:
    layer = random_layer(seed, 7, channels, taps, bits)
    inputs = extreme_inputs(layer, batch, seed)
    values = on_grid(Operand((inputs / 64).float(), layer.input_grid))
    expected = as_integers(layer, inputs)
    for enabled in (True, False):
        with onednn(enabled):
            assert torch.equal(units(layer(values)), expected)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("name", ["highest", "medium"])
def test_settings_of_the_process_change_nothing(count: int, enabled: bool, name: str) -> None:
    layer = random_layer(1, 48, 64, 3, 12)
    inputs = extreme_inputs(layer, 16, 5)
    expected = as_integers(layer, inputs)
    values = (inputs / 64).float()
    with threads(count), onednn(enabled), precision(name):
        for layout in (values, values.to(memory_format=torch.channels_last)):
            result = layer(on_grid(Operand(layout, layer.input_grid)))
            assert torch.equal(units(result), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = layer(on_grid(Operand(values, layer.input_grid)))
        assert torch.equal(units(result), expected)
        assert torch.get_float32_matmul_precision() == name


def test_without_the_guard_a_fast_algorithm_would_be_inexact() -> None:
    if not torch.backends.nnpack.is_available():
        pytest.skip("this PyTorch has no NNPACK")
    with onednn(False):
        assert arithmetic.largest_error(CPU) > 1
        with arithmetic.exact_float32(CPU):
            assert arithmetic.largest_error(CPU) == 0
        assert arithmetic.largest_error(CPU) > 1


def test_the_guard_gives_settings_back_after_the_last_user() -> None:
    before = torch.backends.nnpack.set_flags(True)
    with arithmetic.exact_float32(CPU):
        with arithmetic.exact_float32(CPU):
            pass
        assert torch.backends.nnpack.set_flags(False) == (False,)
    assert torch.backends.nnpack.set_flags(*before) == (True,)


def test_the_guard_may_be_left_in_any_order() -> None:
    before = torch.backends.nnpack.set_flags(True)
    first, second = arithmetic.exact_float32(CPU), arithmetic.exact_float32(CPU)
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert arithmetic.exactly(CPU, torch.backends.nnpack.set_flags, False) == (False,)
    second.__exit__()
    assert torch.backends.nnpack.set_flags(*before) == (True,)


def test_a_call_is_guarded_inside_and_outside_of_the_guard_and_in_other_threads() -> None:
    def is_guarded() -> bool:
        return not torch.backends.nnpack.set_flags(False)[0] and not torch.is_autocast_enabled(
            "cpu"
        )

    def guarded() -> bool:
        return arithmetic.exactly(CPU, is_guarded)

    before = torch.backends.nnpack.set_flags(True)
    assert guarded()
    with arithmetic.exact_float32(CPU):
        assert guarded()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert guarded()
        with ThreadPoolExecutor(1) as other:
            assert other.submit(guarded).result()
    assert torch.backends.nnpack.set_flags(*before) == (True,)


def test_a_device_without_established_exactness_is_refused() -> None:
    with pytest.raises(WorkError, match="not established on 'meta'"):
        arithmetic.exact_float32(torch.device("meta"))


def test_a_machine_that_computes_with_fewer_bits_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(arithmetic, "largest_error", lambda _: 3.0)
    with pytest.raises(WorkError, match="off by 3"):
        arithmetic.require_exact.__wrapped__(CPU)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 3)),
    scale=st.integers(-30, 20),
    fraction_bits=st.integers(-8, 24),
    limit=st.integers(1, 1 << 16),
    depth=st.integers(1, 3),
)
def test_integers_always_respect_the_bound_and_fill_it(
    seed: int, shape: tuple[int, ...], scale: int, fraction_bits: int, limit: int, depth: int
) -> None:
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal(shape) * 2.0**scale
    bias = generator.standard_normal(shape[0]) * 2.0**scale
    parts = integer_parts(weight, bias, fraction_bits, limit, [(0, shape[1])], depth)
    assert len(parts) == depth
    total = np.zeros_like(weight)
    for part in parts:
        assert (largest_sums(part, limit) < FLOAT32_LIMIT).all()
        total += np.ldexp(part.weight, -part.shifts[:, None, None])
    step = np.ldexp(1.0, -parts[-1].shifts)[:, None, None]
    # One bit more would not have fitted, unless the exponent was at its end.
    finer = integer_parts(weight * 2, bias * 2, fraction_bits, limit, [(0, shape[1])], 1)[0]
    assert (finer.shifts <= parts[0].shifts).all()
    assert (np.abs(total - weight) <= step / 2).all()


def test_a_layer_of_zeros_is_a_layer() -> None:
    parts = integer_parts(np.zeros((2, 3)), np.zeros(2), 8, 2047, [(0, 3)], 2)
    layer = ExactLayer(Geometry("linear"), Grid(8, 2047), parts)
    result = layer(on_grid(Operand(torch.ones(4, 3), Grid(0, 1))))
    assert torch.equal(plain(result), torch.zeros(4, 2))


def test_cutting_covers_every_channel_once() -> None:
    for inputs, pieces in ((255, 4), (7, 3), (5, 5), (8, 1)):
        ranges = cut(inputs, pieces)
        assert [channel for start, stop in ranges for channel in range(start, stop)] == list(
            range(inputs)
        )


MODULES = {
    "conv2d": lambda: nn.Conv2d(6, 4, 3, padding=1),
    "strided": lambda: nn.Conv2d(6, 4, 3, stride=2, padding=1),
    "dilated": lambda: nn.Conv2d(6, 4, 3, dilation=2, padding="same"),
    "even": lambda: nn.Conv2d(6, 4, 2, stride=2, bias=False),
    "grouped": lambda: nn.Conv2d(6, 4, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "valid": lambda: nn.Conv2d(6, 4, (1, 3), padding="valid"),
    "transposed": lambda: nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1),
    "transposed with output padding": lambda: nn.ConvTranspose2d(
        6, 4, 3, stride=2, padding=1, output_padding=1
    ),
    "linear": lambda: nn.Linear(8, 5),
    "conv1d": lambda: nn.Conv1d(6, 4, 3, padding=1),
    "parametrized": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 4, 3, padding=1)),
}


def module_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODULES[name]()


def real_inputs(name: str) -> torch.Tensor:
    shape = {"linear": (5, 3, 8), "conv1d": (5, 6, 8)}.get(name, (5, 6, 8, 8))
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("depth", [1, 2])
def test_layers_of_every_kind_come_close_to_their_float_form(name: str, depth: int) -> None:
    module, inputs = module_of(name), real_inputs(name)
    source = as_source(module, name)
    assert source is not None
    observed = Observed()
    observed.see(inputs)
    grid = Grid(20, 1 << 23)
    layer = build_layer(source, grid, observed, Precision(depth=depth))
    values = on_grid(Operand(torch.round(inputs * 2**20) / 2**20, grid))
    expected = module(inputs).detach()
    error = (plain(layer(values)) - expected).square().mean().sqrt() / expected.std()
    assert float(error) < (0.01 if depth == 1 else 0.001)
    assert layer.relative_error < (0.01 if depth == 1 else 0.001)
    assert (layer.largest_sums() < FLOAT32_LIMIT).all()


def test_more_sets_of_weights_bring_a_layer_closer() -> None:
    source = as_source(module_of("conv2d"), "")
    assert source is not None
    observed = Observed()
    observed.see(real_inputs("conv2d"))
    errors = [
        build_layer(
            source, Grid(20, 1 << 23), observed, Precision(input_bits=14, depth=depth)
        ).relative_error
        for depth in (1, 2, 3)
    ]
    assert errors[0] > 5 * errors[1] >= errors[2]


def test_pieces_of_a_wide_layer_bring_it_closer() -> None:
    torch.manual_seed(1)
    module, inputs = nn.Conv2d(256, 8, 3, padding=1), torch.randn(4, 256, 8, 8)
    source = as_source(module, "")
    assert source is not None
    observed = Observed()
    observed.see(inputs)
    grid = Grid(20, 1 << 23)
    whole = build_layer(source, grid, observed, Precision(pieces=1, depth=1))
    pieces = build_layer(source, grid, observed, Precision())
    assert len(whole.parts) == 1
    assert len(pieces.parts) == 4
    assert pieces.relative_error < 0.7 * whole.relative_error
    values = on_grid(Operand(torch.round(inputs * 2**20) / 2**20, grid))
    expected = module(inputs).detach()
    error = (plain(pieces(values)) - expected).std() / expected.std()
    assert float(error) == pytest.approx(pieces.relative_error, rel=0.2)


def test_a_layer_refuses_inputs_that_it_was_not_made_for() -> None:
    layer = random_layer(1, 2, 3, 3, 12)
    with pytest.raises(UsageError, match="without a grid"):
        layer(torch.zeros(1, 3, 4, 4))
    pixels = on_grid(Operand(torch.zeros(1, 3, 4, 4), Grid(0, 255, Fraction(1, 255))))
    with pytest.raises(UsageError, match="units of"):
        layer(pixels)


UNSUPPORTED = {
    "reflect": lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    "groups": lambda: nn.ConvTranspose2d(4, 4, 3, groups=2),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_options_without_an_exact_counterpart_are_named(name: str) -> None:
    with pytest.raises(UsageError, match="layer 'here'"):
        as_source(UNSUPPORTED[name](), "here")


def broken(layer: ExactLayer, change) -> None:
    tensors, config = layer.exact_tensors(), layer.exact_config()
    change(tensors, config)
    ExactLayer.from_exact(tensors, config)


BREAKAGES = {
    "a larger weight": lambda t, c: t["weight.0"].fill_(32767),
    "a larger limit": lambda t, c: c.update(limit=c["limit"] * 4),
    "a negative limit": lambda t, c: c.update(limit=-1),
    "no limit": lambda t, c: c.pop("limit"),
    "an impossible unit": lambda t, c: c.update(unit="1/0"),
    "a unit in words": lambda t, c: c.update(unit="nan"),
    "another operation": lambda t, c: c.update(operation="eval"),
    "no weights": lambda t, c: t.pop("weight.0"),
    "no parts": lambda t, c: c.update(ranges=[]),
    "a wrong range": lambda t, c: c.update(ranges=[[0, 2]]),
    "floats": lambda t, c: t.update({"weight.0": t["weight.0"].float()}),
    "a short bias": lambda t, c: t.update({"bias.0": t["bias.0"][:-1]}),
    "huge shifts": lambda t, c: t["shift.0"].fill_(1000),
    "huge outputs": lambda t, c: t["shift.0"].fill_(-60),
    "tiny outputs": lambda t, c: c.update(fraction_bits=60, tiny=t["shift.0"].fill_(80)),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_layer_that_could_be_inexact_cannot_be_loaded(name: str) -> None:
    layer = random_layer(1, 2, 3, 3, 12)
    broken(layer, lambda tensors, config: None)
    with pytest.raises(DataError):
        broken(layer, BREAKAGES[name])


def test_sums_that_may_reach_the_end_of_float32_cannot_be_built() -> None:
    part = Part(0, 1, np.array([[1 << 13]]), np.array([0], np.int32), np.array([0]))
    with pytest.raises(ValueError, match="2\\^24"):
        ExactLayer(Geometry("linear"), Grid(0, 1 << 11), [part])
    ExactLayer(Geometry("linear"), Grid(0, (1 << 11) - 1), [part])

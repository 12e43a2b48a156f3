"""Tensors on grids: what is exact stays exact, and everything else is refused by name."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from fractions import Fraction

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from nc_core.errors import UsageError  # noqa: E402
from nc_core.exact.grid import FLOAT32_LIMIT, Grid, common_grid, dyadic  # noqa: E402
from nc_core.exact.rules import Operand  # noqa: E402
from nc_core.exact.tensor import GridTensor, on_grid, plain  # noqa: E402
from nc_core.testing.torch_settings import threads  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


def on(fraction_bits: int, limit: int, shape=(2, 4, 6, 6), seed: int = 0, unit=1) -> GridTensor:
    generator = torch.Generator().manual_seed(seed)
    units = torch.randint(-limit, limit + 1, shape, generator=generator)
    values = (units.double() * 2.0**-fraction_bits).float()
    return on_grid(Operand(values, Grid(fraction_bits, limit, Fraction(unit))))


def lies_on_its_grid(tensor: GridTensor) -> bool:
    units = plain(tensor).double() * 2.0**tensor.grid.fraction_bits
    return bool((units == units.round()).all() and (units.abs() <= tensor.grid.limit).all())


grids = st.tuples(st.integers(-4, 20), st.integers(1, 1 << 24))


@settings(max_examples=80, deadline=None)
@given(grids, grids)
def test_a_sum_is_exact_on_the_grid_that_it_declares(left, right) -> None:
    a, b = on(*left, seed=1), on(*right, seed=2)
    total = a + b
    assert total.grid.limit <= FLOAT32_LIMIT
    assert lies_on_its_grid(total)
    step = 2.0**-total.grid.fraction_bits
    expected = sum((plain(term).double() / step).round() for term in (a, b)) * step
    assert torch.equal(plain(total).double(), expected)
    finest = max(left[0], right[0])
    if total.grid.fraction_bits == finest:
        assert torch.equal(plain(total).double(), plain(a).double() + plain(b).double())


@settings(max_examples=50, deadline=None)
@given(grids, grids)
def test_differences_and_products_lie_on_the_grid_that_they_declare(left, right) -> None:
    a, b = on(*left, seed=1), on(*right, seed=2)
    assert lies_on_its_grid(a - b)
    assert lies_on_its_grid(a * b)
    exact = plain(a).double() * plain(b).double()
    step = 2.0 ** -(a * b).grid.fraction_bits
    assert float((plain(a * b).double() - exact).abs().max()) <= step


def test_a_long_chain_of_sums_keeps_its_declaration() -> None:
    total = on(17, 1 << 24, seed=1)
    for seed in range(2, 40):
        total = total + on(17, 1 << 24, seed=seed)
        assert total.grid.limit <= FLOAT32_LIMIT
        assert lies_on_its_grid(total)
    assert total.grid.fraction_bits >= 10


MOVES = {
    "view": lambda x: x.view(2, -1),
    "reshape": lambda x: torch.reshape(x, (2, 2, 12, 6)),
    "flatten": lambda x: nn.Flatten()(x),
    "unflatten": lambda x: nn.Unflatten(1, (2, 2))(x),
    "permute": lambda x: x.permute(0, 2, 3, 1).contiguous(),
    "transpose": lambda x: x.transpose(1, 2),
    "slice": lambda x: x[:, 1:3, ..., 0],
    "chunk": lambda x: x.chunk(2, dim=1),
    "split": lambda x: x.split([1, 3], dim=1),
    "torch.split": lambda x: torch.split(x, 2, 1),
    "unbind": lambda x: x.unbind(0),
    "squeeze": lambda x: x[:1].squeeze(0).unsqueeze(1),
    "expand": lambda x: x[:1].expand(3, -1, -1, -1),
    "expand_as": lambda x: x[:1].expand_as(x),
    "narrow": lambda x: x.narrow(1, 0, 2),
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 0])),
    "flip": lambda x: x.flip(3),
    "roll": lambda x: x.roll(1, 2),
    "pixel_shuffle": lambda x: nn.PixelShuffle(2)(x),
    "pixel_unshuffle": lambda x: nn.PixelUnshuffle(2)(x),
    "channel_shuffle": lambda x: nn.ChannelShuffle(2)(x),
    "avg_pool": lambda x: nn.AvgPool2d(2)(x),
    "avg_pool of a row": lambda x: functional.avg_pool2d(x, (1, 2), stride=(1, 2)),
    "avg_pool of four by four": lambda x: functional.avg_pool2d(x, 4),
    "max_pool": lambda x: nn.MaxPool2d(2)(x),
    "functional.max_pool2d": lambda x: functional.max_pool2d(x, 2),
    "adaptive_max_pool": lambda x: nn.AdaptiveMaxPool2d(1)(x),
    "upsample": lambda x: nn.Upsample(scale_factor=2)(x),
    "upsample by function": lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"),
    "pad": lambda x: functional.pad(x, (1, 1, 1, 1)),
    "zero pad": lambda x: nn.ZeroPad2d(1)(x),
    "identity": lambda x: nn.Identity()(x),
    "dropout": lambda x: nn.Dropout(0.5).eval()(x),
    "dropout2d": lambda x: nn.Dropout2d(0.5).eval()(x),
    "cat": lambda x: torch.cat([x, x[:, :1]], dim=1),
    "stack": lambda x: torch.stack([x, x], 1),
    "clone": lambda x: x.clone(),
    "detach": lambda x: x.detach(),
    "float": lambda x: x.float(),
    "to": lambda x: x.to(memory_format=torch.channels_last),
    "deepcopy": copy.deepcopy,
    "relu": lambda x: torch.relu(x),
    "relu module": lambda x: nn.ReLU()(x),
    "relu method": lambda x: x.relu(),
    "relu6": lambda x: nn.ReLU6()(x),
    "hardtanh": lambda x: nn.Hardtanh(-0.5, 2.0)(x),
    "clamp": lambda x: x.clamp(-0.5, 0.75),
    "clamp below": lambda x: torch.clamp(x, min=0),
    "leaky": lambda x: nn.LeakyReLU(0.125)(x),
    "leaky by function": lambda x: functional.leaky_relu(x, 0.25),
    "negative": lambda x: -x,
    "absolute": lambda x: abs(x),
    "double": lambda x: 2 * x,
    "half": lambda x: x / 2,
    "three quarters": lambda x: x * 0.75,
    "shifted": lambda x: x + 0.5,
    "one minus": lambda x: 1 - x,
    "twice": lambda x: x + x,
    "difference": lambda x: torch.sub(x, x.flip(0)),
}


@pytest.mark.parametrize("name", MOVES)
def test_the_vocabulary_computes_what_floats_compute(name: str) -> None:
    x = on(9, 3000)
    result, expected = MOVES[name](x), MOVES[name](plain(x))
    pairs = (
        zip(result, expected, strict=True) if isinstance(result, tuple) else [(result, expected)]
    )
    for got, wanted in pairs:
        assert isinstance(got, GridTensor)
        assert torch.equal(plain(got), wanted)
        assert lies_on_its_grid(got)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("limit", [1 << 22, (1 << 22) + 1, 1 << 24])
def test_means_are_exact_in_whatever_order_they_are_taken(limit: int, layout) -> None:
    x = on(9, limit).to(memory_format=layout)
    result = functional.avg_pool2d(x, 2)
    assert lies_on_its_grid(result)
    coarse = x.grid.within(FLOAT32_LIMIT // 4)
    units = (plain(x).double() * 2.0**coarse.fraction_bits).round()
    a, b, c, d = (units[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
    for order in (a + b + c + d, (d + b) + (a + c)):
        assert torch.equal(plain(result).double(), order * 2.0 ** -(coarse.fraction_bits + 2))
    assert result.grid.bound == coarse.bound


def test_numbers_stay_within_the_exponents_of_float32() -> None:
    large, small = on(-40, 3000), on(60, 3000)
    for beyond in (lambda: large * large, lambda: large * 2.0**30, lambda: large / 2.0**-30):
        with pytest.raises(UsageError, match="out of the range of exact arithmetic"):
            beyond()
    product = small * small * small
    assert lies_on_its_grid(product) and product.grid.fraction_bits <= 100
    assert bool(torch.isfinite(plain(product)).all())


CURVES = {
    "elu": (lambda x: functional.elu(x), 2**-12),
    "elu module": (lambda x: nn.ELU()(x), 2**-12),
    "silu": (lambda x: functional.silu(x), 2**-12),
    "silu module": (lambda x: nn.SiLU()(x), 2**-12),
    "softplus": (lambda x: functional.softplus(x), 2**-12),
    "softplus module": (lambda x: nn.Softplus()(x), 2**-12),
    "sigmoid": (lambda x: torch.sigmoid(x), 2**-14),
    "sigmoid method": (lambda x: x.sigmoid(), 2**-14),
    "sigmoid module": (lambda x: nn.Sigmoid()(x), 2**-14),
    "tanh": (lambda x: torch.tanh(x), 2**-12),
    "tanh module": (lambda x: nn.Tanh()(x), 2**-12),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("fraction_bits", [4, 12, 18])
def test_activations_are_close_and_lie_on_their_grid(name: str, fraction_bits: int) -> None:
    function, tolerance = CURVES[name]
    x = on(fraction_bits, 20 << fraction_bits)
    result = function(x)
    assert lies_on_its_grid(result)
    error = (plain(result).double() - function(plain(x).double())).abs().max()
    assert float(error) <= tolerance


REFUSED = {
    "exp": lambda x: x.exp(),
    "torch.exp": lambda x: torch.exp(x),
    "conv2d": lambda x: functional.conv2d(x, torch.zeros(1, 4, 1, 1)),
    "linear": lambda x: functional.linear(x, torch.zeros(3, 6)),
    "matmul": lambda x: x @ x.transpose(2, 3),
    "mean": lambda x: x.mean(),
    "sum": lambda x: x.sum(),
    "softmax": lambda x: x.softmax(1),
    "gelu": lambda x: functional.gelu(x),
    "comparison": lambda x: x > 0,
    "item": lambda x: x[0, 0, 0, 0].item(),
    "numpy": lambda x: x.numpy(),
    "data": lambda x: x.data,
    "a factor of a third": lambda x: x / 3,
    "a factor of a tenth": lambda x: x * 0.1,
    "elu alpha": lambda x: functional.elu(x, 0.5),
    "leaky slope": lambda x: functional.leaky_relu(x, 0.1),
    "bilinear": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "means of nine": lambda x: functional.avg_pool2d(x, 3),
    "overlapping means": lambda x: nn.AvgPool2d(2, stride=1)(x),
    "means with padding": lambda x: nn.AvgPool2d(2, padding=1)(x),
    "means of what is left": lambda x: nn.AvgPool2d(4, ceil_mode=True)(x),
    "sums": lambda x: functional.avg_pool2d(x, 2, divisor_override=1),
    "padding with ones": lambda x: functional.pad(x, (1, 1), value=1.0),
    "active dropout": lambda x: functional.dropout(x, 0.5, training=True),
    "double": lambda x: x.double(),
    "half": lambda x: x.to(torch.float16),
    "bits": lambda x: x.view(torch.int32),
    "a plain tensor": lambda x: x + torch.ones(6),
    "a plain tensor on the left": lambda x: torch.ones(6) * x,
    "assignment": lambda x: x.__setitem__(0, 1.0),
    "alpha": lambda x: torch.add(x, x, alpha=2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        REFUSED[name](on(9, 3000))


def test_a_refusal_names_the_function() -> None:
    with pytest.raises(UsageError, match=r"'torch\.Tensor\.exp' has no exact counterpart"):
        on(3, 5).exp()


def test_writing_in_place_changes_the_tensor_and_its_grid() -> None:
    x, y = on(9, 3000, seed=1), on(4, 100, seed=2)
    expected = x + y
    same = x
    x += y
    assert same is x
    assert torch.equal(plain(x), plain(expected))
    assert x.grid == expected.grid
    assert torch.equal(plain(nn.ReLU(inplace=True)(x)), plain(expected).clamp(min=0))
    assert torch.equal(plain(x), plain(expected).clamp(min=0))


def test_writing_in_place_is_refused_where_memory_may_be_shared() -> None:
    x = on(9, 3000)
    part = x[:, :2]
    with pytest.raises(UsageError, match="share its memory"):
        part += 1
    with pytest.raises(UsageError, match="share its memory"):
        x += 1


def test_questions_about_a_tensor_are_answered() -> None:
    x = on(3, 5)
    assert x.shape == (2, 4, 6, 6)
    assert (x.dim(), x.ndim, x.size(1), x.numel(), len(x)) == (4, 4, 4, 288, 2)
    assert (x.dtype, x.device.type, x.is_contiguous()) == (torch.float32, "cpu", True)
    assert "GridTensor" in repr(x)


def test_integers_are_the_elements_in_units_of_the_grid() -> None:
    x = on(5, 77)
    assert x.integers().dtype == torch.int64
    assert torch.equal(x.integers() / 32, plain(x))


def test_units_travel_and_must_agree() -> None:
    pixels = on(1, 255, unit=Fraction(1, 127))
    assert nn.PixelUnshuffle(2)(pixels).grid.unit == Fraction(1, 127)
    assert (pixels + pixels).grid.unit == Fraction(1, 127)
    with pytest.raises(UsageError, match="different units"):
        pixels + on(1, 255)
    with pytest.raises(UsageError, match="no power of two"):
        functional.elu(pixels)
    with pytest.raises(UsageError, match="no power of two"):
        pixels.clamp(-1, 1)


def test_common_grid_holds_its_parts() -> None:
    parts = [Grid(3, 100), Grid(7, 5), Grid(-2, 9)]
    grid = common_grid(parts)
    assert grid == Grid(7, 9 << 9)
    assert all(grid.holds(part) for part in parts)
    assert not Grid(7, 100).holds(Grid(3, 100))


def test_short_binary_fractions_are_told_from_others() -> None:
    assert dyadic(0.75) == (3, 2)
    assert dyadic(-6) == (-3, -1)
    assert dyadic(0) == (0, 0)
    with pytest.raises(UsageError, match="short binary fraction"):
        dyadic(0.1)

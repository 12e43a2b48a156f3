"""Attention and time embeddings: exact in every setting, close to what float64 gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from nc_core.errors import UsageError  # noqa: E402
from nc_core.exact import (  # noqa: E402
    Attention,
    Grid,
    GridTensor,
    SinusoidalEmbedding,
    attention,
    curves,
    exact_state,
    load_exact,
    lower,
    tables,
)
from nc_core.exact.attention import _plan, exponentiate, exponentiate_reference  # noqa: E402
from nc_core.exact.rules import Operand  # noqa: E402
from nc_core.exact.tensor import on_grid, plain  # noqa: E402
from nc_core.testing.torch_settings import onednn, threads  # noqa: E402

BITS = 16
GRID = Grid(BITS, 1 << 24)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


def qkv(batch: int, channels: int, positions: int, deviation: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, 3 * channels, positions, generator=generator) * deviation
    return (values * 2**BITS).round().clamp(-(1 << 24), 1 << 24) / 2**BITS


def placed(values: Tensor, grid: Grid = GRID) -> GridTensor:
    return on_grid(Operand(values, grid))


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("deviation", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("positions", [1, 16, 100])
def test_exact_attention_is_close_to_the_real_one(
    heads: int, deviation: float, positions: int
) -> None:
    values = qkv(3, 32, positions, deviation)
    expected = Attention(heads)(values.double())
    result = Attention(heads).lowered()(placed(values))
    assert result.shape == expected.shape
    # A step of the grid, what it makes of logits, and what the exponentials lose.
    step = 2.0**-result.grid.fraction_bits
    most = step * (1 + 2 * deviation**2) + 1e-5 * deviation
    assert float((plain(result) - expected).abs().max()) < most


def test_each_head_owns_a_slab_of_queries_keys_and_values() -> None:
    values = qkv(2, 8, 5, 1.0)
    slabs = values.view(2, 2, 12, 5)
    query, key, value = slabs[:, :, :4], slabs[:, :, 4:8], slabs[:, :, 8:]
    weights = torch.einsum("bhct,bhcs->bhts", query, key).div(2).softmax(-1)
    expected = torch.einsum("bhts,bhcs->bhct", weights, value).reshape(2, 8, 5)
    torch.testing.assert_close(Attention(2)(values), expected)


def test_batches_threads_layouts_and_libraries_change_nothing() -> None:
    exact, values = Attention(4).lowered(), qkv(16, 32, 36, 1.0)
    whole = plain(exact(placed(values)))
    for batch in (1, 3):
        assert torch.equal(plain(exact(placed(values[:batch]))), whole[:batch])
    turned = values.mT.contiguous().mT
    for count in (1, 2):
        for enabled in (True, False):
            with threads(count), onednn(enabled):
                assert torch.equal(plain(exact(placed(values))), whole)
                assert torch.equal(plain(exact(placed(turned))), whole)


@pytest.mark.parametrize(("size", "positions"), [(8, 64), (64, 256), (128, 4096), (1024, 1 << 14)])
@pytest.mark.parametrize("limit", [100, 1 << 20, 1 << 28])
def test_sums_stay_below_what_float64_holds(size: int, positions: int, limit: int) -> None:
    coarse = _plan(Grid(20, limit), size, positions).grid.limit
    assert size * coarse**2 < 2**52
    assert positions * 2**tables.EXPONENTIAL_BITS * coarse <= 2**53
    assert coarse <= 2**24


def test_the_largest_numbers_do_not_leave_the_grid() -> None:
    values = torch.full((1, 3 * 64, 64), float(1 << 24)) / 2**BITS
    values[:, 64:128, ::2] *= -1
    result = Attention(1).lowered()(placed(values))
    assert float(plain(result).abs().max()) <= result.grid.bound
    assert torch.equal(plain(result), values[:, 128:])


@pytest.mark.parametrize("deviation", [0.1, 10.0, 1e5, 1e12])
def test_exponentials_agree_with_their_reference(deviation: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 7, 50, generator=generator, dtype=torch.float64).mul_(deviation).round()
    expected = logits.clone()
    expected_sums = exponentiate_reference(expected, 0.37)
    for threads_ in (1, 2):
        result = logits.clone()
        with threads(threads_):
            sums = exponentiate(result, 0.37)
        assert torch.equal(result, expected)
        assert torch.equal(sums, expected_sums)
    assert torch.equal(result, result.round())
    exact = torch.exp((logits - logits.amax(-1, keepdim=True)) * 0.37 * 2.0**-10) * 2**20
    assert float((result - exact).abs().max()) < 1.1


@pytest.mark.parametrize("row", [[5, "nan", 3], ["nan"] * 3, ["inf", "inf", "-inf"]])
def test_no_exponential_is_looked_up_outside_of_the_table(row: list[object]) -> None:
    logits = torch.tensor([[float(number) for number in row]], dtype=torch.float64)
    sums = exponentiate(logits, 0.37)
    assert bool((logits.isnan() | (logits >= 0) & (logits <= 1 << 20)).all())
    assert sums.shape == (1,)


@pytest.mark.parametrize("most", [1, 50, 100, 777, 1200, 5000])
def test_logits_in_slices_change_nothing(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, values = Attention(4).lowered(), qkv(3, 32, 36, 1.0)
    whole = plain(exact(placed(values)))
    seen = []

    def counted(logits: Tensor, factor: float) -> Tensor:
        seen.append(logits.numel())
        return exponentiate(logits, factor)

    monkeypatch.setattr(attention, "_MOST_LOGITS", {"cpu": most})
    monkeypatch.setattr(attention, "exponentiate", counted)
    assert torch.equal(plain(exact(placed(values))), whole)
    assert sum(seen) == 3 * 4 * 36**2 and max(seen) <= max(most, 36)


def test_exponentials_are_those_of_the_format() -> None:
    table = tables.exponential_table()
    points = np.arange(len(table)) / 2**tables.EXPONENTIAL_STEP_BITS
    assert np.abs(table - np.exp(-points) * 2**20).max() <= 0.5 + 1e-6
    assert (table[0], table[-1]) == (1 << 20, 0)


def test_attention_needs_a_grid_and_whole_heads() -> None:
    exact = Attention(4).lowered()
    with pytest.raises(UsageError, match="without a grid"):
        exact(qkv(1, 32, 4, 1.0))
    with pytest.raises(ValueError, match="not queries, keys, values"):
        exact(placed(torch.zeros(1, 30, 4)))


def test_cosines_and_sines_are_right_to_many_digits() -> None:
    for angle in (0.0, 0.5, -1.25, math.pi / 2, 3.0, 1000.25, -99999.5):
        cosine, sine = curves.cosine_sine(int(Fraction(angle) * 2**curves.BITS))
        assert cosine / 2**curves.BITS == pytest.approx(math.cos(angle), abs=1e-15)
        assert sine / 2**curves.BITS == pytest.approx(math.sin(angle), abs=1e-15)
        one = (cosine**2 + sine**2) >> curves.BITS
        assert abs(one - 2**curves.BITS) < 2**20


@pytest.mark.parametrize("width", [1, 2, 7, 32])
def test_embeddings_are_rounded_correctly(width: int) -> None:
    t = torch.tensor([0.0, 1.0, 0.25, 333.0, 999.75, -4.5])
    exact = SinusoidalEmbedding(width).lowered()
    result = plain(exact(placed(t, Grid(12, 1 << 22))))
    half = width // 2
    angles = t.double()[:, None] * 10_000 ** (-torch.arange(half).double() / max(half, 1))
    expected = torch.cat([angles.cos(), angles.sin(), torch.zeros(len(t), width % 2)], 1)
    assert result.shape == (len(t), width)
    assert float((result - expected).abs().max()) < 2**-21 + 1e-12
    assert float((SinusoidalEmbedding(width)(t) - expected).abs().max()) < 1e-4
    one = plain(exact(placed(t[3:4], Grid(12, 1 << 22))))
    assert torch.equal(one, result[3:4])


class Timed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time = SinusoidalEmbedding(8)
        self.linear = nn.Linear(8, 16)
        self.qkv = nn.Conv1d(16, 48, 1)
        self.attention = Attention(2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.attention(self.qkv(x + self.linear(self.time(t))[:, :, None]))


def test_a_network_of_all_these_is_lowered_saved_and_loaded() -> None:
    torch.manual_seed(0)
    network = Timed().requires_grad_(False)
    x, t = torch.randn(4, 16, 9), torch.tensor([0.0, 10.5, 500.0, 1000.0])
    lowered = lower(network, (x, t))
    result = plain(lowered(x, t))
    assert float((result - network(x, t)).abs().max()) < 0.01
    with torch.device("meta"):
        skeleton = Timed()
    again = load_exact(skeleton, *exact_state(lowered))
    assert torch.equal(plain(again(x, t)), result)
    assert torch.equal(plain(lowered(x[:1], t[:1])), result[:1])

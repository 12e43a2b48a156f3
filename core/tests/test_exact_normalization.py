"""Group normalisation: exact in every setting, and close to the float one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from nc_core.errors import DataError, UsageError  # noqa: E402
from nc_core.exact import (  # noqa: E402
    ExactGroupNorm,
    ExactLayer,
    Grid,
    GridTensor,
    GroupNorm,
    exact_state,
    load_exact,
    lower,
)
from nc_core.exact.normalization import NormSettings, normalize, normalize_reference  # noqa: E402
from nc_core.exact.rules import Operand  # noqa: E402
from nc_core.exact.tensor import on_grid, plain  # noqa: E402
from nc_core.testing.torch_settings import onednn, threads  # noqa: E402

BITS = 12
GRID = Grid(BITS, 1 << 24)
COARSE = Grid(8, 2047)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


def norm(silu: bool, groups: int = 4, channels: int = 12) -> GroupNorm:
    torch.manual_seed(0)
    module = GroupNorm(groups, channels, silu=silu)
    nn.init.normal_(module.weight, 1, 0.3)
    nn.init.normal_(module.bias, 0, 0.3)
    return module.requires_grad_(False)


def numbers(shape: tuple[int, ...], seed: int, deviation: float = 2.0, mean: float = 1.0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * deviation + mean
    return (values * 2**BITS).round().clamp(-(1 << 24), 1 << 24) / 2**BITS


def placed(values: Tensor) -> GridTensor:
    return on_grid(Operand(values, GRID))


def conditioning(rows: int, channels: int = 12) -> tuple[Tensor, Tensor]:
    return numbers((rows, channels), 8, 0.3, 0.0), numbers((rows, channels), 9, 0.3, 0.0)


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("shape", [(3, 12), (3, 12, 7), (3, 12, 5, 6), (3, 12, 2, 3, 2)])
def test_the_exact_norm_is_close_to_the_float_one(
    silu: bool, rows: int, shape: tuple[int, ...]
) -> None:
    module, values = norm(silu), numbers(shape, 1)
    condition = conditioning(rows) if rows else ()
    exact = ExactGroupNorm.of(module)(placed(values), *map(placed, condition))
    expected = module(values, *condition)
    assert exact.shape == expected.shape
    assert float((plain(exact) - expected).abs().max()) < 2**-13


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("target", [Grid(14, 1 << 23), COARSE], ids=["fine", "coarse"])
@pytest.mark.parametrize("deviation", [0.0, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("mean", [0.0, 100.0, -3000.0])
def test_kernels_agree_with_the_reference_in_every_layout(
    silu: bool, target: Grid, deviation: float, mean: float
) -> None:
    exact = ExactGroupNorm.of(norm(silu))
    values = numbers((3, 12, 5, 8), 2, deviation, mean)
    last = values.to(memory_format=torch.channels_last)
    wide = torch.cat([values, values], -1)[..., :8]
    affine = exact._map
    for condition in (None, conditioning(1), conditioning(3), _mixed(), _interleaved()):
        expected = normalize_reference(values, BITS, exact.settings, affine, condition, target)
        for layout in (values, last, wide, values.flatten(2), last.flatten(2)):
            result = normalize(layout, BITS, exact.settings, affine, condition, target)
            assert torch.equal(result, expected.view(layout.shape))
        assert normalize(last, BITS, exact.settings, affine, None, target).stride() == last.stride()


def _mixed() -> tuple[Tensor, Tensor]:
    return conditioning(3)[0], conditioning(1)[1]


def _interleaved() -> tuple[Tensor, Tensor]:
    """As the halves of one layer's output lie in memory."""
    first, second = torch.cat(conditioning(3), dim=1).chunk(2, dim=1)
    return first, second


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    groups=st.sampled_from([1, 2, 32]),
    bits=st.integers(-4, 30),
    epsilon=st.sampled_from([1e-5, 1e-3]),
    positions=st.integers(1, 40),
)
def test_kernels_agree_with_the_reference_for_any_numbers(
    seed: int, groups: int, bits: int, epsilon: float, positions: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    integers = torch.randint(-(1 << 24), 1 << 24, (2, 64, positions), generator=generator)
    values = (integers.double() * 2.0**-bits).float()
    what = NormSettings(groups, 64, epsilon, silu=seed % 2 == 0)
    affine = tuple(torch.randn(2, 64, generator=generator).double().numpy())
    expected = normalize_reference(values, bits, what, affine, None, COARSE)
    for layout in (values, values.mT.contiguous().mT):
        assert torch.equal(normalize(layout, bits, what, affine, None, COARSE), expected)


def test_batches_threads_and_libraries_change_nothing() -> None:
    exact, values = ExactGroupNorm.of(norm(silu=True)), numbers((16, 12, 6, 6), 3)
    whole = plain(exact(placed(values)))
    for batch in (1, 3):
        assert torch.equal(plain(exact(placed(values[:batch]))), whole[:batch])
    for count in (1, 2):
        for enabled in (True, False):
            with threads(count), onednn(enabled):
                assert torch.equal(plain(exact(placed(values))), whole)


def test_sums_of_the_largest_numbers_are_exact() -> None:
    # 2 ** 14 numbers of 24 bits: the sum of their squares is 2 ** 62, one bit is dropped first.
    exact = ExactGroupNorm.of(GroupNorm(1, 4))
    values = torch.full((1, 4, 64, 64), float(1 << 24)) / 2**BITS
    values[:, :, ::2] *= -1
    result = plain(exact(placed(values)))
    assert torch.equal(result, values.sign())


def test_results_stay_within_their_grid() -> None:
    exact = ExactGroupNorm.of(norm(silu=True))
    values = torch.zeros(1, 12, 64, 64)
    values[:, :, 0, 0] = 4096.0
    huge = placed(torch.full((1, 12), 4000.0))
    result = exact(placed(values), huge, huge)
    assert float(plain(result).max()) == result.grid.bound == 512.0
    assert float(plain(result).min()) >= -result.grid.bound


def test_feeding_a_layer_changes_no_number() -> None:
    network = nn.Sequential(norm(silu=True, groups=4), nn.Conv2d(12, 5, 3, padding=1))
    values = numbers((4, 12, 6, 6), 4)
    lowered = lower(network, values)
    before = plain(lowered(values))
    first, layer = lowered[0], lowered[1]
    assert isinstance(first, ExactGroupNorm) and isinstance(layer, ExactLayer)
    first.feed(layer)
    assert first.output_grid == layer.input_grid
    assert torch.equal(plain(lowered(values)), before)


class Conditioned(nn.Module):
    def __init__(self, kind: type[nn.GroupNorm] = GroupNorm, **options: bool) -> None:
        super().__init__()
        self.condition = nn.Linear(5, 24)
        self.norm = kind(4, 12, **options)
        self.out = nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.condition(told).chunk(2, dim=1)
        return self.out(self.norm(x, scale, shift))


def test_a_network_with_norms_is_saved_and_loaded() -> None:
    torch.manual_seed(1)
    network = Conditioned(silu=True).requires_grad_(False)
    values, told = numbers((4, 12, 6, 6), 5), torch.randn(4, 5)
    lowered = lower(network, (values, told))
    result = lowered(values, told)
    assert float((plain(result) - network(values, told)).abs().max()) < 0.05
    tensors, config = exact_state(lowered)
    assert tensors["norm.weight"].dtype == tensors["norm.bias"].dtype == torch.int32
    with torch.device("meta"):
        skeleton = Conditioned(silu=True)
    again = load_exact(skeleton, tensors, config)
    assert torch.equal(plain(again(values, told)), plain(result))
    with pytest.raises(DataError, match="'norm' of the model has other settings"):
        load_exact(Conditioned(silu=False), tensors, config)
    with pytest.raises(DataError, match="not as it should be"):
        load_exact(Conditioned(silu=True), {**tensors, "norm.bias": torch.zeros(3)}, config)


def test_the_largest_numbers_that_a_file_may_hold_stay_finite() -> None:
    integers = np.full(12, 1 << 30, np.int32)
    exact = ExactGroupNorm(NormSettings(4, 12, 1e-300, silu=True), (integers, -10), (integers, -10))
    units = torch.where(torch.arange(16) % 3 > 0, 1.0, -1.0).expand(2, 12, 16) * ((1 << 24) - 1)
    for values in (units, torch.ones_like(units)):
        huge = on_grid(Operand(values * 2.0**40, Grid(-40, (1 << 24) - 1)))
        condition = on_grid(Operand(huge.operand.values[:, :, 0].contiguous(), huge.grid))
        for layout in (huge, on_grid(Operand(plain(huge).mT.contiguous().mT, huge.grid))):
            result = plain(exact(layout, condition, condition))
            assert bool(torch.isfinite(result).all())
    operands = plain(huge), -40, exact.settings, exact._map, (plain(condition), plain(condition))
    assert torch.equal(normalize_reference(*operands, Grid(14, 1 << 23)), result)
    for far_too_large in ((integers, -11), (integers, -60)):
        with pytest.raises(ValueError, match="far too large"):
            ExactGroupNorm(exact.settings, far_too_large, (integers, -10))
        with pytest.raises(ValueError, match="far too large"):
            ExactGroupNorm(exact.settings, (integers, -10), far_too_large)


def test_plain_norms_of_pytorch_are_lowered_too() -> None:
    network = nn.Sequential(nn.GroupNorm(4, 12), nn.Conv2d(12, 5, 1)).requires_grad_(False)
    values = numbers((4, 12, 6, 6), 6)
    lowered = lower(network, values)
    assert float((plain(lowered(values)) - network(values)).abs().max()) < 0.05
    tensors, config = exact_state(lowered)
    again = load_exact(nn.Sequential(nn.GroupNorm(4, 12), nn.Conv2d(12, 5, 1)), tensors, config)
    assert torch.equal(plain(again(values)), plain(lowered(values)))


def test_tensors_without_a_grid_or_of_another_shape_are_refused() -> None:
    exact = ExactGroupNorm.of(norm(silu=False))
    with pytest.raises(UsageError, match="without a grid"):
        exact(numbers((3, 12, 4), 1))
    with pytest.raises(ValueError, match="12 channels"):
        exact(placed(numbers((3, 10, 4), 1)))
    scale = placed(numbers((2, 12), 1))
    with pytest.raises(ValueError, match="conditioning"):
        exact(placed(numbers((3, 12, 4), 1)), scale, scale)
    narrow = numbers((3, 11), 2)
    with pytest.raises(RuntimeError, match="expanded size"):
        normalize(numbers((3, 12, 4), 1), 8, exact.settings, exact._map, (narrow, narrow), COARSE)
    with pytest.raises(ValueError, match="not 5 groups"):
        NormSettings(5, 12, 1e-5, silu=False)


def test_the_float_norm_computes_in_float32_whatever_its_input() -> None:
    module, values = norm(silu=True), numbers((2, 12, 5), 7)
    half = module(values.half())
    assert half.dtype == torch.float16
    assert torch.equal(half, module(values.half().float()).half())

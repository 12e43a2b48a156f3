"""Compiled kernels give what plain PyTorch gives, bit for bit, in every memory layout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from nc_core.exact import elementwise as e  # noqa: E402
from nc_core.exact import kernels, tables  # noqa: E402
from nc_core.exact.memory import address, floats  # noqa: E402
from nc_core.testing.torch_settings import threads  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


SHAPES = ((1,), (2, 3), (2, 3, 5, 7), (0, 4), (1, 64, 16, 16))


def numbers(shape: tuple[int, ...], scale: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * scale


def layouts(values: torch.Tensor) -> list[torch.Tensor]:
    found = [values]
    if values.dim() == 4:
        found.append(values.to(memory_format=torch.channels_last))
    if values.dim() > 1:
        found += [values.transpose(0, 1).contiguous().transpose(0, 1)]
        wide = torch.cat([values, values], -1)
        found.append(wide[..., : values.shape[-1]])
    found.append(torch.cat([values[:1], values])[1:])
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fraction_bits", [-3, 0, 8, 14, 30])
def test_quantize_agrees_with_its_reference(shape: tuple[int, ...], fraction_bits: int) -> None:
    for scale in (1e-6, 0.3, 10.0, 1e5):
        values = numbers(shape, scale, 1)
        expected = e.quantize_reference(values, fraction_bits, 2047)
        for layout in layouts(values):
            assert torch.equal(e.quantize(layout, fraction_bits, 2047), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", tables.SHA256)
def test_look_up_agrees_with_its_reference(shape: tuple[int, ...], name: str) -> None:
    table = tables.activation(name)
    for scale in (1e-6, 0.3, 10.0, 1e5):
        values = numbers(shape, scale, 2)
        expected = e.look_up_reference(values, table)
        for layout in layouts(values):
            assert torch.equal(e.look_up(layout, table), expected)


@pytest.mark.parametrize("name", tables.SHA256)
def test_no_number_is_looked_up_outside_of_a_table(name: str) -> None:
    table = tables.activation(name)
    values = torch.tensor([float("nan"), float("-inf"), float("inf")])
    result = e.look_up(values, table)
    assert float(result[1]) == table.floats[0]
    assert float(result[2]) >= table.floats[-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_add_agrees_with_its_reference(shape: tuple[int, ...]) -> None:
    for fraction_bits in (-2, 0, 9, 16):
        left, right = numbers(shape, 20.0, 3), numbers(shape, 0.1, 4)
        expected = e.add_reference(left, right, fraction_bits)
        for one in layouts(left):
            for other in layouts(right):
                assert torch.equal(e.add(one, other, fraction_bits), expected)


def test_add_broadcasts() -> None:
    left, right = numbers((2, 3, 4, 4), 1.0, 5), numbers((3, 1, 1), 1.0, 6)
    assert torch.equal(e.add(left, right, 9), e.add_reference(left, right, 9))


@pytest.mark.parametrize("name", tables.SHA256)
def test_every_argument_of_a_table_gives_its_entry(name: str) -> None:
    table = tables.activation(name)
    arguments = torch.arange(table.low - 5, table.high + 6)
    values = e.look_up(arguments.float() / (1 << tables.ARGUMENT_BITS), table)
    inside = table.values[(arguments.clamp(table.low, table.high) - table.low).numpy()]
    above = (arguments - table.high).clamp(min=0) if table.linear else 0
    expected = torch.from_numpy(inside).long() + above
    assert torch.equal((values.double() * (1 << table.fraction_bits)).long(), expected)


def test_add_agrees_with_its_reference_where_memory_begins_elsewhere() -> None:
    parts = numbers((6, 2, 3, 5), 10.0, 8)
    expected = e.add_reference(parts[1:3], parts[4:], 8)
    assert torch.equal(e.add(parts[1:3], parts[4:], 8), expected)


@pytest.mark.parametrize(
    "values",
    [
        torch.ones(3, dtype=torch.float64),
        torch.ones(3, dtype=torch.float16),
        torch._neg_view(torch.ones(3)),
        torch.ones(3, requires_grad=True),
        torch._efficientzerotensor(3),
    ],
    ids=["double", "half", "negated", "gradient", "nowhere"],
)
def test_kernels_refuse_memory_that_holds_other_numbers(values: torch.Tensor) -> None:
    with pytest.raises(TypeError, match="take float32 tensors"):
        e.quantize(values, 8, 2047)


def test_kernels_refuse_memory_of_another_device() -> None:
    with pytest.raises(TypeError, match="in the CPU's memory"):
        e.add(torch.ones(3), torch.ones(3, device="meta"), 8)


def test_kernels_reach_the_same_numbers_where_nothing_is_compiled() -> None:
    values = numbers((3, 4), 10.0, 9)[1:]
    result = torch.empty_like(values)
    interpreted = kernels.quantize.function
    interpreted(address(values), address(result), values.numel(), 256.0, 1 / 256, 2047.0)
    assert torch.equal(result, e.quantize(values, 8, 2047))


def test_no_memory_is_an_empty_array() -> None:
    nothing = torch.empty(0, 3)
    assert floats(address(nothing), (0, 3)).shape == (0, 3)


def test_memory_layout_is_kept() -> None:
    values = numbers((2, 3, 5, 7), 1.0, 7).to(memory_format=torch.channels_last)
    for result in (
        e.quantize(values, 8, 2047),
        e.look_up(values, tables.activation("elu")),
        e.add(values, values, 8),
    ):
        assert result.stride() == values.stride()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    st.integers(-20, 40),
    st.integers(1, 1 << 24),
)
def test_quantized_numbers_lie_on_their_grid(
    values: list[float], fraction_bits: int, limit: int
) -> None:
    result = e.quantize(torch.tensor(values), fraction_bits, limit).double()
    units = result * 2.0**fraction_bits
    assert torch.equal(units, units.round())
    assert float(units.abs().max()) <= limit

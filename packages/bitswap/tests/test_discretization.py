"""Bins of the latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nc_bitswap.discretization import (
    POSITION_BITS,
    LatentBins,
    draw_latents,
    find_bins,
    quantile_edges,
    top_centres,
    top_edges,
    uniform_edges,
)
from nc_bitswap.model import Architecture, HierarchicalVAE

UNIT = 2.0**-POSITION_BITS


@pytest.fixture(scope="module")
def golden(shared: Path) -> Any:
    return np.load(shared / "golden" / "bitswap" / "bins.npz")


@pytest.fixture(scope="module")
def model() -> HierarchicalVAE:
    torch.manual_seed(1)
    return HierarchicalVAE(Architecture(1, 8, 8, levels=3, hidden=4, processing=0, blocks=2))


def images(count: int = 5) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)


@pytest.mark.parametrize("bits", [6, 8, 10])
def test_top_bins_are_the_original_ones(golden: Any, bits: int) -> None:
    np.testing.assert_allclose(
        top_edges(bits), golden[f"top_endpoints_q{bits}"], rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        top_centres(bits), golden[f"top_centres_q{bits}"], rtol=1e-6, atol=1e-6
    )


def test_uniform_bins_are_the_original_ones(golden: Any) -> None:
    samples = golden["kbins_samples_f16"].reshape(300, 16)
    edges, centres = uniform_edges(samples.min(0), samples.max(0), 6)
    np.testing.assert_allclose(edges, golden["kbins_uniform_q6_endpoints"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(centres, golden["kbins_uniform_q6_centres"], rtol=0, atol=1e-12)


def test_quantile_bins_are_the_original_ones(golden: Any) -> None:
    samples = golden["kbins_samples_f16"].reshape(300, 16)
    edges, centres = quantile_edges(samples, 5)
    assert edges.dtype == centres.dtype == np.float64
    np.testing.assert_allclose(edges, golden["kbins_quantile_q5_endpoints"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(centres, golden["kbins_quantile_q5_centres"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("bits", [4, 10, 12])
def test_integer_bins_of_equal_width_cover_the_samples(bits: int) -> None:
    low, high = np.array([-3.25, -0.001, 7.0]), np.array([4.5, 0.001, 7.0])
    bins = LatentBins.from_extremes(bits, [(low, high)], 3)
    first = bins.values(1, np.zeros((1, 3), np.int64))[0]
    last = bins.values(1, np.full((1, 3), (1 << bits) - 1))[0]
    width = (last - first) / ((1 << bits) - 1)
    assert bool((first - width / 2 <= low + UNIT).all())
    assert bool((last + width / 2 >= high - UNIT).all())
    # Integers cost at most one unit of width for each bin.
    assert bool((width <= (high - low) / (1 << bits) + 2 * UNIT).all())


def test_positions_are_exact_in_float32() -> None:
    bins = LatentBins.from_extremes(10, [(np.array([-400.3]), np.array([411.7]))], 1)
    values = bins.values(1, np.arange(1024)[:, None])
    scaled = np.ldexp(values.astype(np.float64), POSITION_BITS)
    np.testing.assert_array_equal(scaled, np.rint(scaled))


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_bins_survive_their_tensors(model: HierarchicalVAE, strategy: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    bins = find_bins(model, images(), 4, strategy=strategy, generator=generator, samples_per_bin=8)
    again = LatentBins.from_tensors(bins.tensors())
    assert (again.bits, again.dims, again.levels) == (4, 16, 3)
    symbols = np.random.default_rng(1).integers(0, 16, (2, 16))
    for level in (1, 2, 3):
        np.testing.assert_array_equal(again.values(level, symbols), bins.values(level, symbols))


def test_centres_lie_between_their_edges(model: HierarchicalVAE) -> None:
    bins = find_bins(model, images(), 5, samples_per_bin=4)
    symbols = np.random.default_rng(1).integers(1, 31, (3, 16))
    for level in (1, 2, 3):
        values = np.rint(bins.values(level, symbols).reshape(-1, 1) / UNIT).astype(np.int64)
        rows = bins.distribution_bins(level, 3)
        column = symbols.reshape(-1, 1)
        assert bool((rows.edges(slice(None), column) <= values).all())
        assert bool((rows.edges(slice(None), column + 1) >= values).all())


def test_a_single_level_needs_no_samples() -> None:
    model = HierarchicalVAE(Architecture(1, 8, 8, levels=1, hidden=4, processing=0, blocks=0))
    bins = find_bins(model, images(), 6)
    assert bins.levels == 1
    assert LatentBins.from_tensors(bins.tensors()).levels == 1


def test_as_many_latents_are_drawn_from_the_prior_as_from_images(model: HierarchicalVAE) -> None:
    sizes = [len(batch[0]) for batch in draw_latents(model, images(), 200)]
    assert sizes == [128, 72, 128, 72]
    assert model.training


def test_no_images_and_odd_numbers_of_bins_are_refused(model: HierarchicalVAE) -> None:
    with pytest.raises(ValueError, match="no images"):
        find_bins(model, images(0))
    with pytest.raises(ValueError, match="2 \\*\\* 13"):
        find_bins(model, images(), 13)

"""The original's codec on the golden trained network: its rates, and images that come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from golden_trained import TrainedModel, golden_trained
from nc_core.ans.folding import fold
from nc_core.testing.torch_settings import threads
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.original.codec import OriginalCodec
from nc_diffusion_bb.original.moments import NetworkMoments
from nc_diffusion_bb.original.rates import Tally
from nc_diffusion_bb.original.settings import CodecSettings
from nc_diffusion_bb.original.words import flat_bytes, initial_message

BATCH = 16


@pytest.fixture
def trained(shared: Path) -> TrainedModel:
    return golden_trained(shared)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


def test_rates_of_two_chained_batches_are_the_original_ones(trained: TrainedModel) -> None:
    codec = OriginalCodec(NetworkMoments(trained.network, trained.diffusion), CodecSettings())
    lanes = BATCH * 256
    words = codec.settings.initial_words(lanes, codec.levels)
    assert words == trained.record["initial_len"]
    message = initial_message(lanes, words, seed=trained.record["initial_seed"])
    tally = Tally.empty(256, codec.levels, message)
    assert tally.initial_bytes == trained.record["initial_bytes"]
    for batch, expected in enumerate(trained.record["stats"][:2]):
        images = trained.arrays["images"][batch * BATCH :][:BATCH]
        tally.add(BATCH, codec.push(message, images, track=True))
        rates = tally.rates(flat_bytes(message))
        assert rates.rate_effective == pytest.approx(expected["rate_effective"], abs=0.05)
        assert rates.rate_total == pytest.approx(expected["rate_total"], rel=1e-3)
        assert rates.rate_used == pytest.approx(expected["rate_used"], rel=2e-3)
    assert tally.extra_bytes == pytest.approx(trained.record["extra_bytes"], rel=2e-3)
    levels = tally.level_bits()
    assert levels is not None
    push, pop = (bits.mean for bits in levels)
    # Of two batches instead of four: words are a resolution of 0.008, images differ.
    assert pop == pytest.approx(trained.arrays["track.pop_bits_per_dim"], abs=0.06)
    assert push[1:] == pytest.approx(np.full(50, 10.0), abs=0.03)


@pytest.mark.parametrize("use_log_variance", [False, True])
def test_two_batches_come_back_and_leave_the_message_as_it_was(
    trained: TrainedModel, use_log_variance: bool
) -> None:
    diffusion = GaussianDiffusion.of(trained.config, "8")
    moments = NetworkMoments(trained.network, diffusion, use_log_variance=use_log_variance)
    codec = OriginalCodec(moments, CodecSettings())
    message = initial_message(4 * 256, codec.settings.initial_words(4 * 256, 10), seed=0)
    initial = fold(message)
    batches = [trained.arrays["images"][:4], trained.arrays["images"][4:7]]
    for batch in batches:
        codec.push(message, batch)
    for batch in reversed(batches):
        assert np.array_equal(codec.pop(message, batch.shape), batch)
    assert np.array_equal(fold(message), initial)


def test_moments_are_those_of_the_chain(trained: TrainedModel) -> None:
    diffusion = trained.diffusion
    moments = NetworkMoments(trained.network, diffusion)
    generator = np.random.default_rng(0)
    image, above = (generator.normal(size=(2, 1, 16, 16)).astype(np.float32) for _ in range(2))
    assert moments.levels == 50
    mean, deviation = moments.posterior(50, image, None)
    last = diffusion.tables.alphas_cumprod[-1]
    assert mean == pytest.approx(np.sqrt(last) * image, rel=1e-5)
    assert deviation == pytest.approx(np.full_like(image, np.sqrt(1 - last)), rel=1e-5)
    mean, deviation = moments.posterior(7, image, above)
    coefficients = (
        diffusion.tables.posterior_mean_coef1[7], diffusion.tables.posterior_mean_coef2[7]
    )  # fmt: skip
    assert mean == pytest.approx(coefficients[0] * image + coefficients[1] * above, abs=1e-5)
    variance = diffusion.tables.posterior_variance[7]
    assert deviation == pytest.approx(np.full_like(image, np.sqrt(variance)), rel=1e-5)
    mean, deviation = moments.prior(7, above)
    assert mean.shape == deviation.shape == image.shape
    assert mean.dtype == deviation.dtype == np.float32

"""How steps are drawn for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nc_diffusion_bb.timestep_samplers import LossSecondMomentSampler, timestep_sampler


def test_weights_by_losses_are_the_original_ones(shared: Path) -> None:
    golden = np.load(shared / "golden" / "diffusion-bb" / "diffusion_terms.npz")
    pairs = list(zip(golden["lsm.t"], golden["lsm.loss"], strict=True))
    sampler = LossSecondMomentSampler(20)
    position = 0
    for checkpoint, expected in zip(golden["lsm.checkpoints"], golden["lsm.weights"], strict=True):
        for step, loss in pairs[position:checkpoint]:
            sampler.update(torch.tensor([int(step)]), torch.tensor([loss]))
        position = checkpoint
        np.testing.assert_allclose(sampler.weights().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["uniform", "loss-second-moment"])
def test_weighted_losses_are_unbiased(name: str) -> None:
    sampler = timestep_sampler(name, 8)
    for _ in range(10):
        sampler.update(torch.arange(8), torch.arange(8) + 1.0)
    generator = torch.Generator().manual_seed(0)
    t, weights = sampler.draw(20_000, generator)
    assert t.dtype == torch.int64
    assert weights.dtype == torch.float32
    assert float((weights * (t + 1.0)).mean()) == pytest.approx(4.5, rel=0.02)
    repeated = sampler.draw(20_000, torch.Generator().manual_seed(0))
    assert torch.equal(repeated.t, t)


def test_a_resumed_sampler_goes_on_as_the_first_would() -> None:
    first, second = LossSecondMomentSampler(4), LossSecondMomentSampler(4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(15):
        first.update(torch.arange(4), torch.rand(4, generator=generator))
    second.load_state_dict(first.state_dict())
    first.update(torch.tensor([2, 2]), torch.tensor([7.0, 8.0]))
    assert not torch.equal(first.weights(), second.weights())
    second.update(torch.tensor([2, 2]), torch.tensor([7.0, 8.0]))
    assert torch.equal(first.weights(), second.weights())
    assert float(second.weights().sum()) == pytest.approx(1)

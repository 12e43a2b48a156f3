"""The optimiser and the schedule of learning rates."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nc_rd_bounds.adam import Adam
from nc_rd_bounds.schedule import decayed


def test_adam_adds_epsilon_outside_the_bias_correction_and_resumes_exactly() -> None:
    torch.manual_seed(0)
    # Gradients as small as epsilon, where its place matters.
    gradients = 1e-7 * torch.randn(6, 5)
    weight = nn.Parameter(torch.zeros(5))
    optimizer = Adam([weight], lr=1e-2)
    m = v = expected = torch.zeros(5, dtype=torch.float64)
    for t, gradient in enumerate(gradients.double(), start=1):
        if t == 4:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = Adam([weight], lr=1.0)
            optimizer.load_state_dict(state)
        weight.grad = gradient.float()
        optimizer.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        scale = 1e-2 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        expected = expected - scale * m / (v.sqrt() + 1e-7)
    torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 1), (49, 1), (50, 0.2), (74, 0.2), (75, 0.04), (87, 0.04), (88, 0.008), (99, 0.008)],
)
def test_the_learning_rate_drops_at_a_half_three_quarters_and_seven_eighths(
    step: int, factor: float
) -> None:
    assert decayed(5e-4, step, 100) == pytest.approx(5e-4 * factor)

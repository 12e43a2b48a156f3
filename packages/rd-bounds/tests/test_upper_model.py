"""Shapes that are refused, and properties of networks, flows and priors."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
import torch

from nc_core.config import load_config
from nc_core.errors import DataError, UsageError
from nc_rd_bounds.activations import ELEMENTWISE, at_least
from nc_rd_bounds.networks import glorot_uniform
from nc_rd_bounds.upper.config import Activation, ModelConfig, UpperConfig
from nc_rd_bounds.upper.intervals import log_logistic_interval, log_normal_interval
from nc_rd_bounds.upper.made import made_masks
from nc_rd_bounds.upper.model import Objective, VectorVae
from nc_rd_bounds.upper.priors import FactorizedPrior, log_prior, make_prior, medians

FACTORIZED = ("deep", "gmm_3", "gsm_2", "lmm_2", "lsm_1")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["model.posterior=uniform", "model.prior=maf"], "no probabilities of intervals"),
        (["model.posterior=uniform", "model.prior=std_gaussian"], "uniform posterior"),
        (["model.prior=gnm_2"], "no prior 'gnm_2'; did you mean"),
        (["model.prior=gmm_0"], "no prior 'gmm_0'"),
        (["model.posterior=laplace"], "'gaussian', 'iaf' or 'uniform'"),
        (["model.encoder_units=[3,4]", "model.encoder_activation=gdn"], "equal, not 3, 4"),
        (["model.decoder_units=[5,6]", "model.decoder_activation=igdn"], "equal, not 5, 6"),
        (["model.encoder_units=[0]"], "greater than or equal to 1"),
        (["model.flow_activation=gdn"], "flow_activation"),
        (["lamb=-1"], "lamb"),
        (["lamb=.inf"], "lamb"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(UpperConfig, settings=settings)
    message, *rest = str(caught.value).splitlines()
    assert said in message
    assert not rest


def test_sizes_follow_the_data() -> None:
    resolved = ModelConfig(latents=None).resolved(5, "data")
    assert (resolved.dims, resolved.latents) == (5, 5)
    assert ModelConfig(latents=2).resolved(5, "data").latents == 2
    with pytest.raises(UsageError, match="without a decoder there are 5 latents"):
        ModelConfig(latents=2, decoder_units=None).resolved(5, "data")
    with pytest.raises(DataError, match="vectors of 5 numbers; the model takes 4"):
        ModelConfig(dims=4).resolved(5, "data")


def test_every_activation_of_a_recipe_exists() -> None:
    assert {*get_args(Activation)} == {*ELEMENTWISE, "gdn", "igdn"}
    assert ELEMENTWISE["leaky_relu"](torch.tensor([-1.0])).item() == pytest.approx(-0.2)


def test_a_bounded_parameter_passes_gradients_that_push_it_back_up() -> None:
    value = torch.tensor([0.5, 2.0, 0.5], requires_grad=True)
    at_least(value, 1.0).backward(torch.tensor([1.0, 1.0, -1.0]))
    assert value.grad is not None
    assert value.grad.tolist() == [0.0, 1.0, -1.0]


def test_kernels_are_glorot_uniform() -> None:
    kernel = glorot_uniform(300, 200)
    limit = math.sqrt(6 / 500)
    assert kernel.shape == (300, 200)
    assert 0.99 * limit < kernel.abs().max() <= limit
    assert kernel.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("dims", [1, 2, 5])
@pytest.mark.parametrize("units", [(), (3,), (7, 4)])
def test_made_outputs_see_only_earlier_numbers(dims: int, units: tuple[int, ...]) -> None:
    masks = made_masks(dims, units)
    assert [tuple(mask.shape) for mask in masks] == list(pairwise([dims, *units, 2 * dims]))
    paths = torch.linalg.multi_dot(masks) if len(masks) > 1 else masks[0]
    sees = paths.reshape(dims, dims, 2).amax(dim=2) > 0
    assert not bool(torch.tril(sees).any())


@pytest.mark.parametrize("settings", [
    {"prior": "maf", "maf_stacks": 3},
    {"prior": "gmm_1", "posterior": "iaf", "iaf_stacks": 3},
])  # fmt: skip
def test_the_log_determinant_of_a_flow_is_that_of_its_jacobian(settings: dict[str, Any]) -> None:
    torch.manual_seed(1)
    model = VectorVae(
        ModelConfig(dims=3, latents=3, flow_units=(6,), flow_activation="tanh", **settings)
    ).double()
    flow = model.prior.flow if settings["prior"] == "maf" else model.posterior.flow
    assert isinstance(flow, torch.nn.Module)
    y = torch.randn(1, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: flow(y)[0][0], y)[:, 0]
    expected = torch.linalg.slogdet(jacobian).logabsdet
    sign = 1 if settings["prior"] == "maf" else -1
    assert flow(y)[1].item() == pytest.approx(sign * expected.item(), abs=1e-10)


@pytest.mark.parametrize("name", FACTORIZED)
def test_factorised_priors_are_densities_whose_intervals_and_medians_fit(name: str) -> None:
    torch.manual_seed(2)
    prior = make_prior(ModelConfig(dims=2, latents=2, prior=name)).double()
    assert isinstance(prior, FactorizedPrior)
    fine = torch.arange(-20_000, 20_000, dtype=torch.float64)[:, None].expand(-1, 2) / 100
    integral = prior.log_densities(fine).exp().sum(dim=0) / 100
    assert integral.tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
    y = torch.tensor([[0.3, -1.7], [4.0, 9.0]], dtype=torch.float64)
    difference = prior.cumulative(y + 0.5) - prior.cumulative(y - 0.5)
    assert prior.log_intervals(y).exp().flatten().tolist() == pytest.approx(
        difference.flatten().tolist(), rel=1e-9
    )
    middle = medians(prior, 2)
    assert prior.cumulative(middle[None]).flatten().tolist() == pytest.approx([0.5, 0.5])


def test_intervals_far_in_the_tails_keep_their_probability() -> None:
    lower = torch.tensor([30.0, -31.0, 90.0])
    logs = log_logistic_interval(lower, lower + 1)
    exact = math.log1p(-math.exp(-1))
    assert logs.tolist() == pytest.approx([-30 + exact, -30 + exact, -90 + exact], rel=1e-6)
    left, right = (log_normal_interval(torch.tensor(m), torch.tensor(0.5)) for m in (-20.0, 20.0))
    assert left == right
    assert left.item() == pytest.approx(-0.5 * 19.5**2 - math.log(19.5 * 2.5066), abs=1e-2)


def test_a_flow_prior_without_layers_is_the_standard_normal() -> None:
    y = torch.tensor([[0.5, -2.0]])
    expected = -0.5 * (0.25 + 4.0 + 2 * math.log(2 * math.pi))
    for name in ("std_gaussian", "maf"):
        prior = make_prior(ModelConfig(dims=2, latents=2, prior=name, maf_stacks=0))
        assert log_prior(prior, y, intervals=False).item() == pytest.approx(expected)


def test_bits_and_dimensions_divide_the_rate_and_not_the_distortion() -> None:
    torch.manual_seed(0)
    model = VectorVae(ModelConfig(dims=4, latents=4, prior="gmm_1"))
    terms = model(torch.randn(8, 4), torch.randn(8, 4))
    found = {}
    for unit, per_dimension in (("nats", False), ("bits", True)):
        config = UpperConfig.model_validate(
            {"lamb": 2, "unit": unit, "per_dimension": per_dimension}
        )
        found[unit] = Objective.of(config, 4)(terms)
    assert found["bits"]["rate"].item() == pytest.approx(
        found["nats"]["rate"].item() / (4 * math.log(2))
    )
    assert found["bits"]["mse"] == found["nats"]["mse"]
    assert found["bits"]["loss"] == found["bits"]["rate"] + 2 * found["bits"]["mse"]


@pytest.mark.parametrize("decoder_units", [(5,), None])
def test_standardised_models_cost_the_same_at_any_scale(decoder_units: Any) -> None:
    shape = ModelConfig(dims=2, latents=2, prior="gmm_1", decoder_units=decoder_units)
    torch.manual_seed(0)
    plain = VectorVae(shape)
    scaled = VectorVae(shape.model_copy(update={"standardise": True}))
    x, noise = torch.randn(500, 2), torch.randn(500, 2)
    x = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    scaled.standardise(x * 0.01 + 7)
    scaled.load_state_dict(scaled.state_dict() | plain.state_dict())
    terms, others = plain(x, noise), scaled(x * 0.01 + 7, noise)
    torch.testing.assert_close(others.kl, terms.kl, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        others.squared_error, 1e-4 * terms.squared_error, rtol=0.01, atol=1e-7
    )


def test_reconstructions_are_latents_without_a_decoder() -> None:
    model = VectorVae(ModelConfig(dims=2, latents=2, decoder_units=None, prior="gmm_1"))
    y = torch.randn(3, 2)
    np.testing.assert_array_equal(model.decode(y), y)

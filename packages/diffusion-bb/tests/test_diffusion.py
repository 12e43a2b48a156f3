"""Diffusion mathematics, losses and sampling against the original's numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from golden_fill import fill_weights
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.data import scaled
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.distributions import gaussian_kl, grey_level_log_mass
from nc_diffusion_bb.losses import Loss, loss_of, training_losses
from nc_diffusion_bb.sampling import ancestral_step, ddim_reverse_step, ddim_step, sample
from nc_diffusion_bb.unet import Architecture, UNet

SCHEDULES = ["cosine", "linear"]
LOSSES: dict[str, Loss] = {
    "MSE": "mse",
    "RESCALED_MSE": "rescaled-mse",
    "KL": "kl",
    "RESCALED_KL": "rescaled-kl",
}


class Golden:
    """Arrays of a file by name, as tensors."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path)

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.arrays[name]))


@pytest.fixture(scope="module")
def terms(shared: Path) -> Golden:
    return Golden(shared / "golden" / "diffusion-bb" / "diffusion_terms.npz")


@pytest.fixture(scope="module")
def document(shared: Path) -> dict[str, Any]:
    path = shared / "golden" / "diffusion-bb" / "diffusion_terms.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def network(document: dict[str, Any], out_channels: int) -> UNet:
    shape = Architecture(
        image_size=8,
        width=32,
        out_channels=out_channels,
        blocks=1,
        attention_factors=(2,),
        multipliers=(1, 2),
        heads=2,
    )
    model = UNet(shape).eval()
    fill_weights(model, document["fill_tag" if out_channels == 6 else "fill_tag_fixedvar"])
    return model


@pytest.fixture(scope="module")
def learned(document: dict[str, Any]) -> UNet:
    return network(document, 6)


def diffusion(schedule: Any, **options: Any) -> GaussianDiffusion:
    config = DiffusionConfig(steps=100, noise_schedule=schedule, respacing="vlb20", **options)
    return GaussianDiffusion.of(config)


def close(found: Any, expected: Tensor, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found.detach(), expected, rtol=rtol, atol=atol)


def test_the_chain_is_the_golden_one(document: dict[str, Any]) -> None:
    chain = diffusion("cosine")
    assert list(chain.timestep_map) == document["timestep_map"]
    assert chain.network_time(torch.tensor([0, 19])).tolist() == [0, 990]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("clip", [True, False])
def test_bounds_are_the_original_ones(
    terms: Golden, learned: UNet, schedule: str, clip: bool
) -> None:
    chain = diffusion(schedule)
    x_start = torch.from_numpy(scaled(terms["image_u8"].numpy()))
    close(x_start, terms["x_start"], atol=1e-7)
    columns: dict[str, list[Tensor]] = {"vb": [], "xstart_mse": [], "mse": []}
    with torch.inference_mode():
        for step, noise in reversed(list(enumerate(terms[f"{schedule}.noise_by_t"]))):
            t = torch.tensor([step])
            x_t = chain.q_sample(x_start, t, noise)
            outputs = learned(x_t, chain.network_time(t))
            found = chain.bound_term(outputs, x_start, x_t, t, clip_denoised=clip)
            again = chain.predict_noise(x_t, t, found.pred_xstart)
            columns["vb"].append(found.vb)
            columns["xstart_mse"].append((found.pred_xstart - x_start).square().mean((1, 2, 3)))
            columns["mse"].append((again - noise).square().mean((1, 2, 3)))
        prior = chain.prior_term(x_start)
    table = {name: torch.stack(found, dim=1) for name, found in columns.items()}
    total = table["vb"].sum(dim=1) + prior
    if not clip:
        close(total, terms[f"{schedule}.bpd_noclip.total_bpd"], rtol=1e-3)
        return
    close(total, terms[f"{schedule}.bpd_clip.total_bpd"])
    close(prior, terms[f"{schedule}.bpd_clip.prior_bpd"])
    for name, values in table.items():
        close(values, terms[f"{schedule}.bpd_clip.{name}"], rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("step", [0, 10, 19])
def test_moments_are_the_original_ones(
    terms: Golden, learned: UNet, schedule: str, step: int
) -> None:
    chain, prefix = diffusion(schedule), f"{schedule}.t{step}"
    x_start, t = terms["x_start"], torch.tensor([step])
    x_t = chain.q_sample(x_start, t, terms[f"{schedule}.noise_by_t"][step])
    close(x_t, terms[f"{prefix}.x_t"])
    for name, moments in [
        ("q", chain.q_mean_variance(x_start, t)),
        ("q_post", chain.q_posterior(x_start, x_t, t)),
    ]:
        for field, found in moments._asdict().items():
            expected = terms[f"{prefix}.{name}.{field}"]
            close(found.expand_as(expected), expected)
    for clip in (1, 0):
        with torch.no_grad():
            seen = chain.p_mean_variance(learned, x_t, t, clip_denoised=bool(clip))
        tolerance = 1e-3 if step == 19 and not clip else 1e-4
        for field, found in seen._asdict().items():
            if clip or field in {"mean", "pred_xstart"}:
                expected = terms[f"{prefix}.p_clip{clip}.{field}"]
                scale = float(expected.abs().max())
                close(found, expected, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", LOSSES)
def test_training_losses_and_gradients_are_the_original_ones(
    terms: Golden, document: dict[str, Any], schedule: str, name: str
) -> None:
    model, prefix = network(document, 6), f"{schedule}.train"
    found = training_losses(
        diffusion(schedule),
        model,
        terms["x_start"],
        terms[f"{prefix}.t"],
        terms[f"{prefix}.noise"],
        loss=LOSSES[name],
    )
    tolerance = 1e-3 if 19 in terms[f"{prefix}.t"].tolist() else 1e-4
    for field, values in found._asdict().items():
        if values is None:
            assert f"{prefix}.{name}.{field}" not in terms.arrays
        else:
            close(values, terms[f"{prefix}.{name}.{field}"], rtol=tolerance)
    if f"{prefix}.{name}.grad_norm" in terms.arrays:
        torch.autograd.backward(found.loss.mean())
        gradients = [parameter.grad for parameter in model.parameters()]
        norm = sum(float(g.double().square().sum()) for g in gradients if g is not None) ** 0.5
        assert norm == pytest.approx(float(terms[f"{prefix}.{name}.grad_norm"]), rel=1e-3)
        bias = dict(model.named_parameters())["out.2.bias"].grad
        expected = terms[f"{prefix}.{name}.grad.out.2.bias"]
        close(bias, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_settings_choose_the_loss() -> None:
    assert loss_of(DiffusionConfig()) == "rescaled-kl"
    assert loss_of(DiffusionConfig(rescale_kl=False)) == "kl"
    assert loss_of(DiffusionConfig(use_kl=False)) == "rescaled-mse"
    assert loss_of(DiffusionConfig(use_kl=False, rescale_learned_sigmas=False)) == "mse"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fixed_large", {}),
        ("fixed_small", {"sigma_small": True}),
        ("predict_xstart", {"predict_xstart": True}),
    ],
)
def test_fixed_variances_and_predicted_images_are_the_original_ones(
    terms: Golden, document: dict[str, Any], schedule: str, name: str, options: dict[str, bool]
) -> None:
    options = {"learn_sigma": False, "rescale_timesteps": False, **options}
    chain, model = diffusion(schedule, **options), network(document, 3)
    prefix, t = f"{schedule}.{name}", torch.tensor([0, 10])
    x_t = terms[f"{prefix}.x_t"]
    with torch.no_grad():
        seen = chain.p_mean_variance(model, x_t, t, clip_denoised=True)
        noise = terms[f"{schedule}.train.noise"]
        losses = training_losses(chain, model, terms["x_start"], t, noise, loss="mse")
    close(chain.q_sample(terms["x_start"], t, noise), x_t)
    close(seen.mean, terms[f"{prefix}.mean"], atol=1e-5)
    close(seen.variance, terms[f"{prefix}.variance"])
    close(losses.loss, terms[f"{prefix}.loss"])
    assert losses.vb is None


def test_log_masses_of_grey_levels_are_the_original_ones(terms: Golden) -> None:
    found = grey_level_log_mass(terms["dec.x"], terms["dec.mean"], terms["dec.log_scale"])
    close(found, terms["dec.loglik_nats"], atol=1e-4)


def test_divergences_of_gaussians_are_the_original_ones(terms: Golden) -> None:
    found = gaussian_kl(terms["kl.m1"], terms["kl.lv1"], terms["kl.m2"], terms["kl.lv2"])
    close(found, terms["kl.nats"])


def test_samples_are_the_original_ones(shared: Path, learned: UNet) -> None:
    golden = Golden(shared / "golden" / "diffusion-bb" / "sampling.npz")
    chain, x_t, t, noise = diffusion("cosine"), golden["x_t"], golden["t"], golden["noise"]
    with torch.no_grad():
        found = {
            "p_sample.clip1": ancestral_step(chain, learned, x_t, t, noise),
            "p_sample.clip0": ancestral_step(chain, learned, x_t, t, noise, clip_denoised=False),
            "ddim.eta0.0": ddim_step(chain, learned, x_t, t, noise),
            "ddim.eta0.5": ddim_step(chain, learned, x_t, t, noise, eta=0.5),
            "ddim_reverse": ddim_reverse_step(chain, learned, x_t, t),
            "full_chain.from_x_t_with_same_noise_every_step": sample(
                chain, learned, x_t, lambda _: noise
            ),
        }
    for name, values in found.items():
        close(values, golden[name], rtol=1e-3, atol=1e-3)
    assert len(found) == len(golden.arrays.files) - 3


def test_a_step_for_all_is_the_same_as_one_for_each(learned: UNet) -> None:
    chain = diffusion("cosine")
    x_start, noise = torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        seen = []
        for t in (torch.tensor([7]), torch.tensor([7, 7, 7])):
            x_t = chain.q_sample(x_start, t, noise)
            seen.append(chain.p_mean_variance(learned, x_t, t, clip_denoised=True))
    for once, each in zip(*seen, strict=True):
        close(once, each)
    # Tables that were first used in inference mode serve training too.
    losses = training_losses(chain, learned, x_start, torch.tensor([7, 7, 7]), noise)
    torch.autograd.backward(losses.loss.mean())
    learned.zero_grad()

"""Every golden model of the upper bound: values, gradients, and four steps of Adam."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nc_rd_bounds.adam import Adam
from nc_rd_bounds.upper.config import ModelConfig, UpperConfig
from nc_rd_bounds.upper.model import Objective, VectorVae

CASES = (
    "deep_gaussian", "deep_uniform", "deep_uniform_tail", "gdn", "gmm1_leaky_bits_rpd",
    "gmm1_nodec", "gmm2_uniform", "gmm3", "gsm2", "iaf2_maf2", "lmm2", "lsm2_uniform", "maf2",
    "maf3_banana",
)  # fmt: skip
DEFECTIVE = "std_gaussian_defect"


@dataclass
class Golden:
    """A model of the original, in ours."""

    model: VectorVae
    objective: Objective
    arrays: dict[str, NDArray[Any]]
    names: list[str]

    def weights(self) -> dict[str, nn.Parameter]:
        """Parameters by the original's names."""
        return {_original(name): value for name, value in self.model.named_parameters()}

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def mask(self, name: str) -> NDArray[Any] | int:
        return self.arrays.get(f"mask/{name}", 1)


def _original(name: str) -> str:
    """The original's name of a parameter."""
    part, *inner = name.split(".")
    if part in ("encoder", "decoder"):
        return f"{part}_gdn/{inner[1]}" if inner[0] == "gdn" else f"{part}_{inner[1]}/{inner[2]}"
    if inner[0] == "flow":
        flow = "maf" if part == "prior" else "iaf"
        return f"{flow}_{inner[2]}/dense_{inner[4]}/{inner[5]}"
    deep = inner[0].startswith(("matrix", "bias", "factor"))
    return f"{'deep' if deep else 'prior'}/{inner[0]}"


def load(shared: Path, case: str) -> Golden:
    folder = shared / "golden" / "rd-bounds-vector" / "ub"
    said = json.loads((folder / "configs.json").read_bytes())[case]
    with np.load(folder / f"{case}.npz") as file:
        arrays = {name: file[name] for name in file.files}
    shape = ModelConfig(
        dims=said["data_dim"],
        latents=said["latent_dim"],
        encoder_units=said["encoder_units"],
        decoder_units=None if said["decoder_units"] == [0] else said["decoder_units"],
        encoder_activation=said["encoder_activation"],
        decoder_activation=said["decoder_activation"],
        posterior=said["posterior_type"],
        prior=said["prior_type"],
        flow_units=said["ar_hidden_units"],
        flow_activation=said["ar_activation"] or "none",
        maf_stacks=said["maf_stacks"],
        iaf_stacks=said["iaf_stacks"],
    )
    config = UpperConfig(
        model=shape,
        lamb=said["lmbda"],
        unit="nats" if said["nats"] else "bits",
        per_dimension=said["rpd"],
    )
    golden = Golden(
        VectorVae(shape), Objective.of(config, said["data_dim"]), arrays, said["param_order"]
    )
    with torch.no_grad():
        for name, parameter in golden.weights().items():
            assert parameter.shape == arrays[f"w/{name}"].shape
            parameter.copy_(golden.tensor(f"w/{name}"))
    return golden


@pytest.mark.parametrize("case", [*CASES, DEFECTIVE])
def test_parameters_and_masks_are_the_originals(shared: Path, case: str) -> None:
    golden = load(shared, case)
    assert sorted(golden.weights()) == sorted(golden.names)
    masks = {
        _original(name.removesuffix("mask") + "kernel"): mask.numpy()
        for name, mask in golden.model.named_buffers()
    }
    expected = {key[5:]: value for key, value in golden.arrays.items() if key.startswith("mask/")}
    assert masks.keys() == expected.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, expected[name])


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_the_originals(shared: Path, case: str) -> None:
    golden = load(shared, case)
    model, arrays, x = golden.model, golden.arrays, golden.tensor("x")
    encoded = model.encoder(x)
    y, log_q = model.posterior(encoded, golden.tensor("eps"))
    terms = model(x, golden.tensor("eps"))
    found = golden.objective(terms)
    found["loss"].backward()

    large = np.abs(arrays["kls_nats"]).max() > 10
    tolerance = {"rtol": 1e-5, "atol": 1e-4} if large else {"rtol": 1e-6, "atol": 5e-6}
    assert_close(encoded, arrays["enc"])
    assert_close(y, arrays["y"])
    assert_close(terms.reconstruction, arrays["recon"])
    assert_close(terms.kl, arrays["kls_nats"], **tolerance)
    if "log_q" in arrays:
        assert_close(log_q, arrays["log_q"], **tolerance)
    assert_close(log_q - terms.kl, arrays["log_prior"], **tolerance)
    for name in ("mse", "rate", "loss"):
        assert_close(found[name], arrays[name], rtol=1e-5, atol=5e-6)
    for name, parameter in golden.weights().items():
        assert parameter.grad is not None
        gradient, expected = parameter.grad.numpy(), arrays[f"grad/{name}"] * golden.mask(name)
        largest = np.abs(arrays[f"grad/{name}"]).max()
        assert_close(gradient * golden.mask(name), expected, rtol=0, atol=1e-3 * largest + 1e-9)


@pytest.mark.parametrize("case", ["gmm3", "maf2", "deep_uniform"])
def test_four_steps_of_adam_are_the_originals(shared: Path, case: str) -> None:
    golden = load(shared, case)
    optimizer = Adam(golden.model.parameters(), lr=5e-3)
    for noise, logged in zip(
        golden.tensor("adam/eps"), golden.arrays["adam/loss_rate_mse"], strict=True
    ):
        optimizer.zero_grad()
        found = golden.objective(golden.model(golden.tensor("x"), noise))
        assert [found[name].item() for name in ("loss", "rate", "mse")] == pytest.approx(
            logged, rel=1e-5, abs=1e-5
        )
        found["loss"].backward()
        optimizer.step()
        golden.model.apply_masks()
    for name, parameter in golden.weights().items():
        assert_close(parameter, golden.arrays[f"adam/w_after/{name}"], rtol=0, atol=2e-6)


def test_the_standard_normal_prior_has_a_value_per_vector(shared: Path) -> None:
    # The original's value is a sum over the batch, six times too large.
    golden = load(shared, DEFECTIVE)
    terms = golden.model(golden.tensor("x"), golden.tensor("eps"))
    y = golden.arrays["y"].astype(np.float64)
    log_prior = -0.5 * (y**2 + math.log(2 * math.pi)).sum(axis=1)
    assert_close(terms.kl, golden.arrays["log_q"] - log_prior)
    assert golden.arrays["log_prior"] == pytest.approx(np.full(6, log_prior.sum()), rel=1e-5)
    assert_close(terms.reconstruction, golden.arrays["recon"])


def assert_close(
    ours: Tensor | NDArray[Any], theirs: NDArray[Any], *, rtol: float = 1e-6, atol: float = 5e-6
) -> None:
    array = ours.detach().numpy() if isinstance(ours, Tensor) else ours
    np.testing.assert_allclose(array, theirs, rtol=rtol, atol=atol)

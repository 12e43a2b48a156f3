"""Exact arithmetic costs hardly any rate: a trained model on real digits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


pytest.importorskip("safetensors")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from exact_models import Vae, run_all, tiny_mnist  # noqa: E402
from nc_core.datasets.idx import read_idx  # noqa: E402
from nc_core.exact import Precision, lower, summary  # noqa: E402
from nc_core.testing.torch_settings import threads  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


LATENT_BITS = 14
PIXEL_BITS = 8


@pytest.fixture(scope="module")
def digits(shared: Path) -> Tensor:
    (path,) = (shared / "data" / "mnist").glob("t10k-images*")
    return functional.pad(torch.tensor(read_idx(path, 3)[:364])[:, None], (2, 2, 2, 2))


def logistic(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Log-density in nats, summed over each example."""
    t = (z - mean) / scale
    return (-t - 2 * functional.softplus(-t) - scale.log()).flatten(1).sum(1)


def pixels(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Log-probability of grey levels in nats, summed over each example."""
    above = torch.where(x == 255, 1.0, torch.sigmoid((x + 0.5 - mean) / scale))
    below = torch.where(x == 0, 0.0, torch.sigmoid((x - 0.5 - mean) / scale))
    return (above - below).clamp(min=2**-24).log().flatten(1).sum(1)


def elbo_bpd(model: Vae, x: Tensor, exact: bool) -> float:
    """Negative ELBO in bits per dimension with fixed noise and latents on a fine grid."""

    def parameters(result: tuple[Tensor, Tensor], bits: int) -> tuple[Tensor, Tensor]:
        first, second = result
        if exact:
            return first.double() / 2**bits, torch.exp2(second.double() / 64 - 6)
        if bits == PIXEL_BITS:
            first, second = model.likelihood.to_symbols(first, second)
        return first.double(), second.double()

    generator = torch.Generator().manual_seed(1)
    given, total, below = x, torch.zeros(len(x), dtype=torch.float64), x.double()
    with torch.no_grad():
        for level in range(model.levels):
            mean, scale = parameters(model.infer(level, given), LATENT_BITS)
            u = torch.rand(mean.shape, generator=generator, dtype=torch.float64)
            z = mean + scale * torch.logit(u.clamp(1e-5, 1 - 1e-5))
            z = (z * 2**LATENT_BITS).round() / 2**LATENT_BITS
            total += logistic(z, mean, scale)
            bits = PIXEL_BITS if level == 0 else LATENT_BITS
            mean, scale = parameters(model.generate(level, z.float()), bits)
            total -= (pixels if level == 0 else logistic)(below, mean, scale)
            given, below = z.float(), z
        total -= logistic(z, torch.zeros_like(z), torch.ones_like(z))
    return float(total.mean()) / math.log(2) / x[0].numel()


@pytest.fixture(scope="module")
def model(shared: Path) -> Vae:
    return tiny_mnist(shared)


def test_the_trained_model_has_the_rate_that_was_published_with_it(
    model: Vae, digits: Tensor
) -> None:
    assert 1.15 < elbo_bpd(model, digits[:300], exact=False) < 1.30


PLANS: dict[str, Precision] = {
    "measured": Precision(),
    "twelve bits": Precision(input_bits=12, depth=1),
    "two sets of weights": Precision(depth=2),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_rate_changes_by_less_than_a_thousandth(model: Vae, digits: Tensor, name: str) -> None:
    exact: nn.Module = lower(model, run_all(digits[300:]), precision=PLANS[name])
    bound = elbo_bpd(model, digits[:300], exact=False)
    rate = elbo_bpd(exact, digits[:300], exact=True)
    assert abs(rate / bound - 1) < 1e-3
    assert all(layer.fill < 1 for layer in summary(exact))

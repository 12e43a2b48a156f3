"""Stand-in networks for tests of exact arithmetic: a small hierarchical VAE, and its layers.

The VAE follows section 2 of the paper's description (Kingma, Abbeel, Ho, arXiv 1905.06845) with
the checkpoints' own names, so that trained weights of the paper's family can be loaded.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_core.exact import Input, LocationScaleHead, ScaleMap

SOFTPLUS_ONE = math.log(math.e - 1)


class WeightNormConv2d(nn.Module):
    """Direction times gain, as the paper's layers are parametrised."""

    def __init__(self, inputs: int, outputs: int, taps: int, log_gain: bool = True) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.randn(outputs, inputs, taps, taps) * 0.05)
        self.gain = nn.Parameter(torch.zeros(outputs) if log_gain else torch.ones(outputs))
        self.b = nn.Parameter(torch.zeros(outputs))
        self.log_gain = log_gain

    def effective_weight(self) -> Tensor:
        gain = functional.softplus(self.gain) if self.log_gain else self.gain
        norm = self.v.flatten(1).norm(dim=1) + 1e-10
        return self.v * (gain / norm)[:, None, None, None]

    def effective_bias(self) -> Tensor:
        return self.b

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.effective_weight(), self.b, padding="same")


class ResidualLayer(nn.Module):
    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.conv1 = WeightNormConv2d(channels, channels, taps)
        self.conv2 = WeightNormConv2d(channels, channels, taps, log_gain=False)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.elu(self.conv1(functional.elu(x)))
        return x + self.conv2(self.dropout(h))


class Squeeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        parts = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return parts.reshape(b, 4 * c, h // 2, w // 2)


class Unsqueeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        parts = x.view(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
        return parts.reshape(b, c // 4, 2 * h, 2 * w)


def block(channels: int, taps: int, depth: int) -> nn.Module:
    if depth == 0:
        return nn.Identity()
    names = [f"res{channels}layer{index + 1}" for index in range(depth)]
    layers = nn.Sequential()
    for name in names:
        layers.add_module(name, ResidualLayer(channels, taps))
    return nn.Sequential(layers, nn.ELU())


class Vae(nn.Module):
    """Levels of latents (channels, 16, 16) over images (colours, 32, 32)."""

    def __init__(
        self,
        levels: int,
        width: int,
        latents: int = 1,
        colours: int = 1,
        big: int = 1,
        small: int = 2,
    ) -> None:
        super().__init__()
        deal = [small // levels + (level < small % levels) for level in range(levels)]
        self.levels = levels
        self.gen_std = nn.Parameter(torch.zeros(colours, 32, 32))
        self.pixels = Input(0, 255, offset=127.5, scale=127.5)
        self.latent_input = Input(-64, 64, fraction_bits=14)
        self.infer_in = nn.Sequential(Squeeze(), WeightNormConv2d(4 * colours, width, 5), nn.ELU())
        self.infer_res0 = block(width, 5, big)
        self.infer_res1 = block(width, 3, deal[0])
        self.infer_mu = WeightNormConv2d(width, latents, 3)
        self.infer_std = WeightNormConv2d(width, latents, 3)

        def entry() -> nn.Module:
            return nn.Sequential(WeightNormConv2d(latents, width, 3), nn.ELU())

        def exit_() -> nn.Module:
            return nn.Sequential(WeightNormConv2d(width, latents, 3))

        for name in ("deepinfer", "deepgen"):
            setattr(self, f"{name}_in", nn.ModuleList(entry() for _ in deal[1:]))
            setattr(
                self, f"{name}_res", nn.ModuleList(block(width, 3, depth) for depth in deal[1:])
            )
            setattr(self, f"{name}_mu", nn.ModuleList(exit_() for _ in deal[1:]))
            setattr(self, f"{name}_std", nn.ModuleList(exit_() for _ in deal[1:]))
        self.gen_in = entry()
        self.gen_res1 = block(width, 3, deal[0])
        self.gen_res0 = block(width, 5, big)
        self.gen_mu = nn.Sequential(WeightNormConv2d(width, 4 * colours, 3), Unsqueeze())
        latent_units = {"fraction_bits": 14}
        self.posterior = LocationScaleHead(ScaleMap("sigmoid", 0.1, 0.9, 2.0), **latent_units)
        self.conditional = LocationScaleHead(
            ScaleMap("softplus", 0.1, 0.9, SOFTPLUS_ONE), **latent_units
        )
        self.likelihood = LocationScaleHead(
            ScaleMap("softplus", 2 / 255 / 8), gain=127.5, offset=127.5
        )

    def infer(self, level: int, given: Tensor) -> tuple[Tensor, Tensor]:
        """q(z[level] | image or z[level - 1])."""
        if level == 0:
            h = self.infer_res1(self.infer_res0(self.infer_in(self.pixels(given))))
            return self.posterior(self.infer_mu(h), self.infer_std(h))
        i = level - 1
        h = self.deepinfer_res[i](self.deepinfer_in[i](self.latent_input(given)))
        return self.posterior(self.deepinfer_mu[i](h), self.deepinfer_std[i](h))

    def generate(self, level: int, given: Tensor) -> tuple[Tensor, Tensor]:
        """p(image or z[level - 1] | z[level])."""
        z = self.latent_input(given)
        if level == 0:
            h = self.gen_res0(self.gen_res1(self.gen_in(z)))
            return self.likelihood(self.gen_mu(h), self.gen_std)
        i = level - 1
        h = self.deepgen_res[i](self.deepgen_in[i](z))
        return self.conditional(self.deepgen_mu[i](h), self.deepgen_std[i](h))


def run_all(images: Tensor, seed: int = 0):
    """Calibration: every method on some images, with latents drawn from the posterior."""

    def run(model: nn.Module) -> None:
        generator = torch.Generator().manual_seed(seed)
        given = images
        for level in range(model.levels):
            mean, scale = model.infer(level, given)
            u = torch.rand(mean.shape, generator=generator).clamp(1e-5, 1 - 1e-5)
            given = mean + scale * (u / (1 - u)).log()
            model.generate(level, given)

    return run


def tiny_mnist(shared: Path) -> Vae:
    """The trained model of two levels and 16 channels."""
    from safetensors.torch import load_file

    model = Vae(levels=2, width=16)
    path = shared / "golden" / "bitswap" / "encode_run_mnist_nz2.model.safetensors"
    state = load_file(path)
    # A pass-through level keeps its name in checkpoints but has no entries.
    model.load_state_dict(state)
    return model.eval()

"""Bounds of a VAE on images, in floating point and of the exact networks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.bbans.codec import BbansCodec
from nc_bitswap.bbans.model import Vae
from nc_bitswap.evaluate import mean_bits, parts
from nc_core.rates import Measurement

__all__ = ["evaluate_bounds"]

_BATCH = 500


def evaluate_bounds(
    vae: Vae | None, codec: BbansCodec | None, pixels: NDArray[np.uint8], *, seed: int = 0
) -> list[Measurement]:
    """Code lengths of images in bits per pixel; standard errors are over images.

    Args:
        vae: in floating point; None to leave out what needs it.
        codec: the model that files are coded with; None likewise.
        pixels: uint8, (n, dims).
        seed: of the floating-point draws of latents.

    Returns:
        ``elbo``, at one draw of the latent for every image, and its terms ``x/reconstruction``
        and ``z1/KL``; ``mean_latent_loss``, the same formula with the posterior's mean in the
        latent's place, which the original prints as test loss and which is no bound;
        ``exact_elbo``.
    """
    measurements = [] if vae is None else _float_bounds(vae.eval(), pixels, seed)
    if codec is not None:
        blocks = pixels.reshape(-1, *codec.architecture.image_shape)
        measurements.append(mean_bits("exact_elbo", codec.bits(blocks), pixels.shape[1]))
    return measurements


def _float_bounds(vae: Vae, pixels: NDArray[np.uint8], seed: int) -> list[Measurement]:
    generator = torch.Generator().manual_seed(seed)
    columns: dict[str, list[torch.Tensor]] = {}
    for part in parts(len(pixels), _BATCH):
        batch = torch.from_numpy(np.array(pixels[part]))
        noise = torch.randn((len(batch), vae.architecture.latents), generator=generator)
        with torch.no_grad():
            drawn, mean = vae(batch, noise), vae(batch, torch.zeros_like(noise))
        columns.setdefault("elbo", []).append(drawn.information)
        columns.setdefault("x/reconstruction", []).append(drawn.reconstruction)
        columns.setdefault("z1/KL", []).append(drawn.divergence)
        columns.setdefault("mean_latent_loss", []).append(mean.information)
    dims = vae.architecture.dims
    return [mean_bits(name, torch.cat(column).numpy(), dims) for name, column in columns.items()]

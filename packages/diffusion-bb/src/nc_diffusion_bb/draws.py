"""Images drawn from a model, as pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_diffusion_bb.data import to_pixels
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.sampling import sample
from nc_diffusion_bb.unet import UNet
from nc_diffusion_bb.vlb import NoiseStream, placed

__all__ = ["draw_images"]


def draw_images(
    network: UNet,
    diffusion: GaussianDiffusion,
    count: int,
    *,
    seed: int = 0,
    eta: float | None = None,
    clip: bool = True,
    class_: int | None = None,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
    tell: Callable[[int], object] | None = None,
) -> NDArray[np.uint8]:
    """Draw images; image i depends on the seed and on i alone.

    Args:
        network: in floating point; moved to the device.
        diffusion: the chain.
        count: of images.
        seed: of all noise.
        eta: of DDIM; None for ancestral sampling.
        clip: predicted images are clipped to [-1, 1].
        class_: of all images, for networks that are told classes.
        batch_size: images per pass of the network.
        device: to compute on.
        tell: called with the number of images after each batch.

    Returns:
        uint8, (count, C, H, W).
    """
    network = placed(network, torch.device(device))
    shape = network.architecture.image_shape
    batches = []
    for start in range(0, count, batch_size):
        indices = range(start, min(start + batch_size, count))
        stream = NoiseStream(seed, 0, indices, shape)

        def noise(step: int, stream: NoiseStream = stream) -> Tensor:
            return torch.from_numpy(stream(step)).to(device)

        y = None if class_ is None else torch.full((len(indices),), class_, device=device)
        images = sample(
            diffusion, network, noise(diffusion.steps), noise, eta=eta, clip_denoised=clip, y=y
        )
        batches.append(to_pixels(images.clamp(-1, 1).cpu().numpy()).astype(np.uint8))
        if tell is not None:
            tell(len(indices))
    return np.concatenate(batches)

"""Bounds of a model on images: the ELBO in floating point and that of the exact networks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.model import HierarchicalVAE
from nc_core.protocols import LosslessModel
from nc_core.rates import Measurement

__all__ = ["evaluate_bounds", "mean_bits", "parts"]

_BATCH = 64


def evaluate_bounds(
    networks: HierarchicalVAE | None,
    codec: LosslessModel | None,
    images: NDArray[np.uint8],
    *,
    seed: int = 0,
) -> list[Measurement]:
    """Code lengths of images, one draw of the latents each, in bits per dimension.

    Args:
        networks: in floating point; None to leave out the numbers that need it.
        codec: the model that files are coded with; None likewise.
        images: uint8, (n, C, H, W), of the networks' own shape.
        seed: of the floating-point draws.

    Returns:
        ``elbo`` and its terms ``x/reconstruction`` and ``z1/KL`` ...; ``exact_elbo``.
    """
    measurements: list[Measurement] = []
    if networks is not None:
        measurements += [
            mean_bits(name, lengths, images[0].size)
            for name, lengths in _terms(networks, images, seed).items()
        ]
    if codec is not None:
        lengths = np.concatenate([codec.bits(images[part]) for part in parts(len(images))])
        measurements.append(mean_bits("exact_elbo", lengths, images[0].size))
    return measurements


def _terms(
    networks: HierarchicalVAE, images: NDArray[np.uint8], seed: int
) -> dict[str, NDArray[np.float64]]:
    generator = torch.Generator().manual_seed(seed)
    columns: dict[str, list[torch.Tensor]] = {}
    networks.eval()
    for part in parts(len(images)):
        batch = torch.from_numpy(np.ascontiguousarray(images[part]))
        with torch.no_grad():
            terms = networks(batch, networks.noise(len(batch), generator=generator))
        divergences = (terms.encoder - terms.decoder).sum(dim=2)
        columns.setdefault("elbo", []).append(terms.information())
        columns.setdefault("x/reconstruction", []).append(-terms.reconstruction)
        for level in range(divergences.shape[1]):
            columns.setdefault(f"z{level + 1}/KL", []).append(divergences[:, level])
    return {name: torch.cat(column).double().numpy() for name, column in columns.items()}


def mean_bits(name: str, bits: NDArray[np.float64], dims: int) -> Measurement:
    """Mean code length of images in bits per dimension, with its standard error over images.

    Args:
        name: of the measurement.
        bits: of each image, (n,).
        dims: samples of an image.
    """
    values = bits / dims
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return Measurement(
        name=name, value=float(values.mean()), unit="bit/dim", standard_error=error, n=len(values)
    )


def parts(count: int, size: int = _BATCH) -> Iterator[slice]:
    """Slices of ``size`` that together are ``count`` long or a little more."""
    return (slice(start, start + size) for start in range(0, count, size))

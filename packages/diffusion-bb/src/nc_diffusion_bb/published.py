"""Published results: bits per dimension of the two released models, by number of steps.

Steps are spaced as ``vlbT`` says; CIFAR-10: all 10,000 test images, ImageNet64: the validation
images. ``effective`` leaves out the initial bits, about ten bits per dimension and step, of the
first batch.

References: J. Berner, project ``bits_back_diffusion`` of NeuralCompression, whose README has the
table. The paper of the two models (Alex Nichol, Prafulla Dhariwal, arXiv 2102.09672) has 2.94 and
3.53 with all 4000 steps.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "TITLES", "PublishedRate"]


@dataclass(frozen=True)
class PublishedRate:
    """One row, in bits per dimension.

    Args:
        steps: of the chain.
        vlb: the variational bound.
        effective: rate without initial bits; None where it is not given.
    """

    steps: int
    vlb: float
    effective: float | None


PUBLISHED: dict[str, tuple[PublishedRate, ...]] = {
    "cifar10": (
        PublishedRate(100, 3.076, 3.077),
        PublishedRate(250, 3.034, 3.034),
        PublishedRate(500, 3.013, 3.015),
        PublishedRate(1000, 2.990, 2.992),
        PublishedRate(2000, 2.967, 2.970),
        PublishedRate(4000, 2.945, 2.951),
    ),
    "imagenet64": (
        PublishedRate(100, 3.648, 3.649),
        PublishedRate(250, 3.600, 3.600),
        PublishedRate(500, 3.581, 3.582),
        PublishedRate(1000, 3.565, 3.567),
        PublishedRate(2000, 3.553, None),
        PublishedRate(4000, 3.544, None),
    ),
}
"""Rows of each model, by increasing number of steps."""

TITLES = {"cifar10": "CIFAR-10", "imagenet64": "ImageNet64"}
"""What the datasets are called in print."""

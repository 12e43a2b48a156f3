"""Results of the paper, from the arrays and learning curves that its authors published."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

__all__ = ["PUBLISHED", "published"]

PUBLISHED = (
    "mnist-nz2", "mnist-nz4", "mnist-nz8", "cifar10-nz2", "cifar10-nz4", "cifar10-nz8",
    "imagenet32-nz2", "imagenet32-nz4",
)  # fmt: skip
"""Names of the models with results."""


def published(name: str) -> dict[str, Any]:
    """Results of one model, in bits per dimension of images without padding.

    Args:
        name: one of :data:`PUBLISHED`.

    Returns:
        ``dataset``; ``levels``; for ``bit-swap`` and ``bb-ans`` a mapping such as ``net_mean``,
        ``cma50_std`` (100 experiments of 100 images, 10 bits of discretization);
        ``net_pooled_mean`` and ``_std`` of both orders; ``learning_curve``, a list of ``epoch``,
        ``x`` (reconstruction) and ``kl`` (of each level) on test images.
    """
    results: dict[str, Any] = _document()["results"][name]
    return results


@lru_cache(maxsize=1)
def _document() -> Any:
    from importlib import resources

    return json.loads(resources.files("nc_bitswap").joinpath("published.json").read_text())

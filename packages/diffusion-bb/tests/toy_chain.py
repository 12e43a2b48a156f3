"""A chain of latents without a network, whose messages are reproducible everywhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass
class ToyChain:
    """Moments that are linear in the image and the latent above.

    Args:
        arrays: ``top_coef``, ``top_std``, ``prior_coef`` and so on; float32.
        noise: added to means, for a network whose last digits differ.
    """

    arrays: dict[str, NDArray[np.float32]]
    noise: float = 0.0

    @property
    def levels(self) -> int:
        return len(self.arrays["prior_coef"])

    def prior(self, level: int, above: Array) -> tuple[Array, Array]:
        mean = above * self.arrays["prior_coef"][level] + np.float32(self.noise)
        return mean, np.full_like(above, self.arrays["prior_std"][level])

    def posterior(self, level: int, data: Array, above: Array | None) -> tuple[Array, Array]:
        if above is None:
            deviation = np.full_like(data, self.arrays["top_std"])
            return data * self.arrays["top_coef"], deviation
        mean = data * self.arrays["post_xcoef"][level] + above * self.arrays["post_zcoef"][level]
        return mean, np.full_like(data, self.arrays["post_std"][level])


@dataclass
class Toy:
    """The golden toy: its chain, images, words and rates."""

    chain: ToyChain
    arrays: dict[str, NDArray[Any]]
    record: dict[str, Any]

    @property
    def images(self) -> NDArray[np.uint8]:
        """Three batches of two images, (6, 1, 4, 4)."""
        data: NDArray[np.uint8] = self.arrays["data"].astype(np.uint8).reshape(6, 1, 4, 4)
        return data


def golden_toy(shared: Path) -> Toy:
    """The toy of ``codec.npz``."""
    golden = shared / "golden" / "diffusion-bb"
    stored = np.load(golden / "codec.npz")
    arrays = {name[4:]: stored[name] for name in stored.files if name.startswith("toy.")}
    record = json.loads((golden / "codec.json").read_text())["toy"]
    return Toy(ToyChain(arrays), arrays, record)

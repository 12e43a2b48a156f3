"""What the original's codec can be told; both sides need the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nc_core.errors import UsageError

__all__ = ["CodecSettings"]

_RANGES = {
    "latent_bits": (2, 28),
    "prior_bits": (1, 20),
    "pixel_bits": (2, 28),
    "data_bits": (1, 8),
}


@dataclass(frozen=True)
class CodecSettings:
    """Precisions and ranges; names of the original's ``codec`` group in brackets.

    Args:
        latent_bits: of the counts of a latent under its posterior (``latent_prec``).
        prior_bits: log2 of the bins of a latent (``prior_prec``).
        pixel_bits: of the counts of a pixel (``obs_prec``).
        data_bits: of a pixel itself (``data_prec``).
        data_min, data_max: what the network is given for the smallest and the largest pixel.
        deviation_floor: smallest standard deviation of a pixel (``clip_stdd``).

    Raises:
        UsageError: a value that no codec has.
    """

    latent_bits: int = 18
    prior_bits: int = 10
    pixel_bits: int = 24
    data_bits: int = 8
    data_min: float = -1.0
    data_max: float = 1.0
    deviation_floor: float = 1e-6

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"{name} is {getattr(self, name)}, not {least} to {most}")
        if self.pixel_bits < self.data_bits:
            raise UsageError(f"pixel_bits is {self.pixel_bits}, fewer than data_bits")
        if not -math.inf < self.data_min < self.data_max < math.inf:
            raise UsageError(f"pixels cannot range from {self.data_min} to {self.data_max}")
        if not 0 < self.deviation_floor < math.inf:
            raise UsageError(f"deviation_floor is {self.deviation_floor}, not above 0")

    def initial_words(self, lanes: int, levels: int) -> int:
        """The original's number of initial words for that many dimensions and latents."""
        return lanes * levels * max(self.prior_bits, self.latent_bits) // 32

"""Compiled coding loops. Importing this imports numba; nothing is compiled until it is called.

``PUSH`` and ``POP`` hold the kernels of core's own distributions by name. ``push_interval`` and
``pop_interval`` are rANS itself, for other kernels to inline.
"""

from __future__ import annotations

from nc_core.ans.compiled import Kernel
from nc_core.ans.kernels.interval import (
    IMPOSSIBLE,
    OK,
    OUT_OF_WORDS,
    OUTSIDE,
    low_bits,
    pop_interval,
    pop_intervals,
    push_interval,
    push_intervals,
)
from nc_core.ans.kernels.location_scale import (
    pop_location_scale,
    push_location_scale,
)
from nc_core.ans.kernels.mixture import pop_mixture, push_mixture
from nc_core.ans.kernels.pixel import pop_pixel_location_scale, push_pixel_location_scale
from nc_core.ans.kernels.tabled import (
    pop_categorical,
    pop_shared_categorical,
    pop_uniform,
    push_categorical,
    push_shared_categorical,
    push_uniform,
)

__all__ = [
    "IMPOSSIBLE",
    "OK",
    "OUTSIDE",
    "OUT_OF_WORDS",
    "POP",
    "PUSH",
    "low_bits",
    "pop_interval",
    "pop_intervals",
    "push_interval",
    "push_intervals",
]

PUSH: dict[str, Kernel] = {
    "categorical": push_categorical,
    "location-scale": push_location_scale,
    "mixture": push_mixture,
    "pixel-location-scale": push_pixel_location_scale,
    "shared-categorical": push_shared_categorical,
    "uniform": push_uniform,
}
POP: dict[str, Kernel] = {
    "categorical": pop_categorical,
    "location-scale": pop_location_scale,
    "mixture": pop_mixture,
    "pixel-location-scale": pop_pixel_location_scale,
    "shared-categorical": pop_shared_categorical,
    "uniform": pop_uniform,
}

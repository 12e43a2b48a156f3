"""Checkpoints of the original implementation (``bits-back/bits-back``).

They are ``state_dict``s of fully connected layers ``fc1`` ... ``fc4``, with batch normalisation in
the beta-binomial VAE. Its buffers ``n`` (255, in batches of 100), ``prior_mean`` and ``prior_std``
(0 and 1) are constants here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from nc_bitswap.bbans.model import TRIALS, Architecture, Vae
from nc_core.errors import DataError
from nc_core.network_files import without_memory

__all__ = ["recognise"]

_CONSTANTS = {"n": float(TRIALS), "prior_mean": 0.0, "prior_std": 1.0}
_OWN_KEYS = ("fc1.weight", "fc21.weight", "fc22.weight", "fc3.weight", "fc4.weight")


def recognise(tensors: Mapping[str, Tensor]) -> Vae | None:
    """The VAE that a ``state_dict`` belongs to; None where it has none of its layers.

    Args:
        tensors: by the original's names.

    Raises:
        DataError: it has the layers, and does not fit all the same; the message says where.
    """
    if not all(key in tensors and tensors[key].ndim == 2 for key in _OWN_KEYS):
        return None
    architecture = _architecture(tensors)
    vae = without_memory(lambda: Vae(architecture))
    weights = {key: value for key, value in tensors.items() if key not in _CONSTANTS}
    for key, constant in _CONSTANTS.items():
        if key in tensors and not bool((tensors[key] == constant).all()):
            raise DataError(f"a VAE of BB-ANS, but its '{key}' is not {constant:g}")
    expected = {key: tuple(value.shape) for key, value in vae.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise DataError(
                f"a VAE of BB-ANS, but '{key}' is {_described(found.get(key))}, "
                f"not {_described(expected.get(key))}"
            )
    vae.to_empty(device="cpu").load_state_dict(weights)
    return vae.eval()


def _architecture(tensors: Mapping[str, Tensor]) -> Architecture:
    hidden, dims = tensors["fc1.weight"].shape
    side = math.isqrt(dims)
    if side * side != dims:
        raise DataError(f"a VAE of BB-ANS, but of {dims} pixels, which are no square image")
    try:
        return Architecture(
            likelihood="beta-binomial" if "bn1.weight" in tensors else "bernoulli",
            height=side,
            width=side,
            hidden=hidden,
            latents=tensors["fc21.weight"].shape[0],
        )
    except ValueError as error:
        raise DataError(f"a VAE of BB-ANS, but {error}") from error


def _described(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of shape {shape}"

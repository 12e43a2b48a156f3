"""What this package provides to nc."""

from __future__ import annotations

from collections.abc import Iterable

from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec, ModelSpec, Pretrained, Reference

_PAPER = Reference(
    "F. H. Kingma, P. Abbeel, J. Ho",
    "Bit-Swap: Recursive Bits-Back Coding for Lossless Compression "
    "with Hierarchical Latent Variables",
    "1905.06845",
)

_BBANS = Reference(
    "J. Townsend, T. Bird, D. Barber",
    "Practical Lossless Compression with Latent Variables using Bits Back Coding",
    "1901.04866",
)

_MODELS = (
    ModelSpec(
        name="bitswap",
        summary="hierarchical VAE with bits-back coding; larger images are tiled",
        target="nc_bitswap.release:load",
        reference=_PAPER,
        abilities=("lossless-model",),
        pretrained=(
            Pretrained(
                name="bitswap-mnist",
                summary="handwritten digits; grey, up to 32x32 (larger ones are tiled)",
                id="c9235135e13f2c7dc5b9aa56a315c25411e08a2d135907b9ddcb120123550c7a",
                resource="pretrained/bitswap-mnist.safetensors",
            ),
        ),
    ),
    ModelSpec(
        name="bitswap-photo",
        summary="RGB images of any size: a pyramid of lattices above a small Bit-Swap model",
        target="nc_bitswap.photo.release:load",
        reference=_PAPER,
        abilities=("lossless-model",),
        pretrained=(
            Pretrained(
                name="bitswap-photo",
                summary="photographs; RGB, 8 bits per channel",
                id="64c0790e60301c04f8fe3b2b3d4ff2f8ee6ac9df8a9c4eb125bca30ad9ac4f64",
                resource="pretrained/bitswap-photo.safetensors",
            ),
        ),
    ),
    ModelSpec(
        name="bbans",
        summary="VAEs of BB-ANS, one latent level: binary or grey images of one size",
        target="nc_bitswap.bbans.release:load",
        reference=_BBANS,
        abilities=("lossless-model",),
        pretrained=(
            Pretrained(
                name="bbans-mnist",
                summary="handwritten digits; grey, up to 28x28 (larger ones are tiled)",
                id="1492ed494f8914de9b097bef49f436ffb84858442bac56a49d758c2b155dc917",
                resource="pretrained/bbans-mnist.safetensors",
            ),
            Pretrained(
                name="bbans-mnist-binary",
                summary="handwritten digits of 0 and 1, up to 28x28 (larger ones are tiled)",
                id="5e57252fae21e0fa890935b20adcc4fe62756c225641bfa52c3ed7d4a08c2cc0",
                resource="pretrained/bbans-mnist-binary.safetensors",
            ),
        ),
    ),
)

_COMMANDS = (
    CommandSpec(
        name="bitswap",
        summary="Bit-Swap: lossless compression with hierarchical latent variables",
        target="nc_bitswap.cli:bitswap",
        reference=_PAPER,
        model="bitswap-photo",
        recipes=(
            "bbans-mnist",
            "bbans-mnist-binary",
            "bbans-mnist-rounded",
            "cifar10-nz1",
            "cifar10-nz2",
            "cifar10-nz4",
            "cifar10-nz8",
            "imagenet32-nz1",
            "imagenet32-nz2",
            "imagenet32-nz4",
            "imagenetcrop-nz4",
            "mnist-nz1",
            "mnist-nz2",
            "mnist-nz2-tiny",
            "mnist-nz4",
            "mnist-nz8",
            "photo",
        ),
    ),
)


@hookimpl
def nc_models() -> Iterable[ModelSpec]:
    """The hierarchical VAE of the paper, the model of photographs, and the VAEs of BB-ANS."""
    return _MODELS


@hookimpl
def nc_commands() -> Iterable[CommandSpec]:
    """``nc run bitswap``."""
    return _COMMANDS

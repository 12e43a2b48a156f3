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
                summary="photographs, 8 bits per channel",
                id="b006ae1141129048d0f2688d7b2389aa7195aca212299a8931872baf3cfea130",
                resource="pretrained/bitswap-photo.safetensors",
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
    """The hierarchical VAE of the paper, and the model of photographs."""
    return _MODELS


@hookimpl
def nc_commands() -> Iterable[CommandSpec]:
    """``nc run bitswap``."""
    return _COMMANDS

"""What this package provides to nc."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from nc_core.hookspecs import hookimpl
from nc_core.specs import CodingOption, CommandSpec, ModelSpec, Pretrained, Reference

_PAPER = Reference(
    "A. Nichol, P. Dhariwal",
    "Improved Denoising Diffusion Probabilistic Models",
    "2102.09672",
)

_MODELS = (
    ModelSpec(
        name="diffusion-bb",
        summary="diffusion models with bits-back coding; larger images are tiled",
        target="nc_diffusion_bb.release:load",
        reference=_PAPER,
        abilities=("lossless-model",),
        pretrained=(
            Pretrained(
                name="diffusion-mnist",
                summary="handwritten digits; grey, up to 32x32 (larger ones are tiled)",
                id="601a016b626116e8916f37c04c0e525657632cad1b096670f5bec286ad50d2f0",
                resource="pretrained/diffusion-mnist.safetensors",
            ),
        ),
    ),
)

_FILES = files("nc_diffusion_bb").joinpath("recipes").iterdir()
_RECIPES = tuple(sorted(file.name.removesuffix(".yaml") for file in _FILES))

_CODING = (
    CodingOption(
        name="respacing",
        metavar="SPACING",
        summary="Steps of the chain: vlbK (dense where most bits are), ddimK, counts of sections "
        "(10,15,20), or all.  [default: vlb100; of up to 100 steps all, of 10,000 or more 100 "
        "evenly spaced]",
    ),
    CodingOption(
        name="steps",
        key="respacing",
        kind="int",
        minimum=1,
        metavar="K",
        summary="K evenly spaced steps of the chain; not together with --respacing.",
    ),
    CodingOption(
        name="batch-size",
        kind="int",
        minimum=1,
        metavar="N",
        summary="Most images that go through the network side by side; the first ones borrow "
        "bits and go alone.  [default: 16]",
    ),
    CodingOption(
        name="lead-in",
        metavar="CODEC",
        summary="What codes the first images, from which the others borrow: predictive or none, "
        "which pays for initial bits.  [default: predictive]",
    ),
    CodingOption(
        name="bins-per-deviation",
        metavar="X",
        summary="Bins in the smaller of a latent's two standard deviations, 1 to 64; more borrow "
        "more bits. For the order bit-swap.  [default: 2]",
    ),
    CodingOption(
        name="clip",
        metavar="on|off",
        summary="Limit predicted images to the range of pixels.  [default: on]",
    ),
)

_COMMANDS = (
    CommandSpec(
        name="diffusion-bb",
        summary="lossless compression with diffusion models and bits-back coding",
        target="nc_diffusion_bb.cli:diffusion_bb",
        reference=_PAPER,
        recipes=_RECIPES,
        model="diffusion-mnist",
        coding=_CODING,
        example="--dataset mnist:test --limit 64 --respacing vlb50 -o digits.ncz",
    ),
)


@hookimpl
def nc_models() -> Iterable[ModelSpec]:
    """Diffusion models."""
    return _MODELS


@hookimpl
def nc_commands() -> Iterable[CommandSpec]:
    """``nc run diffusion-bb``."""
    return _COMMANDS

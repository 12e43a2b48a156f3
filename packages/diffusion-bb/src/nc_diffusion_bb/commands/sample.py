"""``nc run diffusion-bb sample``: images that a model draws."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options
from nc_diffusion_bb.commands.options import (
    batch_size_option,
    chain_options,
    clip_option,
    model_option,
)

__all__ = ["sample"]


@click.command(
    epilog=options.examples(
        "nc run diffusion-bb sample --model M.safetensors -n 16 -o digits.png",
        "nc run diffusion-bb sample --model M.safetensors --eta 0 --steps 20 -o digits.png",
    )
)
@model_option("Model to draw from")
@click.option("-n", "--count", type=click.IntRange(min=1), default=16, show_default=True,
              metavar="N", help="Number of images.")  # fmt: skip
@chain_options()
@click.option("--eta", type=click.FloatRange(min=0, max=1), metavar="X",
              show_default="none: ancestral sampling",
              help="Draw by DDIM with X times the chain's fresh noise, from 0 to 1.")  # fmt: skip
@click.option("--class", "class_", type=click.IntRange(min=0), metavar="N",
              help="Draw images of this class, from a model of classes.")  # fmt: skip
@clip_option()
@batch_size_option("Images per pass of the network.")
@click.option("--columns", type=click.IntRange(min=1), default=8, show_default=True, metavar="N",
              help="Images in a row.")  # fmt: skip
@options.seed()
@options.out("FILE.png", "Image to write, with all of them side by side.", required=True)
@options.force()
@options.device()
@click.pass_context
def sample(
    context: click.Context,
    model: str,
    count: int,
    respacing: str | None,
    steps: int | None,
    eta: float | None,
    class_: int | None,
    clip: bool,
    batch_size: int,
    columns: int,
    seed: int,
    out: Path,
    force: bool,
    device: str,
) -> None:
    """Draw images, step by step from noise.

    Image number i is the same however many are drawn, and whatever the batch size.
    """
    from nc_core.command_line.progress import progress
    from nc_core.errors import UsageError
    from nc_core.files import check_target
    from nc_core.images import Image, write_image
    from nc_core.models import find_model_file
    from nc_core.sheets import image_sheet
    from nc_core.training import Hardware
    from nc_core.training.devices import launched
    from nc_diffusion_bb.commands.options import chosen_spacing
    from nc_diffusion_bb.diffusion import GaussianDiffusion
    from nc_diffusion_bb.draws import draw_images
    from nc_diffusion_bb.release import float_model

    check_target(out, force=force)
    hardware = Hardware(device=device, devices=1)
    hardware.check()
    _, file = find_model_file(model, options.plugins_of(context))
    network, chain = float_model(file)
    classes = network.architecture.classes
    if class_ is not None and classes is None:
        raise UsageError(f"model '{file.name}' is not told classes", "leave out --class")
    if classes is not None and (class_ is None or class_ >= classes):
        raise UsageError(
            f"model '{file.name}' draws images of a class", f"--class 0 to {classes - 1}"
        )
    diffusion = GaussianDiffusion.of(chain, chosen_spacing(respacing, steps, chain.steps))
    with (
        launched(hardware, "32-true") as fabric,
        progress("drawing", count, "images") as advance,
    ):
        images = draw_images(
            network, diffusion, count, seed=seed, eta=eta, clip=clip, class_=class_,
            batch_size=batch_size, device=fabric.device, tell=advance,
        )  # fmt: skip
    write_image(out, Image(image_sheet(images, min(columns, count))), force=force)
    click.echo(str(out))

"""``nc run rd-bounds sample-images``: what a generator of images draws, as PNG files."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options

__all__ = ["sample_images"]


@click.command(
    "sample-images",
    epilog=options.examples(
        "nc run rd-bounds sample-images --generator my_gan:load -c jay -d 4 -o jays",
        "nc run rd-bounds sample-images --generator my_gan:load -c 253 -n 16 -o basenjis",
    ),
)
@click.option("--generator", required=True, metavar="MODULE:NAME",
              help="Function without arguments, in a module that can be imported, that returns "
                   "the generator.")  # fmt: skip
@click.option("-c", "--class", "class_", default="basenji", show_default=True, metavar="CLASS",
              help="basenji, beagle, jay, magpie, or the number of a class.")  # fmt: skip
@click.option("-d", "--dims", type=click.IntRange(min=1), default=2, show_default=True,
              metavar="N", help="Latent coordinates that are not 0.")  # fmt: skip
@click.option("-n", "--count", type=click.IntRange(min=1), default=8, show_default=True,
              metavar="N", help="Number of images.")  # fmt: skip
@click.option("--truncation", type=click.FloatRange(min=0, min_open=True, max=10), default=0.8,
              show_default=True, metavar="X", help="Factor of the latent coordinates.")  # fmt: skip
@options.out("DIR", "Folder of the images, made if need be.", required=True)
@options.seed()
@options.force()
@click.pass_context
def sample_images(
    context: click.Context,
    generator: str,
    class_: str,
    dims: int,
    count: int,
    truncation: float,
    out: Path,
    seed: int,
    force: bool,
) -> None:
    """Draw images of one class and write them as PNG files.

    They are the first rows of gan-images with the same options.
    """
    import numpy as np

    from nc_core.images import Image, write_image
    from nc_rd_bounds.sources.vectors import first, open_source

    source = open_source(
        f"gan-images?generator={generator}&class={class_}&d={dims}&truncation={truncation}",
        options.plugins_of(context),
        seed=seed,
    )
    images = np.rint(first(source, count) * 255).astype(np.uint8)
    width = len(str(count - 1))
    for index, image in enumerate(images):
        path = out / f"{class_}-d={dims}-{index:0{width}}.png"
        write_image(path, Image(np.ascontiguousarray(image)), force=force)
    click.echo(f"{count} images of class {class_} in {out}")

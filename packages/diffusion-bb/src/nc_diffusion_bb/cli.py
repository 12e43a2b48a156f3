"""``nc run diffusion-bb``: the commands of this paper, but for compress and decompress.

These two are ``nc compress`` and ``nc decompress``; the record of this group names the model that
compresses by default, and the options of its coding.
"""

from __future__ import annotations

import click

from nc_diffusion_bb.commands.demo import demo
from nc_diffusion_bb.commands.evaluate import evaluate
from nc_diffusion_bb.commands.export_checkpoint import export_checkpoint
from nc_diffusion_bb.commands.import_checkpoint import import_checkpoint
from nc_diffusion_bb.commands.original import original
from nc_diffusion_bb.commands.plot import plot
from nc_diffusion_bb.commands.prepare import prepare
from nc_diffusion_bb.commands.sample import sample
from nc_diffusion_bb.commands.train import train
from nc_diffusion_bb.commands.vlb import vlb

__all__ = ["diffusion_bb"]


@click.group("diffusion-bb", context_settings={"help_option_names": ["-h", "--help"]})
def diffusion_bb() -> None:
    """Lossless compression with diffusion models.

    A diffusion model is a chain of latents above the image. Bits-back coding reaches its
    variational bound; networks are lowered to integers, so a file decodes on every machine.
    """


for _command in (
    demo,
    evaluate,
    export_checkpoint,
    import_checkpoint,
    original,
    plot,
    prepare,
    sample,
    train,
    vlb,
):
    diffusion_bb.add_command(_command)

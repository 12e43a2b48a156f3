"""``nc run diffusion-bb export-checkpoint``: weights as the original implementation reads them."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options

__all__ = ["export_checkpoint"]


@click.command(
    "export-checkpoint",
    epilog=options.examples(
        "nc run diffusion-bb export-checkpoint runs/digits -o ema_0.9999_001500.pt"
    ),
)
@click.argument("model", metavar="MODEL")
@options.out("FILE", "File to write: .pt as torch.save makes it, or .safetensors.", required=True)
@options.force()
@click.pass_context
def export_checkpoint(context: click.Context, model: str, out: Path, force: bool) -> None:
    """Write a model's weights under the original's names, in float32.

    MODEL is a registered name, a model file or a run directory. The original's programs load the
    file as 'model_path'; what they must be told beside it is in the training recipe.
    """
    from nc_core.models import find_model_file
    from nc_diffusion_bb.importers import describe, export_weights
    from nc_diffusion_bb.release import float_model

    _, file = find_model_file(model, options.plugins_of(context))
    network, _ = float_model(file)
    export_weights(out, network, force=force)
    click.echo(f"{out}: {describe(network.architecture)}, {len(network.state_dict()):,} tensors")

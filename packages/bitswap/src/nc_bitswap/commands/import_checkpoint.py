"""``nc run bitswap import-checkpoint``: model files from weights that others trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nc_core.command_line import options
from nc_core.command_line.console import print_json
from nc_core.command_line.progress import reported_progress

__all__ = ["import_checkpoint"]


@click.command(
    "import-checkpoint",
    epilog=options.examples(
        "nc run bitswap import-checkpoint params/mnist/nz8 -o mnist-nz8.safetensors"
    ),
)
@click.argument("checkpoint", metavar="CHECKPOINT", type=click.Path(path_type=Path))
@options.out("FILE.safetensors", "Model file to write.", required=True)
@click.option("--dataset", metavar="NAME[:SPLIT]", show_default="by the kind of model",
              help="Training images: to calibrate on, and to derive bins from.")  # fmt: skip
@click.option("--bins", nargs=2, type=click.Path(path_type=Path),
              metavar="ENDPOINTS CENTRES", help="The original's two bin files.")  # fmt: skip
@click.option("--bits", type=click.IntRange(4, 12), show_default="10", metavar="N",
              help="log2 of the bins of a latent, where they are derived.")  # fmt: skip
@click.option("--padding", type=click.Choice(["zero", "edge"]), show_default="zero if grey",
              help="What surrounds smaller images; of colour models 'edge'.")  # fmt: skip
@options.seed()
@options.force()
@options.json_output()
@click.pass_context
def import_checkpoint(
    context: click.Context,
    checkpoint: Path,
    out: Path,
    dataset: str | None,
    bins: tuple[Path, Path] | None,
    bits: int | None,
    padding: Any,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Make a model file of a checkpoint of the original implementations.

    CHECKPOINT is a state_dict as Bit-Swap or BB-ANS saves it (of which only tensors are read), or
    the same tensors as .safetensors. What kind of model it is, of which width and depth, is read
    from their names and shapes. Without --dataset, grey models take mnist:train, colour models
    cifar10:train; name yours for others. Bins are those of --bins, or derived again.
    """
    from nc_bitswap import importers
    from nc_bitswap.bbans.importers import recognise
    from nc_bitswap.bbans.model import Vae
    from nc_core.datasets.opening import open_dataset
    from nc_core.errors import DataError, UsageError
    from nc_core.files import check_target
    from nc_core.importing import read_state_dict

    check_target(out, force=force)
    if bins and bits is not None:
        raise UsageError("the bins of --bins have a number of their own; leave out --bits")
    weights = read_state_dict(checkpoint)
    try:
        vae = recognise(weights)
    except DataError as error:
        raise DataError(f"{checkpoint}: {error.message}", error.hint) from error
    model = importers.model_of(weights, str(checkpoint)) if vae is None else vae
    kind = importers.describe(model.architecture)
    usual, usual_padding = importers.data_of(model.architecture)
    name = dataset or usual
    if name is None:
        raise UsageError(
            f"{checkpoint} is a model of {kind}: which images is it for?",
            "--dataset crops:/photos/train, or any other dataset of RGB images",
        )
    data = open_dataset(name, options.plugins_of(context))
    if isinstance(model, Vae):
        if bins or padding:
            raise UsageError(f"{checkpoint} is {kind}: it has neither bin files nor padding")
        file = importers.write_imported_vae(out, model, data, bits=bits, source=checkpoint.name)
    else:
        with reported_progress("drawing latents", "samples") as tell:
            file = importers.write_imported(
                out,
                model,
                data,
                bins=importers.import_bins(*bins, model.architecture) if bins else None,
                bits=bits or importers.BITS,
                padding=padding or usual_padding,
                seed=seed,
                source=checkpoint.name,
                progress=tell,
            )
    parameters = sum(weights.numel() for weights in model.parameters())
    if as_json:
        print_json({
            "file": str(out), "id": file.id, "family": file.family, "kind": kind,
            "parameters": parameters, "dataset": name, "bins": file.info["bins"],
        })  # fmt: skip
    else:
        click.echo(f"{out}: {kind}, {parameters:,} parameters, id {file.id[:12]}")

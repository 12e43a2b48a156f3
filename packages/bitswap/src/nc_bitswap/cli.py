"""``nc run bitswap``: the commands of this paper, but for compress and decompress.

These two are ``nc compress`` and ``nc decompress``; the record of this group names the model that
compresses by default.
"""

from __future__ import annotations

from pathlib import Path

import click

from nc_bitswap.commands.benchmark import benchmark
from nc_bitswap.commands.benchmark_images import benchmark_images
from nc_bitswap.commands.experiment import experiment
from nc_bitswap.commands.import_checkpoint import import_checkpoint
from nc_bitswap.commands.legacy import legacy
from nc_bitswap.commands.options import model_option
from nc_bitswap.commands.plot import plot
from nc_bitswap.commands.prepare import prepare
from nc_bitswap.console import described, print_measurements
from nc_core.command_line import options
from nc_core.command_line.console import print_json
from nc_core.command_line.progress import reported_progress

__all__ = ["bitswap"]


@click.group("bitswap", context_settings={"help_option_names": ["-h", "--help"]})
def bitswap() -> None:
    """Bit-Swap: lossless compression with hierarchical latent variables.

    A hierarchical VAE codes images with bits-back coding, at a rate close to its bound. Networks
    are lowered to integers, so a file decodes on every machine.
    """


@bitswap.command(
    epilog=options.examples("nc run bitswap train --recipe mnist-nz2-tiny --out runs/digits")
)
@options.recipe("mnist-nz2-tiny", "model.hidden=32")
@options.training_run(
    "Run directory: configuration, metrics, checkpoints and the model file.  [default: runs/RECIPE]"
)
@click.pass_context
def train(
    context: click.Context,
    recipe: str,
    settings: tuple[str, ...],
    out: Path | None,
    device: str,
    devices: int | None,
    threads: int | None,
    loggers: tuple[str, ...],
    resume: bool,
    force: bool,
) -> None:
    """Train a model: of the paper's family, that of photographs ('photo'), or a VAE of BB-ANS.

    The run directory holds a model file from the first evaluation on; give the directory to
    --model to compress with it.
    """
    from nc_bitswap.families import load_recipe, training_of
    from nc_core.runs import RunDirectory, is_main_process
    from nc_core.training import Hardware

    config = load_recipe(recipe, settings)
    run_training = training_of(config, options.plugins_of(context))
    path = out or Path("runs", Path(recipe).stem)
    with RunDirectory.create(
        path,
        config.to_json(),
        command="bitswap train",
        recipe=recipe,
        overrides=options.overrides_of(context),
        force=force,
        resume=resume,
        may_differ=("training.duration", "training.log_every", "training.keep_checkpoints"),
    ) as run:
        hardware = Hardware(device=device, devices=devices, threads=threads)
        with reported_progress("training", "steps") as tell:
            result = run_training(run, hardware=hardware, loggers=loggers, progress=tell)
    if not is_main_process():
        return
    bound = ""
    if result.best is not None:
        bound = f", best bound {result.best:.4f} bits per dimension"
    elif "elbo" in result.metrics:
        bound = f", bound {result.metrics['elbo']:.4f} bits per dimension"
    click.echo(f"{path}: {result.step} steps{bound}")


@bitswap.command(
    epilog=options.examples("nc run bitswap evaluate --dataset mnist:test --limit 1000")
)
@model_option("Model to evaluate")
@click.option("--dataset", default="mnist:test", show_default=True, metavar="NAME[:SPLIT]",
              help="Images to evaluate on.")  # fmt: skip
@options.limit()
@options.seed()
@options.json_output()
@click.pass_context
def evaluate(
    context: click.Context, model: str, dataset: str, limit: int | None, seed: int, as_json: bool
) -> None:
    """Bounds of a model on a dataset, in bits per dimension of its (padded) images.

    'elbo' and its terms are of the real-valued model, 'exact_elbo' is of the integer networks that
    files are coded with. 'mean_latent_loss', of the VAEs of BB-ANS, is what the original printed as
    test loss: the latent is the posterior's mean, so it is no bound. 'nc eval rate' measures files.
    """
    from nc_bitswap.families import bounds_of
    from nc_core.datasets.opening import open_dataset
    from nc_core.models import find_model_file

    plugins = options.plugins_of(context)
    _, file = find_model_file(model, plugins)
    measured = bounds_of(file, open_dataset(dataset, plugins), limit, seed)
    print_measurements(measured, as_json)


@bitswap.command(epilog=options.examples("nc run bitswap demo"))
@model_option("Model to show")
@click.option("--dataset", metavar="NAME[:SPLIT]", show_default="images drawn from the model",
              help="Images to code.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
              help="How many images.")  # fmt: skip
@options.seed()
@options.json_output()
@click.pass_context
def demo(
    context: click.Context,
    model: str,
    dataset: str | None,
    limit: int,
    seed: int,
    as_json: bool,
) -> None:
    """Code some images in both orders, decode them, and compare what that took."""
    from nc_bitswap.demo import run_demo
    from nc_core.datasets.opening import open_dataset
    from nc_core.models import find_model_file

    plugins = options.plugins_of(context)
    _, file = find_model_file(model, plugins)
    data = None if dataset is None else open_dataset(dataset, plugins)
    rates = run_demo(file, data, limit, seed)
    if as_json:
        print_json([rate.to_json() | {"order": order} for order, rate in rates.items()])
        return
    for order, rate in rates.items():
        click.echo(described(order, rate))


bitswap.add_command(benchmark_images)
bitswap.add_command(import_checkpoint)
bitswap.add_command(legacy)
bitswap.add_command(prepare)
bitswap.add_command(experiment)
bitswap.add_command(plot)
bitswap.add_command(benchmark)

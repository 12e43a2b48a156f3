"""``nc run diffusion-bb train``: train a diffusion model."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options

__all__ = ["train"]

_MAY_DIFFER = ("training.duration", "training.log_every", "training.keep_checkpoints")


@click.command(
    epilog=options.examples(
        "nc run diffusion-bb train --recipe tiny --out runs/tiny",
        "nc run diffusion-bb train --recipe mnist16-hybrid --set optimizer.sampler=uniform",
        "torchrun --nproc-per-node 8 -m nc_cli run diffusion-bb train --recipe cifar10-vlb "
        "--resume",
    )
)
@options.recipe("tiny", "optimizer.learning_rate=1e-3")
@click.option(
    "--initial", metavar="NAME", show_default="random weights",
    help="Start from the weights of this model: a model file, a run directory or a registered "
    "name. A run that is resumed need not be told again.",
)  # fmt: skip
@options.training_run(
    "Run directory: configuration, metrics, checkpoints and the model file.  [default: runs/RECIPE]"
)
@options.json_output()
@click.pass_context
def train(
    context: click.Context,
    recipe: str,
    settings: tuple[str, ...],
    initial: str | None,
    out: Path | None,
    device: str,
    devices: int | None,
    threads: int | None,
    loggers: tuple[str, ...],
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train a diffusion model.

    Evaluations during training report 'vlb', the bound in bits per dimension of the first test
    images. The run directory holds the model file of the best one so far, with averaged weights;
    give the directory to --model to compress with it. With several optimizer.ema_rates it has the
    averages of the first, and model-RATE.safetensors beside it those of each other. A run that was
    stopped goes on with --resume as if it had not been; --initial starts another one.
    """
    from nc_core.command_line.console import print_json
    from nc_core.command_line.progress import reported_progress
    from nc_core.config import load_config
    from nc_core.rates import Measurement
    from nc_core.runs import RunDirectory, is_main_process
    from nc_core.training import Hardware
    from nc_diffusion_bb.config import TrainConfig
    from nc_diffusion_bb.data import open_images
    from nc_diffusion_bb.initial_weights import start_of
    from nc_diffusion_bb.train import check
    from nc_diffusion_bb.train import train as run_training

    config = load_config(TrainConfig, recipe, package="nc_diffusion_bb", settings=settings)
    if initial is not None:
        config = config.model_copy(update={"initial": initial})
    check(config)
    plugins = options.plugins_of(context)
    path = out or Path("runs", Path(recipe).stem)
    start = start_of(config, path, plugins, resume=resume)
    train_images = open_images(config.data.train, config.model, plugins)
    test_images = open_images(config.data.test, config.model, plugins)
    hardware = Hardware(device=device, devices=devices, threads=threads)
    hardware.check()
    with (
        RunDirectory.create(
            path,
            start.config.to_json() | {"initial_id": start.model_id},
            command="diffusion-bb train",
            recipe=recipe,
            overrides=options.overrides_of(context),
            force=force,
            resume=resume,
            may_differ=_MAY_DIFFER,
        ) as run,
        reported_progress("training", "steps") as tell,
    ):
        result = run_training(
            start.config,
            run,
            train_images,
            test_images,
            initial=start.network,
            hardware=hardware,
            loggers=loggers,
            progress=tell,
        )
    if not is_main_process():
        return
    if as_json:
        found = {} if result.best is None else {"vlb": result.best}
        records = [Measurement(name=n, value=v, unit="bit/dim") for n, v in found.items()]
        print_json([record.to_json() for record in records])
        return
    best = "" if result.best is None else f", best bound {result.best:.4f} bits per dimension"
    click.echo(f"{path}: {result.step:,} steps{best}")

"""``nc run rd-bounds train-lower``: train a network whose maximum is a lower bound."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options
from nc_rd_bounds.commands.bound_options import bound_options, chosen_settings
from nc_rd_bounds.commands.slopes import Slope

__all__ = ["train_lower"]

_MAY_DIFFER = (
    "training.log_every", "training.keep_checkpoints", "training.checkpoint_every", "evaluation"
)  # fmt: skip


@click.command(
    "train-lower",
    epilog=options.examples(
        "nc run rd-bounds train-lower --recipe lower-banana-small --lamb 3 --out runs/lower-3",
        "nc run rd-bounds train-lower --recipe lower-vectors-small --dataset npy:x.npy --lamb 30",
        "nc run rd-bounds train-lower --lamb 10 --initial runs/lower-3 --evaluate",
    ),
)
@options.recipe("lower-banana-small", "network.units=[100,100]")
@click.option(
    "--lamb", type=Slope(), metavar="LAMBDA",
    show_default="the recipe's",
    help="Slope of the line, in nats per vector and unit of mean squared error.",
)  # fmt: skip
@bound_options("evaluate-lower")
@click.option(
    "--initial", type=options.FilePath(), metavar="PATH",
    help="Start from the weights of this run directory or model file.",
)  # fmt: skip
@options.training_run("Run directory.  [default: runs/RECIPE-lamb=LAMBDA]")
@options.json_output()
@click.pass_context
def train_lower(
    context: click.Context,
    recipe: str,
    settings: tuple[str, ...],
    lamb: float | None,
    dataset: str | None,
    evaluate_on: str | None,
    seed: int | None,
    initial: Path | None,
    evaluate: bool,
    out: Path | None,
    device: str,
    devices: int | None,
    threads: int | None,
    loggers: tuple[str, ...],
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train the network of a lower bound on the rate-distortion function.

    One run is for one lambda, or for a growing one where the recipe has 'anneal'. What training
    reports is an estimate from few samples; 'evaluate-lower' measures the bound.
    """
    from nc_core.command_line.console import note
    from nc_core.command_line.progress import reported_progress
    from nc_core.config import load_config
    from nc_core.rates import Measurement
    from nc_core.runs import RunDirectory, is_main_process
    from nc_core.training import Hardware
    from nc_rd_bounds.commands.evaluate_lower import measure
    from nc_rd_bounds.lower.config import LowerConfig
    from nc_rd_bounds.lower.results import Request
    from nc_rd_bounds.lower.train import check, fitted, latest_estimate, train
    from nc_rd_bounds.run_data import training_sources

    given = chosen_settings(
        dataset, evaluate_on, seed, lamb=lamb, initial=None if initial is None else str(initial)
    )
    config = load_config(LowerConfig, recipe, package="nc_rd_bounds", settings=[*given, *settings])
    plugins = options.plugins_of(context)
    source, _ = training_sources(config, plugins)
    asked, config = config.training.batch_size, fitted(config, source)
    if config.training.batch_size != asked:
        note(
            f"{source.name}: {source.length:,} samples are fewer than {config.minibatches} "
            f"minibatches of {asked:,}; training with k = {config.training.batch_size:,}"
        )
    hardware = Hardware(device=device, devices=devices, threads=threads)
    check(config, source, hardware)
    slope = f"-lamb={config.lamb:g}" if config.anneal is None else ""
    path = out or Path("runs", f"{Path(recipe).stem}{slope}")
    with RunDirectory.create(
        path,
        config.to_json(),
        command="rd-bounds train-lower",
        recipe=recipe,
        overrides=options.overrides_of(context),
        force=force,
        resume=resume,
        may_differ=_MAY_DIFFER,
    ) as run:
        with reported_progress("training", "steps") as tell:
            result = train(config, run, source, hardware=hardware, loggers=loggers, progress=tell)
        estimate = latest_estimate(run)
    if not is_main_process():
        return
    if evaluate:
        # Of a sampler without end, other samples than those of training.
        request = Request(
            seeds=(config.training.seed + 1,),
            temper=config.evaluation.temper,
            threads=threads,
        )
        measure([path], request, plugins, as_json=as_json)
    elif as_json:
        from nc_core.command_line.console import print_json

        found = Measurement(name="training_intercept", value=estimate, unit="nats", n=result.step)
        print_json([found.to_json()])
    else:
        click.echo(f"{path}: {result.step:,} steps, bound in training about {estimate:.5g} nats")

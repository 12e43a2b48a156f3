"""``nc run rd-bounds train-upper``: train a model whose rate and distortion are an upper bound."""

from __future__ import annotations

from pathlib import Path

import click

from nc_core.command_line import options
from nc_rd_bounds.commands.bound_options import bound_options, chosen_settings
from nc_rd_bounds.commands.slopes import Slope

__all__ = ["train_upper"]

_MAY_DIFFER = ("training.log_every", "training.keep_checkpoints")


@click.command(
    "train-upper",
    epilog=options.examples(
        "nc run rd-bounds train-upper --recipe upper-banana-small --lamb 3 --out runs/banana-3",
        "nc run rd-bounds train-upper --recipe upper-banana-ntc-small --lamb 10",
        "nc run rd-bounds train-upper --recipe upper-banana-small --dataset npy:x.npy --lamb 30",
    ),
)
@options.recipe("upper-banana-small", "model.prior=gmm_3")
@click.option(
    "--lamb", type=Slope(zero=True), metavar="LAMBDA", show_default="the recipe's",
    help="Weight of the mean squared error in 'rate + LAMBDA * error': nats (or the recipe's unit) "
    "per unit of error.",
)  # fmt: skip
@bound_options("evaluate-upper")
@options.training_run("Run directory.  [default: runs/RECIPE-lamb=LAMBDA]")
@options.json_output()
@click.pass_context
def train_upper(
    context: click.Context,
    recipe: str,
    settings: tuple[str, ...],
    lamb: float | None,
    dataset: str | None,
    evaluate_on: str | None,
    seed: int | None,
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
    """Train a beta-VAE of vectors, or nonlinear transform coding, for one lambda.

    Its rate and mean squared error are a point on or above the rate-distortion function of the
    source. The run directory holds a model file from the first evaluation on, and records of
    loss, rate and mse; 'evaluate-upper' makes a point of it, with standard errors.
    """
    from nc_core.command_line.console import print_json
    from nc_core.command_line.progress import cumulative, progress
    from nc_core.config import load_config
    from nc_core.rates import Measurement
    from nc_core.runs import RunDirectory, is_main_process
    from nc_core.training import Hardware
    from nc_rd_bounds.commands.evaluate_upper import measure
    from nc_rd_bounds.run_data import training_sources
    from nc_rd_bounds.upper.config import UpperConfig
    from nc_rd_bounds.upper.train import last_step, train

    given = chosen_settings(dataset, evaluate_on, seed, lamb=lamb)
    config = load_config(UpperConfig, recipe, package="nc_rd_bounds", settings=[*given, *settings])
    plugins = options.plugins_of(context)
    training, evaluation = training_sources(config, plugins)
    config.model.resolved(training.dims, training.name)
    steps = last_step(config, training)
    hardware = Hardware(device=device, devices=devices, threads=threads)
    hardware.check()
    path = out or Path("runs", f"{Path(recipe).stem}-lamb={config.lamb:g}")
    with (
        RunDirectory.create(
            path,
            config.to_json(),
            command="rd-bounds train-upper",
            recipe=recipe,
            overrides=options.overrides_of(context),
            force=force,
            resume=resume,
            may_differ=_MAY_DIFFER,
        ) as run,
        progress("training", steps, "steps") as advance,
    ):
        result = train(
            config,
            run,
            training,
            evaluation,
            hardware=hardware,
            loggers=loggers,
            progress=cumulative(advance),
        )
    if not is_main_process():
        return
    if evaluate:
        # Of a sampler without end, other samples than those of validation.
        measure(path, plugins, seed=config.training.seed + 1, as_json=as_json)
        return
    found = {name: result.metrics[name] for name in ("rate", "mse", "loss") if result.metrics}
    unit = f"{config.unit}{' per dimension' if config.per_dimension else ''}"
    if as_json:
        units = {"rate": unit, "mse": "mse", "loss": unit}
        records = [Measurement(name=name, value=found[name], unit=units[name]) for name in found]
        print_json([record.to_json() for record in records])
        return
    reached = ", ".join(f"{name} {value:.6g}" for name, value in found.items())
    click.echo(
        f"{path}: {result.step:,} steps" + (f", {reached} ({unit}, validation)" if found else "")
    )

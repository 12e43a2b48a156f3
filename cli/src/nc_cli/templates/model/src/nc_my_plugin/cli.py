"""``nc run my-plugin``: the commands of this package.

``nc compress``, ``nc eval`` and ``nc compare`` take any model that a run directory holds, so
there is no need for commands of our own. Help imports nothing heavy: imports are in functions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = ["command"]


def _example(line: str) -> str:
    return f"\b\nExample:\n  {line}"


@click.group("my-plugin", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Lossless images by a histogram for every position."""


@command.command(epilog=_example("nc run my-plugin train --out runs/digits"))
@click.option(
    "--recipe",
    metavar="NAME",
    default="mnist",
    show_default=True,
    help="Recipe of this package, or the path of a YAML file.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a setting of the recipe, such as limit=1000; may be repeated.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    show_default="runs/RECIPE",
    help="Run directory: configuration, metrics, model.",
)
@click.option("--resume", is_flag=True, help="Finish a run that was interrupted.")
@click.option("--force", is_flag=True, help="Replace a run that is there.")
@click.pass_context
def train(
    context: click.Context,
    recipe: str,
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    force: bool,
) -> None:
    """Train a model.

    Give the run directory to --model to compress with it.
    """
    from nc_core.config import load_config
    from nc_core.datasets.opening import open_dataset
    from nc_core.runs import RunDirectory
    from nc_my_plugin.config import MyPluginConfig
    from nc_my_plugin.train import train as run_training

    config = load_config(MyPluginConfig, recipe, package="nc_my_plugin", settings=settings)
    dataset = open_dataset(config.data, _plugins(context))
    path = out or Path("runs", Path(recipe).stem)
    with RunDirectory.create(
        path,
        config.to_json(),
        command="my-plugin train",
        recipe=recipe,
        force=force,
        resume=resume,
    ) as run:
        run_training(config, run, dataset)
        bits = run.metrics()[-1]["train_bits_per_dim"]
    click.echo(f"{path}: {bits:.4f} bits per dimension of the training data")


@command.command(epilog=_example("nc run my-plugin evaluate --model runs/digits"))
@click.option("--model", required=True, metavar="PATH", help="Model file or run directory.")
@click.option(
    "--dataset",
    default="mnist:test",
    show_default=True,
    metavar="NAME[:SPLIT]",
    help="Images to evaluate on.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N images."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def evaluate(
    context: click.Context, model: str, dataset: str, limit: int | None, as_json: bool
) -> None:
    """Measure the model's own code length on a dataset.

    'nc eval rate' measures files.
    """
    from nc_core.datasets.opening import open_dataset
    from nc_core.models import load_model
    from nc_my_plugin.evaluate import code_length

    plugins = _plugins(context)
    measured = code_length(load_model(model, plugins), open_dataset(dataset, plugins), limit)
    if as_json:
        click.echo(json.dumps([measured.to_json()], indent=2))
    else:
        click.echo(f"{measured.name} {measured.value:.4f} {measured.unit} (n = {measured.n})")


def _plugins(context: click.Context) -> PluginManager:
    """The application's plugin manager, or one of what is installed."""
    from nc_core.models import installed

    manager: PluginManager | None = getattr(context.obj, "plugins", None)
    return installed() if manager is None else manager

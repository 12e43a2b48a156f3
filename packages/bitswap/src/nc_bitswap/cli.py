"""``nc run bitswap``: the commands of this paper, but for compress and decompress.

These two are ``nc compress`` and ``nc decompress``; the record of this group names the model that
compresses by default.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nc_bitswap.console import described, print_json, print_measurements, progress

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = ["bitswap"]

DIGIT_MODEL = "bitswap-mnist"
_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group("bitswap", context_settings={"help_option_names": ["-h", "--help"]})
def bitswap() -> None:
    """Bit-Swap: lossless compression with hierarchical latent variables.

    A hierarchical VAE codes images with bits-back coding, at a rate close to its bound. Networks
    are lowered to integers, so a file decodes on every machine.
    """


def _example(line: str) -> str:
    return f"\b\nExample:\n  {line}"


def _model_option(help_text: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--model",
        default=DIGIT_MODEL,
        show_default=True,
        metavar="NAME",
        help=f"{help_text}: a registered name, a model file or a run directory.",
    )


_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)
_force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
_seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Seed of every random choice.",
)  # fmt: skip
_limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N images."
)
_recipe_options = (
    click.option(
        "--recipe", metavar="NAME", default="mnist-nz2-tiny", show_default=True,
        help="Recipe of this package ('nc list recipes'), or the path of a YAML file.",
    ),
    click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE",
        help="Change a setting of the recipe, such as model.hidden=32; may be repeated.",
    ),
)  # fmt: skip


def _recipes(command: _Command) -> _Command:
    for option in reversed(_recipe_options):
        command = option(command)
    return command


@bitswap.command(epilog=_example("nc run bitswap train --recipe mnist-nz2-tiny --out runs/digits"))
@_recipes
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="DIR", show_default="runs/RECIPE",
    help="Run directory: configuration, metrics, checkpoints and the model file.",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, metavar="KIND",
              help="cpu, cuda, mps or auto.")  # fmt: skip
@click.option("--devices", type=click.IntRange(min=1), metavar="N",
              help="Processes on this machine, one per device.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), metavar="N", show_default="torch's own",
              help="Threads of torch on the CPU.")  # fmt: skip
@click.option("--logger", "loggers", multiple=True,
              type=click.Choice(["tensorboard", "wandb"]),
              help="Report to this one as well; may be repeated.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the run that is in the directory.")
@_force_option
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
    """Train a model: of the paper's family, or with the recipe 'photo' that of photographs.

    The run directory holds a model file from the first evaluation on; give the directory to
    --model to compress with it.
    """
    from nc_bitswap.families import load_recipe, training_of
    from nc_core.runs import RunDirectory
    from nc_core.training import Hardware

    config = load_recipe(recipe, settings)
    run_training = training_of(config, _plugins(context))
    path = out or Path("runs", Path(recipe).stem)
    with RunDirectory.create(
        path,
        config.to_json(),
        command="bitswap train",
        recipe=recipe,
        force=force,
        resume=resume,
        may_differ=("training.duration", "training.log_every", "training.keep_checkpoints"),
    ) as run:
        hardware = Hardware(device=device, devices=devices, threads=threads)
        with progress("training", "steps") as tell:
            result = run_training(run, hardware=hardware, loggers=loggers, progress=tell)
    best = "" if result.best is None else f", best bound {result.best:.4f} bits per dimension"
    click.echo(f"{path}: {result.step} steps{best}")


@bitswap.command(epilog=_example("nc run bitswap evaluate --dataset mnist:test --limit 1000"))
@_model_option("Model to evaluate")
@click.option("--dataset", default="mnist:test", show_default=True, metavar="NAME[:SPLIT]",
              help="Images to evaluate on.")  # fmt: skip
@_limit_option
@_seed_option
@_json_option
@click.pass_context
def evaluate(
    context: click.Context, model: str, dataset: str, limit: int | None, seed: int, as_json: bool
) -> None:
    """Bounds of a model on a dataset, in bits per dimension of its (padded) images.

    'elbo' and its terms are of the real-valued model, 'exact_elbo' is of the integer networks that
    files are coded with. 'nc eval rate' measures files.
    """
    from nc_bitswap.data import ModelImages
    from nc_bitswap.evaluate import evaluate_bounds
    from nc_bitswap.release import float_model, load
    from nc_core.datasets.opening import open_dataset
    from nc_core.models import find_model_file

    plugins = _plugins(context)
    _, file = find_model_file(model, plugins)
    codec = _bitswap_codec(load(file))
    networks = float_model(file) if file.extras() else None
    images = ModelImages(open_dataset(dataset, plugins), codec.image_shape, codec.padding)
    count = len(images) if limit is None else min(limit, len(images))
    measured = evaluate_bounds(networks, codec, images.first(count), seed=seed)
    print_measurements(measured, as_json)


@bitswap.command(epilog=_example("nc run bitswap plot runs/digits -o terms.svg"))
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True,
              metavar="FILE.svg|png", help="Figure to write; its data go beside it.")  # fmt: skip
def plot(run: Path, out: Path) -> None:
    """Stacked terms of the bound over a training run."""
    from nc_bitswap.plots import plot_terms
    from nc_core.runs import RunDirectory

    plot_terms(RunDirectory.open(run).metrics(), out)
    click.echo(str(out))


@bitswap.command(
    "import-checkpoint",
    epilog=_example("nc run bitswap import-checkpoint params/mnist/nz8 -o mnist-nz8.safetensors"),
)
@click.argument("checkpoint", metavar="CHECKPOINT", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True,
              metavar="FILE.safetensors", help="Model file to write.")  # fmt: skip
@click.option("--dataset", default="mnist:train", show_default=True, metavar="NAME[:SPLIT]",
              help="Images to calibrate on, and to derive bins from.")  # fmt: skip
@click.option("--bins", nargs=2, type=click.Path(path_type=Path, exists=True),
              metavar="ENDPOINTS CENTRES", help="The original's two bin files.")  # fmt: skip
@click.option("--bits", type=click.IntRange(4, 12), default=10, show_default=True, metavar="N",
              help="log2 of the bins of a latent, where they are derived.")  # fmt: skip
@click.option("--padding", type=click.Choice(["zero", "edge"]), default="zero", show_default=True,
              help="What surrounds images that are smaller than the model's.")  # fmt: skip
@_seed_option
@_force_option
@click.pass_context
def import_checkpoint(
    context: click.Context,
    checkpoint: Path,
    out: Path,
    dataset: str,
    bins: tuple[Path, Path] | None,
    bits: int,
    padding: Any,
    seed: int,
    force: bool,
) -> None:
    """Make a model file of a checkpoint of the original implementation."""
    import torch

    from nc_bitswap.data import ModelImages
    from nc_bitswap.discretization import find_bins
    from nc_bitswap.importers import import_bins
    from nc_bitswap.importers import import_checkpoint as read
    from nc_bitswap.release import write_model
    from nc_core.datasets.opening import open_dataset
    from nc_core.errors import DataError

    if out.exists() and not force:
        raise DataError(f"{out}: file exists", "use --force to replace it")
    model = read(checkpoint)
    images = ModelImages(
        open_dataset(dataset, _plugins(context)), model.architecture.image_shape, padding
    )
    if bins:
        latent_bins = import_bins(*bins)
    else:
        generator = torch.Generator().manual_seed(seed)
        with progress("drawing latents", "samples") as tell:
            latent_bins = find_bins(
                model, images.first(30 << bits), bits,
                generator=generator, progress=tell,
            )  # fmt: skip
    file = write_model(
        out, model, latent_bins, images.first(64), padding=padding,
        info={"imported": checkpoint.name, "data": dataset},
    )  # fmt: skip
    click.echo(f"{out}: {model.architecture.levels} levels, id {file.id[:12]}")


@bitswap.command(epilog=_example("nc run bitswap demo"))
@_model_option("Model to show")
@click.option("--dataset", metavar="NAME[:SPLIT]", show_default="images drawn from the model",
              help="Images to code.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
              help="How many images.")  # fmt: skip
@_seed_option
@_json_option
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

    plugins = _plugins(context)
    _, file = find_model_file(model, plugins)
    data = None if dataset is None else open_dataset(dataset, plugins)
    rates = run_demo(file, data, limit, seed)
    if as_json:
        print_json([rate.to_json() | {"order": order} for order, rate in rates.items()])
        return
    for order, rate in rates.items():
        click.echo(described(order, rate))


def _plugins(context: click.Context) -> PluginManager:
    """The application's plugin manager, or one of what is installed."""
    from nc_core.models import installed

    manager: PluginManager | None = getattr(context.obj, "plugins", None)
    return installed() if manager is None else manager


def _bitswap_codec(model: Any) -> Any:
    from nc_bitswap.codec import BitswapCodec
    from nc_core.errors import UsageError

    if not isinstance(model, BitswapCodec):
        raise UsageError(
            f"model '{model.name}' is no Bit-Swap model",
            "'nc eval rate' measures models of any kind",
        )
    return model

"""``nc run bitswap``: the commands of this paper."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nc_bitswap.console import described, print_json, print_measurements, progress

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = ["bitswap"]

PHOTO_MODEL = "bitswap-photo"
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


def _model_option(help_text: str, default: str = DIGIT_MODEL) -> Callable[[_Command], _Command]:
    return click.option(
        "--model",
        default=default,
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
_threads_option = click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="Number of workers; it cannot change the result.",
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
    """Train a model.

    The run directory holds a model file from the first evaluation on; give the directory to
    --model to compress with it.
    """
    from nc_bitswap.config import BitswapConfig
    from nc_bitswap.data import ModelImages
    from nc_bitswap.train import train as run_training
    from nc_core.config import load_config
    from nc_core.datasets.opening import open_dataset
    from nc_core.runs import RunDirectory
    from nc_core.training import Hardware

    config = load_config(BitswapConfig, recipe, package="nc_bitswap", settings=settings)
    shape = (config.model.channels, config.model.height, config.model.width)
    images = [
        ModelImages(open_dataset(name, _plugins(context)), shape, config.model.padding)
        for name in (config.data.train, config.data.test)
    ]
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
            result = run_training(
                config, run, *images, hardware=hardware, loggers=loggers, progress=tell
            )
    best = "" if result.best is None else f", best bound {result.best:.4f} bits per dimension"
    click.echo(f"{path}: {result.step} steps{best}")


@bitswap.command(epilog=_example("nc run bitswap compress photo.png"))
@click.argument("inputs", metavar="[INPUT]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME[:SPLIT]", help="Compress a dataset instead of files.")
@_limit_option
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE.ncz",
              help="File to write; INPUT.ncz by default.")  # fmt: skip
@_model_option("Model to compress with", PHOTO_MODEL)
@click.option("--coder", default="rans", show_default=True, metavar="NAME",
              help="Entropy coder; 'nc list coders' shows them.")  # fmt: skip
@click.option("--order", type=click.Choice(["bit-swap", "bb-ans"]), show_default="the model's own",
              help="Order of the steps of bits-back coding; bb-ans borrows more.")  # fmt: skip
@click.option("--verify/--no-verify", default=True, show_default=True,
              help="Decode the result and compare it before reporting success.")  # fmt: skip
@_threads_option
@click.option("--resume", is_flag=True, help="Go on with what an interrupted run left.")
@_force_option
@_json_option
@click.pass_context
def compress(
    context: click.Context,
    inputs: tuple[Path, ...],
    dataset: str | None,
    limit: int | None,
    out: Path | None,
    model: str,
    coder: str,
    order: str | None,
    verify: bool,
    threads: int,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Compress images or a dataset losslessly, as 'nc compress' does with a Bit-Swap model."""
    from nc_core.errors import UsageError
    from nc_core.lossless import compress_source
    from nc_core.models import load_coder, load_model

    plugins = _plugins(context)
    source = _source(inputs, dataset, limit, plugins)
    if out is None:
        if len(inputs) != 1:
            raise UsageError("say where to write", "-o FILE.ncz")
        out = inputs[0].with_name(f"{inputs[0].name}.ncz")
    chosen = load_model(model, plugins, keep=True)
    if order is not None:
        chosen = _bitswap_codec(chosen).with_order(order)
    with progress("compressing", "samples") as tell:
        rate = compress_source(
            source, out, chosen, load_coder(coder, plugins),
            threads=threads, verify=verify, force=force, resume=resume, progress=tell,
        )  # fmt: skip
    if as_json:
        print_json(
            rate.to_json() | {"file": str(out), "model": model, "coder": coder, "order": order}
        )
        return
    click.echo(described(str(out), rate))


@bitswap.command(epilog=_example("nc run bitswap decompress digits.ncz -o restored"))
@click.argument("file", metavar="FILE.ncz", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR",
              show_default="the folder of the file", help="Folder to write to.")  # fmt: skip
@click.option("--model", metavar="NAME", show_default="the one that the file names by its id",
              help="Model to decode with.")  # fmt: skip
@_threads_option
@_force_option
@_json_option
@click.pass_context
def decompress(
    context: click.Context,
    file: Path,
    out: Path | None,
    model: str | None,
    threads: int,
    force: bool,
    as_json: bool,
) -> None:
    """Restore what a compressed file holds, checked to the last bit; as 'nc decompress'."""
    from nc_core.front_door import decompress as restore

    start = time.perf_counter()
    with progress("decompressing", "samples") as tell:
        paths = restore(
            file, out or file.parent, model=model, threads=threads, force=force,
            progress=tell, plugins=_plugins(context),
        )  # fmt: skip
    names = [str(path) for path in paths]
    if as_json:
        seconds = time.perf_counter() - start
        print_json({"schema": "nc.decompress/1", "files": names, "decode_seconds": seconds,
                     "verified": True})  # fmt: skip
        return
    for name in names:
        click.echo(name)


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


def _source(
    inputs: Sequence[Path], dataset: str | None, limit: int | None, plugins: PluginManager
) -> Any:
    from nc_core.datasets.opening import open_dataset
    from nc_core.errors import UsageError
    from nc_core.sources import DatasetSource, FileSource, expand_inputs

    if bool(inputs) == (dataset is not None):
        raise UsageError("give files, or --dataset NAME, and not both")
    if dataset is not None:
        return DatasetSource(open_dataset(dataset, plugins), limit)
    if limit is not None:
        raise UsageError("--limit needs --dataset")
    return FileSource(expand_inputs(list(inputs)))


def _bitswap_codec(model: Any) -> Any:
    from nc_bitswap.codec import BitswapCodec
    from nc_core.errors import UsageError

    if not isinstance(model, BitswapCodec):
        raise UsageError(
            f"model '{model.name}' is no Bit-Swap model", "nc compress takes models of any kind"
        )
    return model

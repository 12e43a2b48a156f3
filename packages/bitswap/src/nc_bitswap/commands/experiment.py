"""``nc run bitswap experiment``: the paper's experiments with a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_bitswap.commands.options import model_option
from nc_bitswap.console import TITLES
from nc_core.command_line import options
from nc_core.command_line.console import print_json
from nc_core.command_line.progress import reported_progress

if TYPE_CHECKING:
    from nc_bitswap.experiment import Experiments
    from nc_core.runs import RunDirectory

__all__ = ["experiment"]

_ROWS = {
    "net": "net rate",
    "elbo": "ELBO",
    "gap_net_minus_elbo": "net rate - ELBO",
    "cma1": "cma after 1 image",
    "cma50": "cma after 50 images",
    "cma100": "cma after 100 images",
}


@click.command(
    epilog=options.examples(
        "nc run bitswap experiment --model runs/digits --experiments 10 --out runs/ten"
    )
)
@model_option("Model to code with")
@click.option("--dataset", default="mnist:test", show_default=True, metavar="NAME[:SPLIT]",
              help="Images to code.")  # fmt: skip
@click.option("--order", "orders", multiple=True, type=click.Choice(list(TITLES)),
              show_default="both", help="Order of coding; may be repeated.")  # fmt: skip
@click.option("--bits", "all_bits", multiple=True, type=click.IntRange(4, 12), metavar="N",
              show_default="those of the model",
              help="log2 of the bins of a latent, over the range of the model's own bins; "
                   "may be repeated.")  # fmt: skip
@click.option("--experiments", type=click.IntRange(min=1), default=100, show_default=True,
              metavar="N", help="Number of experiments, each on a message of its own.")  # fmt: skip
@click.option("--images", type=click.IntRange(min=1), default=100, show_default=True,
              metavar="N", help="Images of each experiment, one after the other.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=100, show_default=True,
              metavar="N",
              help="Seed of the choice of images, of initial words and of ELBOs.")  # fmt: skip
@click.option("--decode", is_flag=True,
              help="Decode everything as well, down to the initial words.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR",
              default=Path("runs", "experiment"), show_default=True,
              help="Run directory: arrays, messages and the summary.")  # fmt: skip
@click.option("--resume", is_flag=True,
              help="Go on with a run, perhaps with more experiments, another order or other bits; "
                   "what it holds is kept.")  # fmt: skip
@options.force()
@options.json_output()
@click.pass_context
def experiment(
    context: click.Context,
    model: str,
    dataset: str,
    orders: tuple[str, ...],
    all_bits: tuple[int, ...],
    experiments: int,
    images: int,
    seed: int,
    decode: bool,
    out: Path,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """The paper's experiments: chains of images, coded one after the other.

    Prints the mean net rate, the ELBO and the cumulative average after 1, 50 and 100 images, in
    bits per dimension of the padded image and, where images are padded, of their own pixels.
    Results are kept a few experiments at a time, in arrays with the original's names.
    """
    from nc_bitswap.experiment import own_dims, plan_experiments
    from nc_core.datasets.opening import open_dataset
    from nc_core.models import find_model_file
    from nc_core.runs import RunDirectory

    plugins = options.plugins_of(context)
    _, file = find_model_file(model, plugins)
    data = open_dataset(dataset, plugins)
    plan = plan_experiments(file, data, experiments, images, seed, decode=decode)
    shape = plan.codec.networks.architecture
    config = {
        "model": file.name, "model_id": file.id, "levels": shape.levels, "dataset": dataset,
        "orders": tuple(dict.fromkeys(orders)) or tuple(TITLES),
        "bits": tuple(dict.fromkeys(all_bits)) or (plan.codec.bins.bits,),
        "experiments": experiments, "images": images, "seed": seed, "decode": decode,
        "padded_dims": shape.dims, "dims": own_dims(data, shape.image_shape),
    }  # fmt: skip
    with RunDirectory.create(
        out,
        config,
        command="bitswap experiment",
        force=force,
        resume=resume,
        may_differ=("model", "orders", "bits", "experiments"),
    ) as run:
        records = _run(plan, run)
    if as_json:
        print_json(records)
    else:
        _print(records)


def _run(plan: Experiments, run: RunDirectory) -> list[dict[str, Any]]:
    """Run everything; returns the summary, which is also kept."""
    from nc_bitswap.experiment import run_experiments
    from nc_bitswap.experiment_results import Results, keep_summary
    from nc_core.errors import InterruptedWorkError

    for order in run.config["orders"]:
        for bits in run.config["bits"]:
            results = Results(run, order, bits, plan.indices.shape)
            title = f"{TITLES[order]}, {bits} bits"
            try:
                with reported_progress(title, "images") as tell:
                    run_experiments(plan, order, bits, results, tell)
            except KeyboardInterrupt as error:
                left = len(results.unfinished)
                raise InterruptedWorkError(
                    f"interrupted; of {title}, {len(plan.indices) - left} of {len(plan.indices)} "
                    f"experiments are kept in {run.path}",
                    "run the same command with --resume to go on",
                ) from error
    return keep_summary(run)


def _print(records: Sequence[Mapping[str, Any]]) -> None:
    for record in records:
        click.echo(
            f"{TITLES[record['order']]}, {record['bits']} bits, {record['experiments']} x "
            f"{record['images']} images of {record['dataset']}"
            + (", decoded" if record["verified"] else "")
        )
        units = record["rates"]
        click.echo(f"  {'':<24}" + "".join(f"{unit:>24}" for unit in units))
        for name, title in _ROWS.items():
            cells = [_cell(rates, name) for rates in units.values()]
            if any(cells):
                click.echo(f"  {title:<24}" + "".join(f"{cell:>24}" for cell in cells))
        click.echo(
            f"  initial bits {record['initial_bits_mean']:,.0f}, as the paper counts; "
            f"borrowed on average {record['borrowed_bits_mean']:,.0f}"
        )


def _cell(rates: Mapping[str, Any], name: str) -> str:
    value = rates.get(f"{name}_mean", rates.get(name))
    deviation = rates.get(f"{name}_std")
    if value is None:
        return ""
    return f"{value:.4f}" + ("" if deviation is None else f" +- {deviation:.4f}")

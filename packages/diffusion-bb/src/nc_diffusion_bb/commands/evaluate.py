"""``nc run diffusion-bb evaluate``: rates of real files beside the bound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_core.command_line import options
from nc_diffusion_bb.coding import ORDERS
from nc_diffusion_bb.commands.options import (
    chain_options,
    dataset_option,
    draw_figures,
    model_option,
)

if TYPE_CHECKING:
    from nc_core.runs import RunDirectory
    from nc_diffusion_bb.evaluation import Case, Evaluation

__all__ = ["evaluate", "measure", "show"]

# Options of coding that this command has itself.
_OWN = ("respacing", "order", "batch-size", "lead-in")
_USUAL_BATCH = 16
_COLUMNS = {
    "respacing": "steps", "order": "order", "batch_size": "batch",
    "lead_in": "lead-in", "vlb": "VLB",
    "vlb_standard_error": "s.e.", "bound": "bound", "marginal": "marginal", "initial": "initial",
    "payload": "payload", "total": "total", "vlb_seconds": "VLB s",
    "encode_seconds": "encode s", "decode_seconds": "decode s",
}  # fmt: skip


@click.command(
    epilog=options.examples(
        "nc run diffusion-bb evaluate --model M.safetensors --dataset mnist:test --limit 64 "
        "--respacing vlb50",
        "nc run diffusion-bb evaluate --model M.safetensors --limit 16 --steps 10 --steps 50 "
        "--order bit-swap -o runs/rates",
    )
)
@model_option("Model to code with")
@dataset_option("Images to code")
@click.option("--limit", type=click.IntRange(min=1), default=64, show_default=True, metavar="N",
              help="Use only the first N items of the dataset.")  # fmt: skip
@chain_options(several=True)
@click.option("--order", type=click.Choice(["both", *ORDERS]), default="both", show_default=True,
              help="Order of coding: bit-swap interleaves pops and pushes of latents, bb-ans pops "
                   "all of them first.")  # fmt: skip
@click.option("--batch-size", "batch_sizes", type=click.IntRange(min=1), multiple=True,
              metavar="N", show_default=str(_USUAL_BATCH),
              help="Images coded side by side. May be repeated.")  # fmt: skip
@click.option("--lead-in", "lead_ins", type=click.Choice(["none", "predictive"]), multiple=True,
              default=("none",), show_default="none",
              help="predictive: first images are coded by another codec until there are bits to "
                   "borrow. May be repeated.")  # fmt: skip
@options.coding()
@options.seed()
@options.out("DIR", "Run directory for the table, the bits of all levels, figures, and state.")
@options.torch_threads()
@options.resume()
@options.force()
@options.json_output()
@click.pass_context
def evaluate(
    context: click.Context,
    model: str,
    dataset: str,
    limit: int,
    respacing: tuple[str, ...],
    steps: tuple[int, ...],
    order: str,
    batch_sizes: tuple[int, ...],
    lead_ins: tuple[str, ...],
    coding: dict[str, str],
    seed: int,
    out: Path | None,
    threads: int | None,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Code images with several chains, orders and batches: real files beside the bound.

    Every file is decoded and compared. Rates are bits per dimension: VLB is the variational bound
    with fresh noise and its standard error over images, bound the code length at the latents that
    were drawn. total is the whole file; payload is that without the header; initial bits are the
    part of it that was borrowed, and marginal the rest: what one more image costs, the published
    'effective' rate. Seconds are per image, without what was done twice after an interruption.
    With --out what is done is kept once a minute, and --resume goes on with it.
    """
    from nc_core.errors import UsageError
    from nc_core.training import Hardware
    from nc_core.training.devices import launched
    from nc_diffusion_bb.commands.options import chosen_spacing
    from nc_diffusion_bb.evaluation import Case

    for key in _OWN:
        if key in coding:
            raise UsageError(f"--coding {key}= is an option of this command", f"--{key} VALUE")
    if resume and out is None:
        raise UsageError("--resume needs the directory of the run", "-o DIR")
    evaluation, config = _evaluation(model, dataset, limit, coding, seed, context)
    asked: list[str | None] = [*respacing, *map(str, steps)]
    spacings = [chosen_spacing(one, None, evaluation.chain.steps) for one in asked or [None]]
    orders = ORDERS if order == "both" else (order,)
    cases = [Case(*one) for one in product(orders, batch_sizes or (_USUAL_BATCH,), lead_ins)]
    for spacing, case in product(spacings, cases):
        evaluation.told(spacing, case)
    with launched(Hardware(device="cpu", devices=1, threads=threads), "32-true"):
        if out is None:
            records = _measure_all(evaluation, spacings, cases)
        else:
            config |= {"respacing": spacings, "cases": cases}
            records = _run(
                out, config, evaluation, spacings, cases,
                overrides=options.overrides_of(context), force=force, resume=resume,
            )  # fmt: skip
    show(records, as_json)


def _run(
    out: Path,
    config: dict[str, Any],
    evaluation: Evaluation,
    spacings: Sequence[str],
    cases: Sequence[Case],
    **how: Any,
) -> list[dict[str, Any]]:
    """Measure what a run directory does not hold yet, and leave results and figures in it."""
    from nc_core.runs import RunDirectory
    from nc_diffusion_bb.evaluation_run import RESULT, keep_records
    from nc_diffusion_bb.resumable import finished_records, interruptible

    with RunDirectory.create(
        out, config, command="diffusion-bb evaluate", may_differ=("model",), **how
    ) as run:
        records = finished_records(run, RESULT) if run.resumed else None
        if records is None:
            with interruptible(run):
                records = _measure_all(evaluation, spacings, cases, run)
        keep_records(run, records)
        draw_figures(run.path)
    return records


def _measure_all(
    evaluation: Evaluation,
    spacings: Sequence[str],
    cases: Sequence[Case],
    run: RunDirectory | None = None,
) -> list[dict[str, Any]]:
    return [one for spacing in spacings for one in measure(evaluation, spacing, cases, run)]


def show(records: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print records of :func:`measure`."""
    from nc_core.command_line.console import print_json, print_table, print_text

    if as_json:
        print_json(records)
        return
    print_table([[record[name] for name in _COLUMNS] for record in records], [*_COLUMNS.values()])
    print_text(
        f"{records[0]['images']} images, bits per dimension, seconds per image; "
        "every file was decoded and compared"
    )


def _evaluation(
    model: str, dataset: str, limit: int, coding: dict[str, str], seed: int, context: click.Context
) -> tuple[Evaluation, dict[str, Any]]:
    """What to evaluate, and the same for the record."""
    from nc_core.models import find_model_file, load_coder
    from nc_diffusion_bb.commands.options import network_images
    from nc_diffusion_bb.evaluation import Evaluation
    from nc_diffusion_bb.release import float_model, load

    plugins = options.plugins_of(context)
    _, file = find_model_file(model, plugins)
    network, chain = float_model(file)
    images = network_images(dataset, network, plugins)
    pixels = images.first(limit)
    coder = load_coder(plugins=plugins)
    evaluation = Evaluation(file.name, network, chain, load(file), coder, pixels, coding, seed)
    config = {
        "model": model, "model_id": file.id, "dataset": images.name, "images": len(pixels),
        "coding": coding, "seed": seed,
    }  # fmt: skip
    return evaluation, config


def measure(
    evaluation: Evaluation,
    spacing: str,
    cases: Sequence[Case],
    run: RunDirectory | None = None,
) -> list[dict[str, Any]]:
    """The bound of a chain, and the files of all cases."""
    from nc_core.command_line.progress import reported_progress
    from nc_diffusion_bb.evaluation_run import keep_levels, state_folder

    folder = None if run is None else state_folder(run)
    chain = spacing or "all steps"
    with reported_progress(f"{chain}, bound", "images") as tell:
        bound = evaluation.bound(spacing, tell, folder)
    files = []
    for case in cases:
        title = f"{chain}, {case.order}, batches of {case.batch_size}"
        with reported_progress(title, "samples") as tell:
            files.append(evaluation.coded(spacing, case, tell, folder))
    if run is not None:
        keep_levels(run, bound, files)
    return [one.to_json(bound) for one in files]

"""``nc run diffusion-bb vlb``: the variational bound of a model on images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nc_core.command_line import options
from nc_diffusion_bb.commands.options import (
    batch_size_option,
    chain_options,
    clip_option,
    dataset_option,
    draw_figures,
    model_option,
)

if TYPE_CHECKING:
    from nc_core.rates import Measurement
    from nc_core.runs import RunDirectory
    from nc_core.training import Hardware
    from nc_diffusion_bb.vlb_run import BoundPlan

__all__ = ["vlb"]


@click.command(
    epilog=options.examples(
        "nc run diffusion-bb vlb --model M.safetensors --dataset mnist:test --limit 64 --steps 50",
        "torchrun --nproc-per-node 8 -m nc_cli run diffusion-bb vlb --model M.safetensors "
        "--batch-size 250 -o runs/vlb --resume",
    )
)
@model_option("Model to evaluate")
@dataset_option("Images to evaluate")
@options.limit()
@chain_options()
@clip_option()
@batch_size_option(
    "Images per pass of the network; does not change the noise. What is done is kept twice a "
    "minute, but not within a pass."
)
@click.option("--draws", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="Draws of the noise of every image.")  # fmt: skip
@options.seed()
@options.training_run("Run directory: results, figures, state.  [default: runs/vlb-MODEL-SPACING]")
@options.json_output()
@click.pass_context
def vlb(
    context: click.Context,
    model: str,
    dataset: str,
    limit: int | None,
    respacing: str | None,
    steps: int | None,
    clip: bool,
    batch_size: int,
    draws: int,
    seed: int,
    out: Path | None,
    device: str,
    devices: int | None,
    threads: int | None,
    loggers: tuple[str, ...],
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """The variational bound, in bits per dimension, term by term.

    What bits-back coding reaches. Each image is noised once for every step, and the network is
    asked once. The standard error is over images; noise follows from seed, image and step alone.
    The run directory gets the terms of all steps (mean, deviation, smallest, largest) and figures
    of them: of the bound itself, and of the squared errors of the noise and the image predicted.
    """
    from nc_core.datasets.items import count_items, file_stem
    from nc_core.models import find_model_file
    from nc_core.runs import RunDirectory, is_main_process
    from nc_core.training import Hardware
    from nc_diffusion_bb.commands.options import chosen_spacing, network_images
    from nc_diffusion_bb.diffusion import GaussianDiffusion
    from nc_diffusion_bb.release import float_model
    from nc_diffusion_bb.vlb_run import BoundPlan, finished_bound

    plugins = options.plugins_of(context)
    _, file = find_model_file(model, plugins)
    network, chain = float_model(file)
    spacing = chosen_spacing(respacing, steps, chain.steps)
    diffusion = GaussianDiffusion.of(chain, spacing)
    images = network_images(dataset, network, plugins)
    plan = BoundPlan(
        network, diffusion, images, count_items(images, limit), batch_size, draws, seed, clip
    )
    hardware = Hardware(device=device, devices=devices, threads=threads)
    hardware.check()
    config = {
        "model": model, "model_id": file.id, "dataset": images.name, "images": plan.count,
        "respacing": spacing, "steps": diffusion.steps, "clip": clip, "batch_size": batch_size,
        "draws": draws, "seed": seed,
    }  # fmt: skip
    path = out or Path("runs", file_stem(f"vlb-{file.name}-{spacing}"))
    with RunDirectory.create(
        path,
        config,
        command="diffusion-bb vlb",
        overrides=options.overrides_of(context),
        force=force,
        resume=resume,
        may_differ=("model",),
    ) as run:
        found = finished_bound(run) if run.resumed else None
        if found is None:
            found = _evaluate(plan, run, hardware, loggers)
    if is_main_process():
        _show(found, path, as_json)


def _evaluate(
    plan: BoundPlan, run: RunDirectory, hardware: Hardware, loggers: Sequence[str]
) -> list[Measurement]:
    from nc_core.command_line.progress import reported_progress
    from nc_core.runs import is_main_process
    from nc_diffusion_bb.vlb_run import evaluate_bound

    with reported_progress("evaluating", "images") as tell:
        return evaluate_bound(
            plan, run, hardware=hardware, loggers=loggers,
            progress=tell if is_main_process() else None,
        )  # fmt: skip


def _show(found: Sequence[Measurement], folder: Path, as_json: bool) -> None:
    """Print the numbers, and draw the figures."""
    from nc_core.command_line.console import print_json, print_table, print_text

    draw_figures(folder)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    rows = [(one.name, one.value, one.standard_error, one.unit) for one in found]
    print_table(rows, ("", "value", "s.e.", "unit"))
    print_text(f"{found[0].n} images; terms of all steps in {folder / 'results'}")

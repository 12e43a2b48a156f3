"""``nc run diffusion-bb original``: the original project's codec, measured as it was."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from nc_core.plugins import PluginManager
    from nc_core.rates import Measurement
    from nc_core.runs import RunDirectory
    from nc_diffusion_bb.original.run import Plan

__all__ = ["original"]

# What may be another in a run that goes on.
_FREE = ("model", "limit", "check", "save_every", "loggers")
_LARGEST_SEED = 2**32 - 1  # initial words come from NumPy's oldest generator
_NOT_KEPT = frozenset({"force", "resume", "respacing", "steps", "threads"})


@click.command(
    epilog=options.examples(
        "nc run diffusion-bb original --model M.safetensors --dataset mnist:test "
        "--respacing vlb50 --limit 64 -o runs/original",
    )
)
@model_option("Model to code with")
@dataset_option("Images to code, in their order")
@options.limit()
@click.option("--shard", default="0/1", show_default=True, metavar="K/N",
              help="Code every N-th image from image K on: for several processes, with a run "
                   "directory each.")  # fmt: skip
@chain_options()
@clip_option()
@batch_size_option(
    "Images coded at once, each of their dimensions on a lane of its own. The first batch borrows "
    "initial bits for all of them. The last batch may be smaller."
)
@click.option("--latent-bits", type=click.IntRange(2, 28), default=18, show_default=True,
              metavar="N", help="Bits of the counts of a latent.")  # fmt: skip
@click.option("--prior-bits", type=click.IntRange(1, 20), default=10, show_default=True,
              metavar="N",
              help="log2 of the bins of a latent, of equal mass under its prior.")  # fmt: skip
@click.option("--pixel-bits", type=click.IntRange(2, 28), default=24, show_default=True,
              metavar="N", help="Bits of the counts of a pixel.")  # fmt: skip
@click.option("--data-bits", type=click.IntRange(1, 8), default=8, show_default=True, metavar="N",
              help="Bits of a pixel itself.")  # fmt: skip
@click.option("--data-range", nargs=2, type=float, default=(-1.0, 1.0), show_default=True,
              metavar="LOW HIGH",
              help="What the network is given for the smallest and the largest pixel.")  # fmt: skip
@click.option("--deviation-floor", type=float, default=1e-6, show_default=True, metavar="X",
              help="Smallest standard deviation of a pixel, on that scale.")  # fmt: skip
@click.option("--log-variance", is_flag=True,
              help="Take deviations from log-variances instead of variances.")  # fmt: skip
@click.option("--initial-words", type=click.IntRange(min=2), metavar="N",
              show_default="lanes x steps x the larger of latent and prior bits / 32",
              help="Random 32-bit words to start the message with.")  # fmt: skip
@options.seed()
@click.option("--track", is_flag=True, help="Measure what every level pushes and pops.")
@click.option("--check/--no-check", default=True, show_default=True,
              help="Decode again, and compare images and initial words.")  # fmt: skip
@click.option("--save-every", type=click.IntRange(min=1), metavar="N",
              show_default="once a minute",
              help="Images between two checkpoints, up to a whole batch more.")  # fmt: skip
@options.torch_threads("Threads of the network; --resume needs the same number.")
@options.loggers()
@options.out("DIR", "Run directory: message, rates, logs.", required=True)
@options.resume()
@options.force()
@options.json_output()
@click.pass_context
def original(context: click.Context, /, out: Path, as_json: bool, **given: Any) -> None:
    """The original project's codec, word for word: BB-ANS on a network in floating point.

    Codes images batch by batch on one message, decodes them again, and prints three rates in bits
    per dimension: what is transmitted, initial bits included; without those never touched; and
    without all of them, which is the published number. A first batch borrows about ten bits per
    dimension and step.

    The message decodes only on the same kind of machine, with the same libraries, number of
    threads and batch; with others all but the last batch would silently become noise, so they are
    refused. 'nc compress' is the codec for files: they decode everywhere, with few initial bits.
    """
    from nc_core.command_line.console import print_json, print_table, print_text
    from nc_core.training import Hardware
    from nc_core.training.devices import launched

    if given["seed"] > _LARGEST_SEED:
        raise click.BadParameter(
            f"{given['seed']} is more than {_LARGEST_SEED}", param_hint="--seed"
        )
    hardware = Hardware(device="cpu", devices=1, threads=given["threads"])
    with launched(hardware, "32-true"):
        measured = _code(out, given, options.plugins_of(context), options.overrides_of(context))
    if as_json:
        print_json([one.to_json() for one in measured])
        return
    rows = [(one.name, one.value, one.unit, one.n) for one in measured]
    print_table(rows, ("", "value", "unit", "images"))
    decoded = "decoded and compared" if given["check"] else "not decoded"
    print_text(f"{decoded}; everything in {out}")


def _code(
    out: Path, given: dict[str, Any], plugins: PluginManager, overrides: list[str]
) -> list[Measurement]:
    """Encode and decode in a run directory; returns what was measured."""
    from nc_core.runs import RunDirectory
    from nc_diffusion_bb.original.numerics import numerics, refuse_other_numerics

    plan, about = _plan(given, plugins)
    settings = {name: value for name, value in given.items() if name not in _NOT_KEPT}
    shape = (plan.batch_size, *plan.shape)
    config = settings | about | {"numerics": numerics(plan.codec.moments, shape)}
    if given["resume"]:
        refuse_other_numerics(out, config["numerics"])
    with RunDirectory.create(
        out,
        config,
        command="diffusion-bb original",
        overrides=overrides,
        force=given["force"],
        resume=given["resume"],
        may_differ=_FREE,
    ) as run:
        return _run(plan, run, check=given["check"], loggers=given["loggers"])


def _plan(given: dict[str, Any], plugins: PluginManager) -> tuple[Plan, dict[str, Any]]:
    """What to code with which model, and what of that is not in the options."""
    import numpy as np

    from nc_core.datasets.items import count_items
    from nc_core.errors import UsageError
    from nc_core.models import find_model_file
    from nc_diffusion_bb.commands.options import chosen_spacing, network_images
    from nc_diffusion_bb.diffusion import GaussianDiffusion
    from nc_diffusion_bb.original.codec import OriginalCodec
    from nc_diffusion_bb.original.moments import NetworkMoments
    from nc_diffusion_bb.original.run import Plan
    from nc_diffusion_bb.original.settings import CodecSettings
    from nc_diffusion_bb.release import float_model

    _, file = find_model_file(given["model"], plugins)
    network, chain = float_model(file)
    if network.architecture.classes is not None:
        raise UsageError(f"model '{file.name}' is told classes, and the original codes none")
    spacing = chosen_spacing(given["respacing"], given["steps"], chain.steps)
    images = network_images(given["dataset"], network, plugins)
    first, step = _shard(given["shard"])
    indices = np.arange(count_items(images, given["limit"]))[first::step]
    if not len(indices):
        raise UsageError(f"--shard {given['shard']}: no image is left for it")
    low, high = given["data_range"]
    settings = CodecSettings(
        latent_bits=given["latent_bits"],
        prior_bits=given["prior_bits"],
        pixel_bits=given["pixel_bits"],
        data_bits=given["data_bits"],
        data_min=low,
        data_max=high,
        deviation_floor=given["deviation_floor"],
    )
    moments = NetworkMoments(
        network,
        GaussianDiffusion.of(chain, spacing),
        clip_denoised=given["clip"],
        use_log_variance=given["log_variance"],
    )
    plan = Plan(
        codec=OriginalCodec(moments, settings),
        load=images.load,
        indices=indices,
        shape=network.architecture.image_shape,
        batch_size=given["batch_size"],
        initial_words=given["initial_words"],
        seed=given["seed"],
        track=given["track"],
        save_every=given["save_every"],
    )
    return plan, {"model_id": file.id, "dataset": images.name, "respacing": spacing}


def _run(
    plan: Plan, run: RunDirectory, *, check: bool, loggers: tuple[str, ...]
) -> list[Measurement]:
    """Encode, decode and keep what was found."""
    from nc_core.command_line.progress import reported_progress
    from nc_core.training.loggers import open_logger
    from nc_diffusion_bb.original.results import keep_measurements
    from nc_diffusion_bb.original.run import decode_images, encode_images, kept_images
    from nc_diffusion_bb.original.words import flat_bytes
    from nc_diffusion_bb.resumable import interruptible
    from nc_diffusion_bb.run_figures import log_figures

    with interruptible(run, "whole batches are kept, up to the last checkpoint"):
        with ExitStack() as stack:
            kept = kept_images(run) if loggers else 0
            opened = [open_logger(name, run, kept) for name in loggers]
            for logger in opened:
                stack.callback(logger.close)
            tell = stack.enter_context(reported_progress("encoding", "images"))
            encoded = encode_images(plan, run, tell, opened)
            log_figures(run.path, opened, encoded.tally.images)
        rates = encoded.tally.rates(flat_bytes(encoded.message))
        draw_figures(run.path)
        if check:
            with reported_progress("decoding", "images") as tell:
                decode_images(plan, run, encoded, tell)
    return keep_measurements(run, encoded.tally, rates)


def _shard(text: str) -> tuple[int, int]:
    first, _, step = text.partition("/")
    if not (first.isdecimal() and step.isdecimal() and int(first) < int(step)):
        raise click.BadParameter(f"{text!r} is not K/N with K below N", param_hint="--shard")
    return int(first), int(step)

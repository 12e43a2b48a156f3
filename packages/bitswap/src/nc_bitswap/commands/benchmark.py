"""``nc run bitswap benchmark``: classical codecs as the two papers measured them."""

from __future__ import annotations

from typing import Any

import click

from nc_core.command_line import options
from nc_core.command_line.console import print_json
from nc_core.command_line.progress import reported_progress

__all__ = ["benchmark"]


@click.command(
    epilog=options.examples("nc run bitswap benchmark --dataset mnist:test --experiments 10")
)
@click.option("--dataset", default="mnist:test", show_default=True, metavar="NAME[:SPLIT]",
              help="Images to code.")  # fmt: skip
@click.option("--protocol", type=click.Choice(["bit-swap", "bb-ans"]), default="bit-swap",
              show_default=True,
              help="bit-swap: streams of the images of each experiment, PNG without headers; "
                   "bb-ans: the whole dataset as one stream, complete PNG files.")  # fmt: skip
@click.option("--experiments", type=click.IntRange(min=1), default=100, show_default=True,
              metavar="N", help="Number of experiments (bit-swap).")  # fmt: skip
@click.option("--images", type=click.IntRange(min=1), default=100, show_default=True,
              metavar="N", help="Images of each experiment (bit-swap).")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=100, show_default=True,
              metavar="N", help="Seed of the choice of images (bit-swap).")  # fmt: skip
@options.json_output()
@click.pass_context
def benchmark(
    context: click.Context,
    dataset: str,
    protocol: Any,
    experiments: int,
    images: int,
    seed: int,
    as_json: bool,
) -> None:
    """gzip, bzip2, LZMA, PNG and WebP on the images of 'experiment', as the papers measured them.

    Rates are bits per dimension of images without padding. 'nc compare' measures complete files.
    """
    from dataclasses import asdict

    from nc_bitswap.benchmark import benchmark as measure
    from nc_core.datasets.opening import open_dataset

    data = open_dataset(dataset, options.plugins_of(context))
    with reported_progress("coding", "experiments") as tell:
        results = measure(data, protocol, experiments, images, seed, tell)
    if as_json:
        print_json([{"dataset": dataset, "protocol": protocol} | asdict(row) for row in results])
        return
    for row in results:
        deviation = "" if row.deviation is None else f" +- {row.deviation:.3f}"
        click.echo(
            f"{row.title:<24} {row.bits_per_dim:.3f}{deviation} bits per dimension "
            f"({row.experiments} x {row.images} images)"
            + (f"; {row.failed} failed: {row.reason}" if row.failed else "")
        )

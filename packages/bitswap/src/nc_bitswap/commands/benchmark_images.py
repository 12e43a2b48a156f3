"""``nc run bitswap benchmark-images``: photographs at their own size, beside classical codecs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_bitswap.commands.options import model_option
from nc_core.command_line import options
from nc_core.command_line.console import print_json
from nc_core.command_line.progress import reported_progress

if TYPE_CHECKING:
    from nc_bitswap.photographs import PhotographRates
    from nc_core.protocols import LosslessModel

__all__ = ["benchmark_images"]

SCHEMA = "nc.bitswap.benchmark-images/1"


@click.command(
    "benchmark-images",
    epilog=options.examples(
        "nc run bitswap benchmark-images ~/photos --limit 4",
        "nc run bitswap benchmark-images ~/photos --model imagenetcrop-nz4.safetensors",
    ),
)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@model_option("Model of RGB images", default="bitswap-photo")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
              help="How many photographs.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=100, show_default=True, metavar="N",
              help="Which photographs are drawn.")  # fmt: skip
@options.json_output()
@click.pass_context
def benchmark_images(
    context: click.Context, folder: Path, model: str, limit: int, seed: int, as_json: bool
) -> None:
    """Whole photographs as the paper codes them, beside gzip, bzip2, LZMA, PNG and WebP.

    Each is cropped to multiples of 32 pixels and coded by itself, its blocks row by row on one
    message; a model that has both orders codes in both. Every file is decoded and compared.
    Rates are means over the photographs, in bits per dimension: 'payload' counts the initial bits,
    as the paper does, and 'file' header and checksums as well.
    """
    from nc_bitswap.photographs import code_photographs
    from nc_core.models import load_coder

    plugins = options.plugins_of(context)
    models = _by_order(model, plugins)
    with reported_progress("coding", "photographs") as tell:
        rates = list(
            code_photographs(
                folder, models, load_coder(plugins=plugins), limit=limit, seed=seed, progress=tell
            )
        )
    rows = _means(rates)
    if as_json:
        print_json({
            "schema": SCHEMA, "images": len(rates), "means_bits_per_dim": rows,
            "photographs": [_document(one) for one in rates],
        })  # fmt: skip
        return
    click.echo(f"{len(rates)} photographs, bits per dimension (mean over photographs)")
    for name, value in rows.items():
        click.echo(f"{name:<36} {value:.4f}")


def _by_order(name: str, plugins: Any) -> dict[str, LosslessModel]:
    from nc_core.models import load_model

    model = load_model(name, plugins)
    if not hasattr(model, "with_order"):
        return {model.name: model}
    return {order: load_model(name, plugins, order=order) for order in ("bit-swap", "bb-ans")}


def _means(rates: Sequence[PhotographRates]) -> dict[str, float]:
    columns: dict[str, list[float]] = {}
    for one in rates:
        for name, rate in one.models.items():
            values = {
                "file": rate.bits_per_dim,
                "payload": rate.payload_bits / rate.dims,
                "without initial bits": rate.bits_per_dim_marginal,
                "bound": rate.bound_bits / rate.dims,
            }
            for part, value in values.items():
                columns.setdefault(f"{name} {part}", []).append(value)
        for codec, value in one.classical.items():
            columns.setdefault(codec, []).append(value)
    return {name: sum(values) / len(values) for name, values in columns.items()}


def _document(one: PhotographRates) -> dict[str, Any]:
    return {
        "name": one.name,
        "height": one.height,
        "width": one.width,
        "models": {name: rate.to_json() for name, rate in one.models.items()},
        "classical_bits_per_dim": dict(one.classical),
    }

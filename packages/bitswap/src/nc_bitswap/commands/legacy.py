"""``nc run bitswap legacy``: the compressed files of the original's demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nc_bitswap.commands.options import model_option
from nc_core.command_line import options
from nc_core.command_line.progress import reported_progress

if TYPE_CHECKING:
    from nc_bitswap.legacy.chain import LegacyCodec

__all__ = ["legacy"]

_bins_option = click.option(
    "--bins", nargs=2, type=click.Path(path_type=Path), metavar="ENDPOINTS CENTRES",
    show_default="the model's",
    help="The original's two bin files: for files that the original reads or wrote.",
)  # fmt: skip


@click.group(
    epilog=options.examples("nc run bitswap legacy pack photo.png --model crop.safetensors")
)
def legacy() -> None:
    """Read and write NAME_bitswap.npy, the file of the original's demo.

    Its coder follows floating-point networks, one block at a time. So such a file decodes where
    the networks give the same last digits: on the same kind of machine. What does not decode
    is noticed and refused. 'nc compress' writes files that decode everywhere.
    """


@legacy.command(
    short_help="Code an image.",
    epilog=options.examples("nc run bitswap legacy pack photo.png --model crop.safetensors"),
)
@click.argument("image", metavar="IMAGE", type=click.Path(path_type=Path))
@model_option("Imported or trained Bit-Swap model", default=None)
@_bins_option
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE",
              show_default="NAME_bitswap.npy beside IMAGE", help="File to write.")  # fmt: skip
@options.force()
@click.pass_context
def pack(
    context: click.Context,
    image: Path,
    model: str,
    bins: tuple[Path, Path] | None,
    out: Path | None,
    force: bool,
) -> None:
    """Crop IMAGE to whole blocks, and code it as the original's demo does."""
    from nc_bitswap.legacy.demo_file import pack as pack_image
    from nc_core.errors import DataError
    from nc_core.files import check_target
    from nc_core.images import read_image

    out = out or image.with_name(f"{image.stem}_bitswap.npy")
    check_target(out, force=force)
    pixels = read_image(image).pixels
    if pixels.dtype != "uint8":
        raise DataError(f"{image}: 16 bits per sample; the model takes 8")
    codec = _codec(context, model, bins)
    with reported_progress("coding", "blocks") as tell:
        file = pack_image(codec, pixels, tell)
    file.write(out)
    size = 4 * len(file.words())
    samples = file.height * file.width * codec.block_shape[0]
    click.echo(
        f"{out}: {file.width}x{file.height} pixels in {file.blocks} blocks, {size:,} bytes of "
        f"words, {8 * size / samples:.4f} bits per sample"
    )


@legacy.command(
    epilog=options.examples(
        "nc run bitswap legacy unpack photo_bitswap.npy -o out.png --model m.safetensors"
    )
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@model_option("Model that the file was made with", default=None)
@_bins_option
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="IMAGE.png",
              help="Image to write.")  # fmt: skip
@options.force()
@click.pass_context
def unpack(
    context: click.Context,
    file: Path,
    model: str,
    bins: tuple[Path, Path] | None,
    out: Path,
    force: bool,
) -> None:
    """Decode FILE, and check that the decoder ended where the encoder began."""
    from nc_bitswap.legacy.demo_file import DemoFile
    from nc_bitswap.legacy.demo_file import unpack as unpack_image
    from nc_core.files import check_target
    from nc_core.images import Image, write_image

    check_target(out, force=force)
    read = DemoFile.read(file)
    codec = _codec(context, model, bins)
    with reported_progress("decoding", "blocks") as tell:
        pixels = unpack_image(codec, read, str(file), tell)
    write_image(out, Image(pixels[..., 0] if pixels.shape[2] == 1 else pixels), force=force)
    click.echo(f"{out}: {read.width}x{read.height} pixels")


def _codec(context: click.Context, model: str, bins: tuple[Path, Path] | None) -> LegacyCodec:
    from nc_bitswap.commands.options import bitswap_codec
    from nc_bitswap.legacy.chain import LegacyCodec, RealBins
    from nc_bitswap.release import float_model, latent_bins
    from nc_core.models import find_model_file

    family, file = find_model_file(model, options.plugins_of(context))
    bitswap_codec(family.load()(file))
    real = RealBins.of_files(*bins) if bins else RealBins.of_model(latent_bins(file))
    return LegacyCodec(float_model(file), real)

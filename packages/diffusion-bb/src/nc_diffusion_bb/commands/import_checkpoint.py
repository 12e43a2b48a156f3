"""``nc run diffusion-bb import-checkpoint``: model files from weights that others trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_core.command_line import options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nc_core.plugins import PluginManager
    from nc_diffusion_bb.config import ModelConfig
    from nc_diffusion_bb.importers import Description

__all__ = ["import_checkpoint"]


@click.command(
    "import-checkpoint",
    epilog=options.examples(
        "nc run diffusion-bb import-checkpoint cifar10_uncond_vlb_50M_500K.pt "
        "-o cifar10.safetensors",
        "nc run diffusion-bb import-checkpoint ema_0.9999_001500.pt --recipe mnist16-hybrid "
        "-o digits.safetensors",
    ),
)
@click.argument("checkpoint", metavar="CHECKPOINT", type=options.FilePath())
@options.out("FILE.safetensors", "Model file to write.", required=True)
@click.option("--recipe", metavar="NAME", show_default="by the file's name, or its tensors",
              help="Which model it is: a recipe of this package, or a YAML file.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Change a setting of the recipe (model.heads=2); may be repeated.")  # fmt: skip
@click.option("--config", type=options.FilePath(), metavar="FILE.json",
              help="Instead: what it is in the original's words, with the keys 'unet' and "
              "'diffusion'.")  # fmt: skip
@click.option("--image-size", type=click.IntRange(1, 1024), metavar="N",
              show_default="by the channels of its levels",
              help="Pixels along a side of the images, where --config leaves it out.")  # fmt: skip
@click.option("--dataset", metavar="NAME[:SPLIT]", show_default="by channels and image size",
              help="Training images, to calibrate the integer network on.")  # fmt: skip
@options.force()
@options.json_output()
@click.pass_context
def import_checkpoint(
    context: click.Context,
    checkpoint: Path,
    out: Path,
    recipe: str | None,
    settings: tuple[str, ...],
    config: Path | None,
    image_size: int | None,
    dataset: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a model file of a checkpoint of the original implementation.

    CHECKPOINT is a state_dict as the original saves it (of which only tensors are read), or the
    same tensors as .safetensors, of any floating-point type. Published files are known by their
    names. Of others, names and shapes of the tensors tell the network, but not its heads, noise
    schedule and steps: --recipe or --config does, or the one recipe with the same tensors.

    Without --dataset, grey models are calibrated on mnist:train, small colour models on
    cifar10:train and others on imagenet64:train where they are prepared, else on noise.
    Class-conditional models are for training, sampling and bounds: they compress nothing.
    """
    from nc_core.command_line.console import print_json
    from nc_core.errors import UsageError
    from nc_core.files import check_target
    from nc_core.importing import read_state_dict
    from nc_diffusion_bb.importers import build_network, describe
    from nc_diffusion_bb.release import write_model

    check_target(out, force=force)
    if config is not None and (recipe is not None or settings):
        raise UsageError("--config says what --recipe and --set do; leave out one of them")
    if config is None and image_size is not None:
        raise UsageError("--image-size completes --config; otherwise: --set model.image_size=N")
    weights = read_state_dict(checkpoint)
    if config is not None:
        from nc_diffusion_bb.original_settings import described_by_file

        description = described_by_file(config, weights, str(checkpoint), image_size)
    else:
        description = _by_recipe(checkpoint, weights, recipe, settings)
    network = build_network(weights, description, str(checkpoint))
    plugins = options.plugins_of(context)
    name, images = _calibration(dataset, description.model, plugins)
    info = {"imported": checkpoint.name, "calibrated_on": name}
    if description.recipe is not None:
        info["recipe"] = description.recipe
    file = write_model(out, network, description.diffusion, images, info=info)
    kind = describe(network.architecture)
    parameters = sum(tensor.numel() for tensor in network.parameters())
    if as_json:
        print_json({
            "file": str(out), "id": file.id, "family": file.family, "kind": kind,
            "parameters": parameters, "dataset": name, "recipe": description.recipe,
            "diffusion": description.diffusion.to_json(),
        })  # fmt: skip
        return
    click.echo(f"{out}: {kind}, {parameters:,} parameters, id {file.id[:12]}")


def _by_recipe(
    checkpoint: Path, weights: Mapping[str, Any], recipe: str | None, settings: tuple[str, ...]
) -> Description:
    from nc_core.command_line.console import note
    from nc_core.errors import UsageError
    from nc_diffusion_bb.importers import PUBLISHED_FILES, described_by_recipe, fitting_recipe
    from nc_diffusion_bb.recognition import recognised

    recipe = recipe or PUBLISHED_FILES.get(checkpoint.name)
    if recipe is None:
        facts = recognised(weights, str(checkpoint))
        recipe = fitting_recipe(weights)
        if recipe is None:
            multipliers = ",".join(map(str, facts["multipliers"]))
            raise UsageError(
                f"{checkpoint}: a network of {facts['in_channels']} channels, width "
                f"{facts['width']} times {multipliers}, {facts['blocks']} blocks; its heads, noise "
                "schedule and steps are in no tensor",
                "--recipe NAME or --config FILE.json says them",
            )
        note(f"{checkpoint} has the tensors of recipe '{recipe}', and is taken for its model")
    return described_by_recipe(recipe, settings)


def _calibration(
    dataset: str | None, model: ModelConfig, plugins: PluginManager
) -> tuple[str, NDArray[np.uint8]]:
    """Name of the images to calibrate on, and some of them."""
    from nc_core.command_line.console import warn
    from nc_diffusion_bb.calibration import CALIBRATION_IMAGES, made_up_images, usual_images
    from nc_diffusion_bb.data import open_images

    shape = (model.channels, model.image_size, model.image_size)
    if dataset is not None:
        images = open_images(dataset, model, plugins)
        return images.name, images.first(CALIBRATION_IMAGES)
    if model.classes is not None:  # kept as it is
        return "nothing", made_up_images(shape)
    usual = usual_images(model, plugins)
    if usual is None:
        warn("no images to calibrate on, so noise is used; --dataset NAME names training images")
        return "noise", made_up_images(shape)
    return usual

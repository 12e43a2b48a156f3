"""Options that several commands of ``nc run diffusion-bb`` have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nc_core.command_line import options

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_diffusion_bb.data import Images
    from nc_diffusion_bb.unet import UNet

__all__ = [
    "batch_size_option",
    "chain_options",
    "chosen_spacing",
    "clip_option",
    "dataset_option",
    "draw_figures",
    "model_option",
    "network_images",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Option = Callable[[_Command], _Command]

# As nc_diffusion_bb.coding.default_spacing decides.
_USUAL_SPACING = "vlb100; of up to 100 steps all, of 10,000 or more 100 evenly spaced"


def model_option(help_text: str) -> _Option[Any]:
    """``--model``, passed as ``model: str``."""
    return options.model(help_text, "diffusion-mnist")


def dataset_option(help_text: str) -> _Option[Any]:
    """``--dataset``, passed as ``dataset: str``."""
    return click.option(
        "--dataset",
        default="mnist:test",
        show_default=True,
        metavar="NAME[:SPLIT]",
        help=f"{help_text}. Those of another size than the model's are scaled and cropped as the "
        "original does; but smaller ones that are not of a folder get the border that files have.",
    )


def chain_options(*, several: bool = False, default: str = _USUAL_SPACING) -> _Option[Any]:
    """``--respacing`` and ``--steps``, passed as ``respacing`` and ``steps``.

    Args:
        several: both may be repeated; the command gets tuples.
        default: what the help says that none of them means.
    """
    again = " May be repeated." if several else ""
    return options.all_of(
        click.option(
            "--respacing", metavar="STEPS", multiple=several,
            show_default=default,
            help="Steps of the chain: vlbK, ddimK, K evenly spaced, sections such as 10,15,20, "
            "or all." + again,
        ),
        click.option(
            "--steps", type=click.IntRange(min=1), metavar="K", multiple=several,
            help="K evenly spaced steps, short for --respacing K." + again,
        ),
    )  # fmt: skip


def chosen_spacing(respacing: str | None, steps: int | None, chain_steps: int) -> str:
    """The spacing that the two options ask for.

    Args:
        respacing: as the command got it.
        steps: likewise; at most one of the two.
        chain_steps: of the model's full chain.

    Returns:
        as :func:`nc_diffusion_bb.respacing.chosen_steps` takes it; empty for all steps.

    Raises:
        UsageError: both are given.
    """
    from nc_core.errors import UsageError
    from nc_diffusion_bb.coding import default_spacing

    if respacing is not None and steps is not None:
        raise UsageError("--respacing and --steps say the same thing", "leave out one of them")
    if steps is not None:
        return str(steps)
    if respacing is None:
        return default_spacing(chain_steps)
    return "" if respacing == "all" else respacing


def clip_option() -> _Option[Any]:
    """``--no-clip``, passed as ``clip: bool``."""
    return click.option(
        "--no-clip", "clip", is_flag=True, default=True, flag_value=False,
        help="Do not limit predicted images to the range of pixels; bounds are published with "
             "the limit.",
    )  # fmt: skip


def batch_size_option(help_text: str) -> _Option[Any]:
    """``--batch-size``, passed as ``batch_size: int``."""
    return click.option(
        "--batch-size", type=click.IntRange(min=1), default=16, show_default=True, metavar="N",
        help=help_text,
    )  # fmt: skip


def network_images(dataset: str, network: UNet, plugins: PluginManager) -> Images:
    """The images of a dataset as a network takes them.

    Raises:
        NcError: as :func:`nc_diffusion_bb.data.open_images`.
    """
    from nc_diffusion_bb.config import ModelConfig
    from nc_diffusion_bb.data import open_images

    shape = network.architecture
    config = ModelConfig(
        channels=shape.in_channels, image_size=shape.image_size, classes=shape.classes
    )
    return open_images(dataset, config, plugins)


def draw_figures(folder: Path) -> None:
    """Draw the figures of a run directory, where matplotlib is installed."""
    from nc_core.command_line.console import note
    from nc_core.errors import MissingDependencyError
    from nc_diffusion_bb.run_figures import draw_run

    try:
        draw_run(folder)
    except MissingDependencyError as error:
        note(f"no figures: {error.message}")

"""The model whose weights a training run starts from, instead of random ones.

The run's configuration records it, with its id, so that a run which is resumed need not be told
again; with a checkpoint it does not even need the file. Optimiser and steps begin anew.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from nc_core.errors import DataError, UsageError
from nc_core.models import find_model_file
from nc_core.plugins import PluginManager
from nc_core.runs import RunDirectory
from nc_diffusion_bb.config import TrainConfig
from nc_diffusion_bb.networks import architecture_of
from nc_diffusion_bb.release import float_model
from nc_diffusion_bb.unet import UNet

__all__ = ["Start", "start_of"]

_FREE = ("dropout",)  # of the network's shape: it is in no weight, and off when the model is used


class Start(NamedTuple):
    """Where training starts.

    Attributes:
        config: of the run, with the initial model of the run that goes on.
        network: with the initial weights; None where they are random, or in a checkpoint.
        model_id: of the initial model.
    """

    config: TrainConfig
    network: UNet | None = None
    model_id: str | None = None


def start_of(
    config: TrainConfig, folder: Path, plugins: PluginManager, *, resume: bool = False
) -> Start:
    """Find the initial model of a run.

    Args:
        config: as it was asked for.
        folder: the run directory.
        plugins: where to look for models by name.
        resume: a run that is in the folder goes on.

    Raises:
        UsageError: the model is another network than the run's, or a checkpoint of the original.
        PluginError, DataError: there is no such model, or it holds no float weights.
    """
    earlier = _earlier(folder) if resume else None
    if earlier is not None:
        kept = earlier.config.get("initial")
        if config.initial is None and kept is not None:
            config = config.model_copy(update={"initial": kept})
        if config.initial == kept and earlier.checkpoint_steps():
            return Start(config, model_id=earlier.config.get("initial_id"))
    if config.initial is None:
        return Start(config)
    if config.initial.endswith(".pt"):
        raise UsageError(
            f"{config.initial}: a checkpoint of the original, and no model file",
            f"nc run diffusion-bb import-checkpoint {config.initial} -o MODEL.safetensors",
        )
    _, file = find_model_file(config.initial, plugins)
    network, _ = float_model(file)
    _check_shape(config, network)
    return Start(config, network, file.id)


def _earlier(folder: Path) -> RunDirectory | None:
    try:
        return RunDirectory.open(folder)
    except DataError:
        return None


def _check_shape(config: TrainConfig, network: UNet) -> None:
    wanted = asdict(architecture_of(config.model, learn_sigma=config.diffusion.learn_sigma))
    found = asdict(network.architecture)
    different = [
        f"{name} {found[name]} instead of {wanted[name]}"
        for name in wanted
        if found[name] != wanted[name] and name not in _FREE
    ]
    if different:
        raise UsageError(
            f"{config.initial}: another network than this run's: {', '.join(different)}",
            "give the recipe and the settings (--set model.NAME=...) that it was made with",
        )

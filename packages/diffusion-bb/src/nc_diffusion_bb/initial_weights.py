"""The model whose weights a training run starts from, instead of random ones.

The run's configuration records it, with its id, so that a run which is resumed need not be told
again; with a checkpoint it does not even need the file. Optimiser and steps begin anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from nc_core.errors import DataError, UsageError
from nc_core.models import find_model_file
from nc_core.plugins import PluginManager
from nc_core.runs import RunDirectory, is_main_process
from nc_diffusion_bb.config import DiffusionConfig, TrainConfig
from nc_diffusion_bb.networks import architecture_of
from nc_diffusion_bb.release import float_model
from nc_diffusion_bb.unet import UNet

__all__ = ["Start", "start_of"]

_log = logging.getLogger(__name__)

_FREE = ("dropout",)  # of the network's shape: it is in no weight, and off when the model is used
_OUTPUTS = ("predict_xstart",)
_TIMES = ("steps", "noise_schedule", "rescale_timesteps")


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
        UsageError: the model is another network than the run's, predicts something else, or is a
            checkpoint of the original.
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
    network, chain = float_model(file)
    _check_shape(config, network)
    _check_chain(config, chain)
    return Start(config, network, file.id)


def _earlier(folder: Path) -> RunDirectory | None:
    try:
        return RunDirectory.open(folder)
    except DataError:
        return None


def _check_shape(config: TrainConfig, network: UNet) -> None:
    wanted = asdict(architecture_of(config.model, learn_sigma=config.diffusion.learn_sigma))
    found = asdict(network.architecture)
    different = _differences(wanted, found, [name for name in wanted if name not in _FREE])
    if different:
        raise UsageError(
            f"{config.initial}: another network than this run's: {different}",
            "give the recipe and the settings (--set model.NAME=...) that it was made with",
        )


def _check_chain(config: TrainConfig, chain: DiffusionConfig) -> None:
    """Training finds its way to other times, but hardly to outputs of another meaning."""
    wanted, found = config.diffusion.model_dump(), chain.model_dump()
    different = _differences(wanted, found, _OUTPUTS)
    if different:
        raise UsageError(
            f"{config.initial}: predicts something else than this run's network: {different}",
            "give the settings (--set diffusion.NAME=...) that it was made with",
        )
    different = _differences(wanted, found, _TIMES)
    if different and is_main_process():
        _log.warning(
            "%s: was trained with other noise than this run's: %s", config.initial, different
        )


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any], names: Iterable[str]) -> str:
    return ", ".join(
        f"{name} {found[name]} instead of {wanted[name]}"
        for name in names
        if found[name] != wanted[name]
    )

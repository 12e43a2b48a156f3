"""Descriptions of models in the original's words: JSON with the keys ``unet`` and ``diffusion``.

``unet`` holds arguments of the original's network (``model_channels``, ``channel_mult``,
``attention_resolutions`` as downsampling factors, ...) or of its training script (``num_channels``,
``attention_resolutions`` as the text ``"16,8"`` of image sizes, ...); ``diffusion`` those of its
diffusion. What it leaves out is taken from the tensors of the checkpoint. Other keys are ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from torch import Tensor

from nc_core.config import Config
from nc_core.errors import DataError, UsageError
from nc_core.files import describe_os_error
from nc_diffusion_bb.config import DiffusionConfig, ModelConfig
from nc_diffusion_bb.importers import Description
from nc_diffusion_bb.networks import USUAL_MULTIPLIERS
from nc_diffusion_bb.recognition import recognised

__all__ = ["described_by_file", "image_size_of"]

_NETWORK = {
    "image_size": "image_size",
    "in_channels": "channels",
    "model_channels": "width",
    "num_channels": "width",
    "num_res_blocks": "blocks",
    "channel_mult": "multipliers",
    "num_heads": "heads",
    "num_heads_upsample": "heads_upsample",
    "use_scale_shift_norm": "scale_shift",
    "dropout": "dropout",
    "num_classes": "classes",
    "conv_resample": "resample_convolution",
}
_DIFFUSION = (
    "steps", "noise_schedule", "learn_sigma", "sigma_small", "predict_xstart", "rescale_timesteps",
    "use_kl", "rescale_learned_sigmas",
)  # fmt: skip
_CLASSES = 1000  # that the original's training script has
_LATENT_BITS = 18

_Config = TypeVar("_Config", bound=Config)


def described_by_file(
    path: Path, weights: Mapping[str, Tensor], file: str, image_size: int | None = None
) -> Description:
    """The model of a description.

    Args:
        path: of the JSON file.
        weights: of the checkpoint, which say what the file does not.
        file: what errors call the checkpoint.
        image_size: of the model's images; None: as the description says or implies.

    Raises:
        DataError: the file cannot be read, or is no such description.
        UsageError: it leaves out what no tensor tells: heads, schedule, steps or image size.
    """
    document = _read(path)
    network, diffusion = _section(document, "unet", path), _section(document, "diffusion", path)
    facts = recognised(weights, file)
    settings = _network_settings(network, facts)
    size = image_size or settings.get("image_size") or image_size_of(facts, document)
    if size is None:
        raise UsageError(f"{path}: says no image_size", "--image-size N says it")
    if type(size) is not int or size < 1:
        raise DataError(f"{path}: image_size is {size!r}, not a whole number")
    settings["image_size"] = size
    factors = network.get("attention_resolutions", facts["attention_factors"])
    settings["attention"] = _attention(factors, size)
    chain = {key: diffusion[key] for key in _DIFFUSION if key in diffusion}
    chain.setdefault("learn_sigma", facts["out_channels"] == 2 * facts["in_channels"])
    needed = {"unet.num_heads": "heads" in settings}
    needed |= {f"diffusion.{key}": key in chain for key in ("steps", "noise_schedule")}
    missing = [name for name, there in needed.items() if not there]
    if missing:
        raise UsageError(f"{path}: lacks {', '.join(missing)}, which no tensor tells")
    return Description(
        _validated(ModelConfig, settings, path), _validated(DiffusionConfig, chain, path)
    )


def image_size_of(facts: Mapping[str, Any], document: Mapping[str, Any]) -> int | None:
    """Height and width of a network's images, from what is known of it; None if nothing tells.

    Multipliers of channels are those that the original has for one image size; or the record of a
    coding run has the number of initial words, which is 18 bits for each latent of a batch.

    Args:
        facts: as :func:`nc_diffusion_bb.recognition.recognised` returns them.
        document: a description, perhaps with ``initial_len``, ``T`` and ``batch``.
    """
    for size, multipliers in USUAL_MULTIPLIERS.items():
        if facts["multipliers"] == multipliers:
            return size
    record = [document.get(key) for key in ("initial_len", "T", "batch")]
    known = [number for number in record if type(number) is int and number > 0]
    if len(known) != len(record):
        return None
    words, steps, batch = known
    samples = 32 * words / (_LATENT_BITS * steps * batch)
    size = round(math.sqrt(samples / facts["in_channels"]))
    return size if round(samples) == facts["in_channels"] * size * size else None


def _network_settings(network: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a :class:`ModelConfig`: what is said, over what the tensors tell."""
    settings = {
        "channels": facts["in_channels"],
        **{key: facts[key] for key in (
            "width", "blocks", "multipliers", "scale_shift", "classes", "resample_convolution",
        )},
    }  # fmt: skip
    settings |= {name: network[key] for key, name in _NETWORK.items() if key in network}
    if network.get("class_cond") is True:
        settings["classes"] = _CLASSES
    return settings


def _attention(said: Any, size: int) -> Any:
    """Image sizes with attention, of the network's factors or of the script's text."""
    if isinstance(said, str):
        return said.split(",")
    if not isinstance(said, list | tuple) or not all(type(k) is int and k > 0 for k in said):
        return said
    return [size // factor for factor in said]


def _validated(kind: type[_Config], settings: Mapping[str, Any], path: Path) -> _Config:
    try:
        return kind.model_validate(settings)
    except pydantic.ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(map(str, fault["loc"]))
        raise DataError(f"{path}: {name}: {fault['msg'].lower()}") from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise describe_os_error(error, path) from error
    except ValueError as error:
        raise DataError(f"{path}: no JSON: {error}") from error
    if not isinstance(document, Mapping):
        raise DataError(f"{path}: no JSON object with the keys 'unet' and 'diffusion'")
    return document


def _section(document: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    section = document.get(name, {})
    if not isinstance(section, Mapping):
        raise DataError(f"{path}: '{name}' is no JSON object")
    return section

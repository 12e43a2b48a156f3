"""Model files of the lower bound: the network ``log u``, and the lambda that it was trained for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nc_core.model_file import ModelFile, write_model_file
from nc_core.network_files import refusing, without_memory
from nc_rd_bounds.activations import ELEMENTWISE
from nc_rd_bounds.lower.networks import ImageMultiplier, Multiplier, VectorMultiplier, unit_of
from nc_rd_bounds.run_data import find_model

__all__ = ["FAMILY", "TrainedMultiplier", "build_network", "load", "read_multiplier", "write_model"]

FAMILY = "rd-bounds-multiplier"


@dataclass(frozen=True, eq=False)
class TrainedMultiplier:
    """A network, and what it is of.

    Args:
        network: ``log u``, in evaluation mode.
        lamb: lambda, in nats per vector and unit of mean squared error.
        architecture: as :func:`build_network` takes it.
        file: what it was read from.
        unit: that climbs step in, see :func:`nc_rd_bounds.lower.networks.unit_of`.
    """

    network: Multiplier
    lamb: float
    architecture: Mapping[str, Any]
    file: ModelFile
    unit: float = 1.0


def build_network(architecture: Mapping[str, Any]) -> Multiplier:
    """A network with random weights.

    Args:
        architecture: ``units``, ``activation``, and ``dims`` of vectors, or ``image`` (height,
            width, channels) and ``kernels`` of images; ``standardise`` if vectors are to be.

    Raises:
        KeyError, TypeError, ValueError: it is none of these.
    """
    units, activation = tuple(architecture["units"]), architecture["activation"]
    if activation not in ELEMENTWISE:
        raise ValueError(f"no activation '{activation}'")
    if "dims" in architecture:
        standardise = bool(architecture.get("standardise", False))
        return VectorMultiplier(architecture["dims"], units, activation, standardise=standardise)
    height, width, channels = architecture["image"]
    return ImageMultiplier((height, width, channels), units, architecture["kernels"], activation)


def write_model(
    path: Path,
    network: Multiplier,
    architecture: Mapping[str, Any],
    lamb: float,
    *,
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> ModelFile:
    """Write a network.

    Args:
        path: ends in ``.safetensors``.
        network: of this architecture.
        architecture: as :func:`build_network` takes it.
        lamb: lambda that it was trained for.
        name: what to call it; by default the file's name.
        info: to keep with it: recipe, data, step.

    Raises:
        DataError: it cannot be written.
    """
    tensors = {key: value.cpu().numpy() for key, value in network.state_dict().items()}
    config = {"network": dict(architecture), "lamb": lamb}
    return write_model_file(path, FAMILY, config, tensors, name=name, info=info)


def load(file: ModelFile) -> TrainedMultiplier:
    """The network of a model file.

    Raises:
        DataError: it is no model of this family.
    """
    with refusing(file, FAMILY):
        architecture, lamb = file.config["network"], float(file.config["lamb"])
        network = without_memory(lambda: build_network(architecture))
        weights = {
            key: torch.from_numpy(np.array(value, np.float32))
            for key, value in file.tensors().items()
        }
        network.load_state_dict(weights, assign=True)
        if not lamb > 0:
            raise ValueError("lambda is not positive")
        unit = unit_of(network)
        if not 0 < unit < math.inf:
            raise ValueError("a deviation is not positive")
    return TrainedMultiplier(network.eval(), lamb, architecture, file, unit)


def read_multiplier(path: Path) -> TrainedMultiplier:
    """The network of a model file, or of a run directory.

    Raises:
        DataError: missing, damaged, or of another family.
    """
    return load(find_model(path))

"""Model files of beta-VAEs: weights, objective, and for nonlinear transform coding its tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nc_core.errors import DataError
from nc_core.model_file import ModelFile, write_model_file
from nc_core.network_files import refusing, tensors_of, without_memory
from nc_rd_bounds.upper.config import UpperConfig
from nc_rd_bounds.upper.model import VectorVae
from nc_rd_bounds.upper.tables import LatentTables

if TYPE_CHECKING:
    from nc_rd_bounds.upper.codec import NtcCodec

__all__ = ["FAMILY", "load", "read_config", "read_model", "write_model"]

FAMILY = "rd-bounds-vae"
_WEIGHTS, _TABLES = "weights.", "tables."


def write_model(
    path: Path,
    model: VectorVae,
    config: UpperConfig,
    *,
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> ModelFile:
    """Write a model's file; that of a quantised one holds integer tables for its latents too.

    Args:
        path: ends in ``.safetensors``.
        model: trained.
        config: of its training run.
        name: what to call it; by default the file's name.
        info: to keep with it.

    Raises:
        DataError: the file cannot be written.
    """
    state = model.state_dict().items()
    tensors = {f"{_WEIGHTS}{key}": value.cpu().numpy() for key, value in state}
    if model.quantised:
        tables = LatentTables.of(model)
        tensors |= {f"{_TABLES}{key}": array for key, array in tables.tensors().items()}
    document = config.model_copy(update={"model": model.config}).to_json()
    return write_model_file(path, FAMILY, document, tensors, name=name, info=info)


def read_config(file: ModelFile) -> UpperConfig:
    """The configuration of the run that a model file is of, with the model's sizes.

    Raises:
        DataError: it is no model of this family.
    """
    with refusing(file, FAMILY):
        return UpperConfig.model_validate(file.config)


def read_model(file: ModelFile) -> VectorVae:
    """The model of a file, in evaluation mode.

    Raises:
        DataError: it is no model of this family, or its weights do not fit its sizes.
    """
    config = read_config(file)
    weights = {
        key: torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
        for key, array in tensors_of(file, _WEIGHTS).items()
    }
    with refusing(file, FAMILY):
        claimed = without_memory(lambda: VectorVae(config.model)).state_dict()
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in claimed.items()}:
            raise ValueError("its weights do not fit its sizes")
        model = VectorVae(config.model)  # with its masks, which the file does not hold
        model.load_state_dict(weights)
    return model.eval()


def load(file: ModelFile) -> NtcCodec:
    """The lossy model of a file.

    Raises:
        DataError: it is no model of this family, or one without a uniform posterior.
    """
    from nc_rd_bounds.upper.codec import NtcCodec

    model = read_model(file)
    if not model.quantised:
        raise DataError(
            f"model '{file.name}': a bound, not a codec: its posterior is {model.config.posterior}",
            "models with a uniform posterior code files (recipes upper-*-ntc)",
        )
    with refusing(file, FAMILY):
        arrays = {
            key: np.array(array, array.dtype.newbyteorder("="))
            for key, array in tensors_of(file, _TABLES).items()
        }
        tables = LatentTables.from_tensors(arrays, model.latents)
    return NtcCodec(file.name, file.id, model, tables)

"""Model files of beta-VAEs: weights, objective, and for nonlinear transform coding its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nc_core.errors import DataError
from nc_core.model_file import ModelFile, write_model_file
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
    with _refusing(file):
        return UpperConfig.model_validate(file.config)


def read_model(file: ModelFile) -> VectorVae:
    """The model of a file, in evaluation mode.

    Raises:
        DataError: it is no model of this family, or its weights do not fit its sizes.
    """
    config = read_config(file)
    weights = _tensors(file, _WEIGHTS)
    with _refusing(file):
        with torch.device("meta"):  # sizes that a file only claims take no memory
            shapes = {k: v.shape for k, v in VectorVae(config.model).state_dict().items()}
        if {key: value.shape for key, value in weights.items()} != shapes:
            raise ValueError("its weights do not fit its sizes")
        model = VectorVae(config.model)
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
    with _refusing(file):
        arrays = {key: value.numpy() for key, value in _tensors(file, _TABLES).items()}
        tables = LatentTables.from_tensors(arrays, model.latents)
    return NtcCodec(file.name, file.id, model, tables)


def _tensors(file: ModelFile, prefix: str) -> dict[str, Tensor]:
    found = file.tensors().items()
    return {
        key.removeprefix(prefix): torch.from_numpy(
            np.array(array, array.dtype.newbyteorder("="), order="C")
        )
        for key, array in found
        if key.startswith(prefix)
    }


@contextmanager
def _refusing(file: ModelFile) -> Iterator[None]:
    """Turn what is wrong with a file's content into one line about the file."""
    if file.family != FAMILY:
        raise DataError(f"model '{file.name}': of family '{file.family}', not '{FAMILY}'")
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"model '{file.name}': not a model of family '{FAMILY}'") from error

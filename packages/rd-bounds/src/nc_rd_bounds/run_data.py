"""Which vectors a model is trained and evaluated on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nc_core.errors import DataError, NcError
from nc_core.model_file import ModelFile, read_model_file
from nc_core.models import RUN_MODEL
from nc_rd_bounds.honesty import held_out_note, same_data_note
from nc_rd_bounds.sources.vectors import (
    Source,
    evaluation_pair,
    open_evaluation,
    open_source,
)
from nc_rd_bounds.upper.config import UpperConfig

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_rd_bounds.lower.config import LowerConfig

__all__ = ["evaluation_source", "find_model", "training_sources"]


def training_sources(
    config: UpperConfig | LowerConfig, plugins: PluginManager
) -> tuple[Source, Source]:
    """Vectors for training and for validation.

    Raises:
        NcError: data that cannot be opened, or vectors of two shapes.
    """
    data = config.data
    pair = evaluation_pair(data.train, data.test, plugins, config.training.seed)
    if pair[0].dims != pair[1].dims:
        raise DataError(
            f"{pair[0].name} has vectors of {pair[0].dims} numbers, {pair[1].name} of "
            f"{pair[1].dims}"
        )
    return pair


def evaluation_source(
    config: UpperConfig | LowerConfig, dataset: str | None, plugins: PluginManager, seed: int
) -> tuple[Source, tuple[str, ...]]:
    """Vectors to evaluate a model on, and what a reader must know of them.

    Args:
        config: of the model's run.
        dataset: None for what the run was validated on. Rows that were held out of the training
            data are the same again; a sampler without end draws others for another seed, unless
            its name has one (``pinned_seed``).
        plugins: where names are looked up.
        seed: of samplers without end.

    Raises:
        NcError: data that cannot be opened.
    """
    if dataset is None:
        training, evaluation = training_sources(config, plugins)
        if evaluation.length is None:  # for another seed, other samples than those of validation
            data = config.data
            evaluation = evaluation_pair(data.train, data.test, plugins, seed)[1]
        if evaluation.held_out:
            return evaluation, (held_out_note(evaluation.name, evaluation.length or 0),)
        return evaluation, _notes(_leak(training, evaluation))
    source = open_evaluation(dataset, plugins, seed=seed)
    return source, _notes(_leak(_training_source(config, plugins), source))


def _training_source(config: UpperConfig | LowerConfig, plugins: PluginManager) -> Source | None:
    """What a run was trained on; None where it is no longer there."""
    data, seed = config.data, config.training.seed
    try:
        if data.test is not None:
            return open_source(data.train, plugins, seed=seed)
        return evaluation_pair(data.train, None, plugins, seed)[0]
    except NcError:
        return None


def _leak(training: Source | None, evaluation: Source) -> str | None:
    """A note where samples were both fitted and evaluated."""
    if training is None or training.origin != evaluation.origin:
        return None
    return same_data_note(training.name)


def find_model(path: Path) -> ModelFile:
    """The model file of a run directory, or the file itself.

    Raises:
        DataError: there is none, or it is damaged.
    """
    inside = path / RUN_MODEL
    if path.is_dir() and not inside.exists():
        raise DataError(f"{path}: no model yet", "train for longer, or resume the run (--resume)")
    return read_model_file(inside if path.is_dir() else path)


def _notes(*notes: str | None) -> tuple[str, ...]:
    return tuple(note for note in notes if note is not None)

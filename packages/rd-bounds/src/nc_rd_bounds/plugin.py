"""What this package provides to nc."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec, DatasetSpec, ModelSpec
from nc_rd_bounds.sources.specs import DATASETS, PAPER

_MODELS = (
    ModelSpec(
        name="rd-bounds-vae",
        summary="beta-VAEs of vectors; with a uniform posterior a codec (NTC)",
        target="nc_rd_bounds.upper.release:load",
        reference=PAPER,
        abilities=("lossy-model",),
    ),
    ModelSpec(
        name="rd-bounds-multiplier",
        summary="networks of lower bounds",
        target="nc_rd_bounds.lower.release:load",
        reference=PAPER,
    ),
)

_FILES = files("nc_rd_bounds").joinpath("recipes").iterdir()
_RECIPES = tuple(sorted(file.name.removesuffix(".yaml") for file in _FILES))

_COMMANDS = (
    CommandSpec(
        name="rd-bounds",
        summary="sandwich bounds on the rate-distortion function of a data source",
        target="nc_rd_bounds.cli:rd_bounds",
        reference=PAPER,
        recipes=_RECIPES,
    ),
)


@hookimpl
def nc_datasets() -> Iterable[DatasetSpec]:
    """Vector sources."""
    return DATASETS


@hookimpl
def nc_models() -> Iterable[ModelSpec]:
    """The model families of both bounds."""
    return _MODELS


@hookimpl
def nc_commands() -> Iterable[CommandSpec]:
    """``nc run rd-bounds``."""
    return _COMMANDS

"""The five hooks of the entry-point group ``nc``, and nothing else.

A plugin is a light module named by one entry point. It defines any of these functions,
marked with :data:`hookimpl`; each takes no argument and returns an iterable of frozen records
(:mod:`nc_core.specs`). Nothing heavy is imported until somebody loads a record's target.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from nc_core.specs import CoderSpec, CommandSpec, DatasetSpec, EvaluatorSpec, ModelSpec

__all__ = ["hookimpl", "nc_coders", "nc_commands", "nc_datasets", "nc_evaluators", "nc_models"]

hookspec = pluggy.HookspecMarker("nc")
hookimpl = pluggy.HookimplMarker("nc")


@hookspec
def nc_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Named sources of data."""


@hookspec
def nc_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Model families, with their pretrained members."""


@hookspec
def nc_coders() -> Iterable[CoderSpec]:  # type: ignore[empty-body]
    """Entropy coders."""


@hookspec
def nc_evaluators() -> Iterable[EvaluatorSpec]:  # type: ignore[empty-body]
    """Measurements of a model on a dataset."""


@hookspec
def nc_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Click commands mounted at ``nc run NAME``."""

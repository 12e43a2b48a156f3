"""What this package provides to nc.

Every ``nc --help`` and ``nc list`` imports this module, so it imports nothing heavy: a target
is a text, and is imported when somebody uses it.
"""

from __future__ import annotations

from collections.abc import Iterable

from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec, ModelSpec


@hookimpl
def nc_models() -> Iterable[ModelSpec]:
    """The family that model files name; ``pretrained`` would list the members you publish."""
    return [
        ModelSpec(
            name="my-plugin",
            summary="a histogram for every position of an image",
            target="nc_my_plugin.model:load",
            abilities=("lossless-model",),
        )
    ]


@hookimpl
def nc_commands() -> Iterable[CommandSpec]:
    """``nc run my-plugin``."""
    return [
        CommandSpec(
            name="my-plugin",
            summary="Lossless images by a histogram for every position",
            target="nc_my_plugin.cli:command",
            recipes=("mnist",),
        )
    ]

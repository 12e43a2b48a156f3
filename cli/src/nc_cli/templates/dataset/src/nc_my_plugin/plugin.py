"""What this package provides to nc.

Every ``nc --help`` and ``nc list`` imports this module, so it imports nothing heavy: a target
is a text, and is imported when somebody uses it.
"""

from __future__ import annotations

from collections.abc import Iterable

from nc_core.hookspecs import hookimpl
from nc_core.specs import DatasetSpec


@hookimpl
def nc_datasets() -> Iterable[DatasetSpec]:
    """``files`` would list official files, which ``nc data prepare`` brings and checks."""
    return [
        DatasetSpec(
            name="my-plugin",
            summary="grey images of plane waves, 32x32: 1000 train and 100 test",
            target="nc_my_plugin.dataset:open_waves",
            splits=("train", "test"),
            options={"seed": "of all images, an integer; default 0"},
            licence="choose one",
        )
    ]

"""What this package provides to nc.

Every ``nc --help`` and ``nc list`` imports this module, so it imports nothing heavy: a target
is a text, and is imported when somebody uses it.
"""

from __future__ import annotations

from collections.abc import Iterable

from nc_core.hookspecs import hookimpl
from nc_core.specs import CoderSpec


@hookimpl
def nc_coders() -> Iterable[CoderSpec]:
    """Coders of equal ``words`` decode each other's files; another format needs another name."""
    return [
        CoderSpec(
            name="my-plugin",
            summary="rANS in plain Python integers; for reading, not for speed",
            target="nc_my_plugin.coder:MyPluginCoder",
            words="rans-64-32",
        )
    ]

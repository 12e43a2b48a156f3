"""What authors of plugins test with: contracts, and the fixtures of a pytest plugin.

A contract is everything that the rest of nc relies on for one kind of thing. In a test module,
a subclass with a name runs all of it, one test per check:

    from nc_core.testing import ModelContract

    class TestMyModel(ModelContract):
        name = "my-model"

Without pytest, ``nc plugin check`` and :func:`nc_core.testing.suite.check_plugin` run the same
checks on whatever is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nc_core.testing.contract import ContractError, NotCheckedError
    from nc_core.testing.distributions import write_distribution
    from nc_core.testing.guard import nothing_leaks
    from nc_core.testing.pytest_contracts import (
        CoderContract,
        CommandContract,
        DatasetContract,
        EvaluatorContract,
        ModelContract,
        PluginContract,
    )

__all__ = [
    "CoderContract",
    "CommandContract",
    "ContractError",
    "DatasetContract",
    "EvaluatorContract",
    "ModelContract",
    "NotCheckedError",
    "PluginContract",
    "nothing_leaks",
    "write_distribution",
]

_HOMES = {
    "ContractError": "contract",
    "NotCheckedError": "contract",
    "nothing_leaks": "guard",
    "write_distribution": "distributions",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: contract classes need pytest, the rest not."""
    if name not in __all__:
        raise AttributeError(f"module 'nc_core.testing' has no attribute {name!r}")
    import importlib

    home = _HOMES.get(name, "pytest_contracts")
    return getattr(importlib.import_module(f"nc_core.testing.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""The contracts as pytest classes: subclass one, name the thing, and every check is a test.

A test of a contract is never left out in silence: a subclass that overrides one must mark it as
an expected failure with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import pytest

from nc_core.models import installed
from nc_core.testing.contract import Check, NotCheckedError
from nc_core.testing.contracts import CONTRACTS
from nc_core.testing.guard import nothing_leaks

__all__ = [
    "CoderContract",
    "CommandContract",
    "DatasetContract",
    "EvaluatorContract",
    "ModelContract",
    "PluginContract",
]

_Class = TypeVar("_Class", bound=type["_Contract"])


class _Contract:
    """What the contracts have in common: a named subject, and a guard around every test.

    A fixture ``location`` in a subclass takes the place of ``name`` where that is known only
    when the tests run (a model file, a folder of images).
    """

    name: ClassVar[str] = ""
    _kind: ClassVar[str]
    _tests: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for test in cls._tests & cls.__dict__.keys():
            marks = getattr(cls.__dict__[test], "pytestmark", [])
            if not any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks):
                raise TypeError(
                    f"{cls.__name__}.{test} overrides a test of the contract: "
                    "mark it with pytest.mark.xfail(reason=...)"
                )

    @pytest.fixture(scope="class")
    @classmethod
    def location(cls) -> str:
        """What is checked: a name as users type it, or for a model also a path."""
        assert cls.name, "give the class a name, or a fixture 'location'"
        return cls.name

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, location: str) -> Iterator[Any]:
        """What the checks are called with: one of everything that is installed."""
        try:
            opened = CONTRACTS[cls._kind].subject(location, installed(), **cls._settings())
        except NotCheckedError as error:
            pytest.skip(str(error))
        with opened as subject:
            yield subject

    @pytest.fixture(autouse=True)
    def _guard(self, subject: object) -> Iterator[None]:
        with nothing_leaks():
            yield

    @classmethod
    def _settings(cls) -> dict[str, Any]:
        """What a subclass says of its subject beside the name."""
        return {}


def _contract(kind: str) -> Callable[[_Class], _Class]:
    """Give a class one test per check of a kind."""

    def fill(cls: _Class) -> _Class:
        cls._kind = kind
        tests = {f"test_{check.__name__}": _test(check) for check in CONTRACTS[kind].checks}
        for name, test in tests.items():
            setattr(cls, name, test)
        cls._tests = frozenset(tests)
        return cls

    return fill


def _test(check: Check) -> Callable[..., None]:
    def test(self: _Contract, subject: object) -> None:
        try:
            check(subject)
        except NotCheckedError as error:
            pytest.skip(str(error))

    test.__name__ = f"test_{check.__name__}"
    test.__doc__ = check.__doc__
    return test


@_contract("plugin")
class PluginContract(_Contract):
    """A plugin: it loads light, and all of its records are valid and can be loaded.

    ``name`` is that of the distribution (``nc-bitswap``) or of the entry point (``bitswap``).
    """


@_contract("dataset")
class DatasetContract(_Contract):
    """A dataset: items are as it declares them, the same each time.

    ``name`` as users type it, with a split: ``my-digits:test``.
    """


@_contract("model")
class ModelContract(_Contract):
    """A lossless model: exact, honest about its bits, the same everywhere.

    ``name`` is that of a pretrained model, or the path of a model file or run directory.
    """


@_contract("coder")
class CoderContract(_Contract):
    """An entropy coder: exact, close to the ideal code length, and it never invents bits."""


@_contract("evaluator")
class EvaluatorContract(_Contract):
    """An evaluator: it returns the metrics that it declares.

    ``model`` and ``dataset`` are names of what to measure; by default the first installed model
    that can be measured, on four small images.
    """

    model: ClassVar[str | None] = None
    dataset: ClassVar[str | None] = None

    @classmethod
    def _settings(cls) -> dict[str, Any]:
        return {"model": cls.model, "dataset": cls.dataset}


@_contract("command")
class CommandContract(_Contract):
    """The commands of a paper: quick help, a help text for everything, usage errors."""

"""What a contract is made of: checks, and the two ways in which one does not pass."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from nc_core.errors import NcError
from nc_core.plugins import PluginManager

__all__ = [
    "Check", "ContractError", "NotCheckedError", "Subject", "require", "sentence", "told",
    "told_to_user",
]  # fmt: skip

Check = Callable[[Any], None]
"""A function of a subject, named and described by a sentence; it returns or raises."""


class ContractError(AssertionError):
    """A contract does not hold: what was expected, what happened, and on which input."""


class NotCheckedError(Exception):
    """A check cannot run here; the text says what is missing. Nothing is known to be wrong."""


class Subject:
    """What the checks of a contract are about; a context manager that owns a temporary folder.

    Args:
        manager: where names are looked up.
    """

    def __init__(self, manager: PluginManager) -> None:
        self.manager = manager
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def folder(self) -> Path:
        """For files of the checks; it goes when the subject goes."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nc-contract-")))


def require(holds: bool, message: str) -> None:
    """Fail with a message unless something holds.

    Raises:
        ContractError: it does not.
    """
    if not holds:
        raise ContractError(message)


def sentence(check: Check) -> str:
    """What a check says, in plain words: the first line of its docstring."""
    return (check.__doc__ or check.__name__.replace("_", " ")).partition("\n")[0].rstrip(".")


def told(error: BaseException) -> str:
    """An exception in one line: ``ValueError: no such symbol``."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].removesuffix(": ")


def told_to_user(error: NcError) -> str:
    """An error for users and its hint, in one line."""
    return error.message if error.hint is None else f"{error.message} ({error.hint})"

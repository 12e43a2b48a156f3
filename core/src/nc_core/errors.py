"""Every error that a user can cause: one sentence, and the exit code that belongs to it."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

__all__ = [
    "CorruptFileError",
    "DataError",
    "ExitCode",
    "InterruptedWorkError",
    "MissingDependencyError",
    "NcError",
    "PartlyRestoredError",
    "PluginError",
    "UsageError",
    "WorkError",
]


class ExitCode(IntEnum):
    """Exit codes of the command line; scripts may rely on them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PLUGIN = 3
    DATA = 4
    CORRUPT = 5
    INTERRUPTED = 130


class NcError(Exception):
    """Base of all errors with a message for the user.

    Args:
        message: what happened, to which file or name; no trailing full stop needed.
        hint: what to do about it, or None.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class WorkError(NcError):
    """The work itself failed: a mismatch after decoding, a diverged run."""


class UsageError(NcError):
    """The request makes no sense: an unknown option value, an impossible combination."""

    exit_code = ExitCode.USAGE


class PluginError(NcError):
    """A plugin is unknown, broken or ambiguous."""

    exit_code = ExitCode.PLUGIN


class MissingDependencyError(PluginError):
    """An optional dependency is not installed; the hint holds the pip line that brings it."""


class DataError(NcError):
    """Input or data is missing, unreadable, unsupported or of wrong checksum."""

    exit_code = ExitCode.DATA


class CorruptFileError(NcError):
    """A compressed file is damaged, truncated, of another version or of another model."""

    exit_code = ExitCode.CORRUPT


class PartlyRestoredError(CorruptFileError):
    """Items of a damaged file are lost, and the others were restored.

    Args:
        message, hint: as of every error.
        lost: indices of the lost items.
        paths: the files that were written.
    """

    def __init__(self, message: str, hint: str | None, lost: list[int], paths: list[Path]) -> None:
        super().__init__(message, hint)
        self.lost = lost
        self.paths = paths


class InterruptedWorkError(NcError):
    """Stopped by the user with the state saved; the hint says how to go on."""

    exit_code = ExitCode.INTERRUPTED

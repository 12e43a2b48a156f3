"""Errors as the user reads them: what happened, what to do, and the exit code."""

from __future__ import annotations

import re
from dataclasses import dataclass

import click

from nc_core.errors import ExitCode, InterruptedWorkError, NcError

__all__ = ["Report", "explain"]

_OPTIONAL = re.compile(r"'\[([A-Z]+)\](?:\.\.\.)?'")  # an argument as usage lines show it


@dataclass(frozen=True)
class Report:
    """The end of a program that did not do its work."""

    message: str
    hint: str | None
    exit_code: int

    def __str__(self) -> str:
        return f"nc: {self.message}" + (f"\n{self.hint}" if self.hint else "")


def explain(error: BaseException) -> Report:
    """What to tell the user about an error.

    An interruption is explained by what the interrupted command says about it: the argument of
    its ``KeyboardInterrupt``, or notes added to it (how to resume).
    """
    if isinstance(error, InterruptedWorkError):  # the user's wish, not an error
        return Report(error.message, error.hint, error.exit_code)
    if isinstance(error, NcError):
        return Report(f"error: {error.message}", error.hint, error.exit_code)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return _interruption(error)
    if isinstance(error, click.ClickException):
        return _usage_error(error)
    hint = "run the command again with --debug to see where it comes from"
    if isinstance(error, OSError) and error.filename is not None:
        from nc_core.files import describe_os_error

        return explain(describe_os_error(error, error.filename))
    if isinstance(error, OSError) and error.strerror:  # a full disk, a lost connection
        return Report(f"error: {_lower_first(error.strerror)}", hint, ExitCode.FAILED)
    if isinstance(error, MemoryError):
        return Report("error: not enough memory", _first_line(error) or None, ExitCode.FAILED)
    what = f"{type(error).__name__}: {_first_line(error)}".removesuffix(": ")
    return Report(f"error: unexpected {what}", hint, ExitCode.FAILED)


def _interruption(error: BaseException) -> Report:
    """Interrupted by the user; click wraps the exception that says more."""
    stop = error.__cause__ or error
    notes = [str(stop), *getattr(stop, "__notes__", ())]
    hint = "\n".join(note for note in notes if note)
    return Report("interrupted", hint or None, ExitCode.INTERRUPTED)


def _usage_error(error: click.ClickException) -> Report:
    """What click found wrong in the command line, in our form."""
    message = " ".join(error.format_message().split()).removesuffix(".")
    message = _OPTIONAL.sub(r"\1", message)
    message = f"error: {_lower_first(message)}"
    if isinstance(error, click.FileError):
        return Report(message, None, ExitCode.DATA)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"see '{error.ctx.command_path} --help'"
        if isinstance(error, click.NoSuchOption) and error.option_name == "--plugin":
            hint = "it stands before the command: nc --plugin FILE.py COMMAND ..."
        return Report(message, hint, ExitCode.USAGE)
    return Report(message, None, error.exit_code)


def _first_line(error: BaseException) -> str:
    """The first line of what an exception says."""
    return str(error).partition("\n")[0]


def _lower_first(text: str) -> str:
    """The text as it continues a sentence."""
    return text[:1].lower() + text[1:]

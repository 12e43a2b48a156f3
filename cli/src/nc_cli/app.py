"""The root command, and how errors end the program.

Every error that a user can cause ends in one or two lines on standard error and an exit code of
:class:`nc_core.errors.ExitCode`; a traceback is shown only with ``--debug``.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

import click

import nc_core
from nc_cli import __version__
from nc_cli.lazy import Entry, LazyGroup
from nc_cli.options import common_options, examples, plugin_files
from nc_cli.session import Session, current_session
from nc_core.command_line.console import warn
from nc_core.errors import ExitCode, NcError, UsageError

__all__ = ["Application", "main", "root"]


def _entry(module: str, summary: str, section: str) -> Entry:
    return Entry(f"nc_cli.commands.{module}:command", summary, section)


_COMMANDS = {
    "compress": _entry("compress", "Compress images or a dataset into one .ncz file.", "Files"),
    "decompress": _entry("decompress", "Restore what a compressed file holds.", "Files"),
    "info": _entry("info", "Describe a compressed file, a dataset or a model.", "Files"),
    "eval": _entry("evaluate", "Measure a model on a dataset.", "Measurements"),
    "compare": _entry("compare", "Compare models with classical lossless codecs.", "Measurements"),
    "sweep": _entry("sweep", "Run a command at every point of a grid.", "Measurements"),
    "data": _entry("data", "Download and check datasets.", "Data"),
    "list": _entry(
        "list",
        "List datasets, models, coders, evaluators, papers and recipes.",
        "Papers and plugins",
    ),
    "run": _entry("run", "Run the commands of a paper.", "Papers and plugins"),
    "plugin": _entry("plugin", "Show, check and write plugins.", "Papers and plugins"),
    "doctor": _entry(
        "doctor", "Find out what is wrong with this installation.", "Papers and plugins"
    ),
}
# A group without a subcommand; click before 8.2 prints the help and ends well.
_HELP_WANTED: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())


class Application(LazyGroup):
    """The root group: it turns errors into messages and exit codes."""

    def main(self, *args: Any, standalone_mode: bool = True, **settings: Any) -> Any:
        """Run a command line and exit; arguments are those of :meth:`click.Command.main`.

        An unexpected exception is not caught here: :func:`main` shortens what is printed of it,
        and tests see it whole.
        """
        if not standalone_mode:
            return self._run(*args, **settings)
        session = settings.setdefault("obj", Session())
        arguments = args[0] if args else settings.get("args")
        session.debug = session.debug or "--debug" in (
            sys.argv[1:] if arguments is None else arguments
        )
        try:
            code = self._run(*args, **settings)
        except _HELP_WANTED as error:
            error.show()
            code = ExitCode.USAGE
        except click.Abort as error:
            if isinstance(error.__cause__, EOFError):  # click takes it for an interruption
                raise error.__cause__ from None
            code = _report(error, session.debug)
        except (NcError, click.ClickException, OSError) as error:
            code = _report(error, session.debug)
            _drop_output_that_cannot_be_written()
        sys.exit(code)

    def _run(self, *args: Any, **settings: Any) -> Any:
        """Run a command line; errors come out as exceptions."""
        run: Callable[..., Any] = super().main
        return run(*args, standalone_mode=False, **settings)

    def invoke(self, ctx: click.Context) -> int:
        """Run the command; a closed pipe is noticed while click still handles it."""
        super().invoke(ctx)
        sys.stdout.flush()
        return ExitCode.DONE

    def unknown_command(self, ctx: click.Context, name: str) -> Exception:
        """The error for an unknown name, which may be that of a paper."""
        from nc_core.specs import CommandSpec

        if any(paper.name == name for paper in current_session(ctx).plugins.specs(CommandSpec)):
            return UsageError(f"no such command '{name}'", f"did you mean 'nc run {name}'?")
        return super().unknown_command(ctx, name)


@click.command(
    "nc",
    cls=Application,
    entries=_COMMANDS,
    params=[plugin_files(), *common_options()],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "nc compress photo.png            # writes photo.png.ncz, and verifies it",
        "nc decompress photo.png.ncz -o restored",
        "nc list",
    ),
)
@click.version_option(
    __version__,
    message=f"nc {__version__} (nc-core {nc_core.__version__}, Python {sys.version.split()[0]})",
)
def root() -> None:
    """A laboratory for neural compression.

    Compressed files decode on any machine to the same samples, and the rates that are printed
    are the sizes of the files.
    """


def main() -> None:
    """Entry point of the console scripts, and the owner of the process.

    It replaces how Python prints warnings and uncaught exceptions (one line, no code), and the
    standard streams that a caller has closed.
    """
    session = Session()

    def show_exception(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        _report(error, session.debug)

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        warn(str(message))

    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.excepthook = show_exception
    warnings.showwarning = show_warning
    root.main(obj=session)


def _drop_output_that_cannot_be_written() -> None:
    """Keep Python from trying again at exit, which would end in exit code 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _report(error: BaseException, debug: bool) -> int:
    """Print what the user should read about an error; return the exit code."""
    if debug:
        import traceback

        traceback.print_exception(error)
    from nc_cli.reporting import explain

    report = explain(error)
    click.echo(str(report), err=True)
    return report.exit_code

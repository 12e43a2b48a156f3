"""Options that mean the same in every command: one spelling, one help text, one default.

Each function returns a decorator: ``@options.seed()`` passes ``seed`` to the command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nc_cli.session import Session, current_session
from nc_core.command_line.console import log_to_stderr
from nc_core.command_line.options import (
    FilePath,
    coding,
    examples,
    force,
    json_output,
    limit,
    out,
    seed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

__all__ = [
    "FilePath",
    "coder",
    "coding",
    "common_options",
    "dataset",
    "dataset_name",
    "examples",
    "force",
    "inputs",
    "json_output",
    "limit",
    "model",
    "order",
    "out",
    "plugin_files",
    "seed",
    "threads",
    "usable_cores",
    "verify",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def threads() -> Callable[[_Command], _Command]:
    """``--threads``, passed as ``threads: int``; the number of usable cores by default."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=usable_cores,
        show_default="all cores",
        metavar="N",
        help="Number of workers; it cannot change the result.",
    )


def inputs() -> Callable[[_Command], _Command]:
    """The arguments ``[INPUT]...``, passed as ``inputs: tuple[Path, ...]``."""
    return click.argument("inputs", metavar="[INPUT]...", nargs=-1, type=FilePath())


def verify() -> Callable[[_Command], _Command]:
    """``--verify/--no-verify``, passed as ``verify: bool``."""
    return click.option(
        "--verify/--no-verify",
        default=True,
        show_default=True,
        help="Decode the result and compare it with the input before reporting success.",
    )


def model(
    default: str | None = None, *, required: bool = False, help_text: str | None = None
) -> Callable[[_Command], _Command]:
    """``--model``, passed as ``model: str | None``."""
    return click.option(
        "--model",
        default=default,
        show_default=default is not None,
        required=required,
        metavar="NAME|PATH",
        shell_complete=_complete(_model_names),
        help=help_text
        or "Model to use: a name ('nc list models' shows them), a model file or a run directory.",
    )


def coder(default: str | None = None) -> Callable[[_Command], _Command]:
    """``--coder``, passed as ``coder: str | None``."""
    return click.option(
        "--coder",
        default=default,
        show_default=default is not None,
        metavar="NAME",
        shell_complete=_complete(_coder_names),
        help="Entropy coder to use; 'nc list coders' shows them.",
    )


def order() -> Callable[[_Command], _Command]:
    """``--order``, passed as ``order: str | None``; None is the model's own."""
    return click.option(
        "--order",
        type=click.Choice(["bit-swap", "bb-ans"]),
        show_default="the model's own",
        help="Order of bits-back coding, where a model has both; bb-ans borrows more bits.",
    )


def dataset(*, required: bool = False) -> Callable[[_Command], _Command]:
    """``--dataset``, passed as ``dataset: str | None``."""
    return click.option(
        "--dataset",
        required=required,
        metavar="NAME[:SPLIT]",
        shell_complete=_complete(_dataset_names),
        help="Dataset to use; 'nc list datasets' shows them and their splits.",
    )


def dataset_name() -> Callable[[_Command], _Command]:
    """The argument NAME, passed as ``name: str``: a dataset that has official files."""
    return click.argument("name", metavar="NAME", shell_complete=_complete(_official_names))


def common_options() -> list[click.Option]:
    """New ``-v`` and ``--debug`` options, which every command takes and none receives."""
    return [
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_be_verbose,
            help="Log to standard error what is being done; -vv logs details.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,  # the application looks for it, before anything is parsed
            help="Show the traceback of an error.",
        ),
    ]


def plugin_files() -> click.Option:
    """``--plugin`` of the root command: the session loads the files when it looks for plugins."""
    return click.Option(
        ["--plugin"],
        multiple=True,
        type=FilePath(),
        metavar="FILE.py",
        expose_value=False,
        callback=_add_plugin_files,
        help="Load a plugin that is one file as well; may be repeated.",
    )


def _add_plugin_files(
    context: click.Context, parameter: click.Parameter, files: tuple[Path, ...]
) -> None:
    """Hand the files to the session.

    Raises:
        PluginError: one is not there.
    """
    for file in files:
        if not file.is_file():
            from nc_core.errors import PluginError

            raise PluginError(f"--plugin {file}: no such file")
        current_session(context).add_plugin_file(file)


def _be_verbose(context: click.Context, parameter: click.Parameter, count: int) -> int:
    """Show log messages from here to the end of the invocation."""
    session = current_session(context)
    if count and not session.verbosity:
        session.verbosity = count
        context.find_root().with_resource(log_to_stderr(count))
    return count


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _complete(
    names: Callable[[Session], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[str | CompletionItem]]:
    """Completion of a value among names that plugins provide."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[str | CompletionItem]:
        found = sorted(set(names(current_session(context))))
        return [name for name in found if name.startswith(incomplete)]

    return complete


def _model_names(session: Session) -> Iterable[str]:
    from nc_core.specs import ModelSpec

    return (m.name for family in session.plugins.specs(ModelSpec) for m in family.pretrained)


def _coder_names(session: Session) -> Iterable[str]:
    from nc_core.specs import CoderSpec

    return (spec.name for spec in session.plugins.specs(CoderSpec))


def _dataset_names(session: Session) -> Iterable[str]:
    from nc_core.specs import DatasetSpec

    return (spec.name for spec in session.plugins.specs(DatasetSpec))


def _official_names(session: Session) -> Iterable[str]:
    from nc_core.specs import DatasetSpec

    datasets = session.plugins.specs(DatasetSpec)
    return (spec.name for spec in datasets if spec.files or spec.converter)

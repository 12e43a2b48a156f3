"""Options that mean the same in every command: one spelling, one help text, one default.

Each function returns a decorator: ``@options.seed()`` passes ``seed`` to the command. For ``nc``
itself and for the commands of papers; needs click, which whoever has commands depends on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = [
    "FilePath",
    "all_of",
    "coding",
    "device",
    "examples",
    "force",
    "json_output",
    "limit",
    "loggers",
    "model",
    "out",
    "overrides_of",
    "plugins_of",
    "recipe",
    "resume",
    "seed",
    "torch_threads",
    "training_run",
]

_NO_OVERRIDES = frozenset(
    ("as_json", "device", "devices", "force", "loggers", "out", "resume", "threads")
)

# What every generator of random numbers takes.
_LARGEST_SEED = 2**63 - 1

_Command = TypeVar("_Command", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """An epilog that ends a help page with commands that work as they stand."""
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])


def json_output() -> Callable[[_Command], _Command]:
    """``--json``, passed as ``as_json: bool``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
    )


def force() -> Callable[[_Command], _Command]:
    """``--force``, passed as ``force: bool``."""
    return click.option("--force", is_flag=True, help="Replace files that exist.")


def coding() -> Callable[[_Command], _Command]:
    """``--coding``, passed as ``coding: dict[str, str]``."""
    return click.option(
        "--coding",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_coding,
        help="Tell the model how to code, where it leaves a choice; may be repeated.",
    )


def seed(default: int = 0) -> Callable[[_Command], _Command]:
    """``--seed``, passed as ``seed: int``."""
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        callback=_seed,
        default=default,
        show_default=True,
        metavar="N",
        help="Seed of every random choice: the same seed gives the same result.",
    )


def limit() -> Callable[[_Command], _Command]:
    """``--limit``, passed as ``limit: int | None``."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1),
        show_default="all",
        metavar="N",
        help="Use only the first N items of the dataset.",
    )


def out(metavar: str, help_text: str, *, required: bool = False) -> Callable[[_Command], _Command]:
    """``-o/--out``, passed as ``out: Path | None``; commands may read ``-`` as standard output."""
    return click.option(
        "-o",
        "--out",
        type=FilePath(),
        required=required,
        metavar=metavar,
        help=help_text,
    )


class FilePath(click.Path):
    """A path; an empty one, which would mean the current folder, is refused.

    That a file cannot be read is left to whoever opens it: an error of data, not of usage.
    """

    def __init__(self, *, dir_okay: bool = True) -> None:
        from pathlib import Path

        super().__init__(path_type=Path, readable=False, allow_dash=True, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, as :class:`click.Path` makes it."""
        if value == "":
            self.fail("an empty path", param, ctx)
        return super().convert(value, param, ctx)


def model(help_text: str, default: str | None = None) -> Callable[[_Command], _Command]:
    """``--model``, passed as ``model: str``; required where it has no default."""
    return click.option(
        "--model",
        default=default,
        required=default is None,
        show_default=default is not None,
        metavar="NAME",
        help=f"{help_text}: a registered name, a model file or a run directory.",
    )


def recipe(default: str | None, example: str) -> Callable[[_Command], _Command]:
    """``--recipe`` and ``--set``, passed as ``recipe: str`` and ``settings: tuple[str, ...]``.

    Args:
        default: name of the recipe; None: the option is required.
        example: of a setting, for the help text (``model.hidden=32``).
    """
    return all_of(
        click.option(
            "--recipe",
            metavar="NAME",
            default=default,
            required=default is None,
            show_default=default is not None,
            help="Recipe of this package ('nc list recipes'), or the path of a YAML file.",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            help=f"Change a setting of the recipe, such as {example}; may be repeated.",
        ),
    )


def resume() -> Callable[[_Command], _Command]:
    """``--resume``, passed as ``resume: bool``."""
    return click.option(
        "--resume", is_flag=True, help="Go on with the run that is in the directory."
    )


def device() -> Callable[[_Command], _Command]:
    """``--device``, passed as ``device: str``: ``cpu``, ``cuda``, ``mps`` or ``auto``."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="KIND",
        help="cpu, cuda, mps or auto.",
    )


def torch_threads(
    help_text: str = "Threads of torch on the CPU.",
) -> Callable[[_Command], _Command]:
    """``--threads``, passed as ``threads: int | None``; None leaves torch's own number."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="torch's own",
        help=help_text,
    )


def loggers() -> Callable[[_Command], _Command]:
    """``--logger``, passed as ``loggers: tuple[str, ...]``."""
    return click.option(
        "--logger",
        "loggers",
        multiple=True,
        type=click.Choice(["tensorboard", "wandb"]),
        help="Report to this one as well; may be repeated.",
    )


def training_run(help_text: str) -> Callable[[_Command], _Command]:
    """A long run: its directory, what it computes on, and whether it goes on.

    ``--out``, ``--device``, ``--devices``, ``--threads``, ``--logger``, ``--resume`` and
    ``--force``, passed as ``out: Path | None``, ``device: str``, ``devices: int | None``,
    ``threads: int | None``, ``loggers: tuple[str, ...]``, ``resume: bool`` and ``force: bool``.

    Args:
        help_text: of ``--out``.
    """
    return all_of(
        out("DIR", help_text),
        device(),
        click.option(
            "--devices",
            type=click.IntRange(min=1),
            metavar="N",
            help="Processes on this machine, one per device.",
        ),
        torch_threads(),
        loggers(),
        resume(),
        force(),
    )


def plugins_of(context: click.Context) -> PluginManager:
    """The application's plugin manager, or one of what is installed."""
    manager: PluginManager | None = getattr(context.obj, "plugins", None)
    if manager is None:
        from nc_core.models import installed

        return installed()
    return manager


def overrides_of(context: click.Context) -> list[str]:
    """What the command line says, each as ``NAME=VALUE``, but for where to compute and to write."""
    from click.core import ParameterSource

    found: list[str] = []
    for name, value in context.params.items():
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name == "settings":
            found += value
        elif given and isinstance(value, dict):
            found += [f"{name}.{key}={one}" for key, one in value.items()]
        elif given and name not in _NO_OVERRIDES:
            found.append(f"{name}={','.join(map(str, value)) if type(value) is tuple else value}")
    return found


def all_of(*decorators: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator; help shows them in this order."""

    def decorate(command: _Command) -> _Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def _seed(context: click.Context, parameter: click.Parameter, value: int) -> int:
    if value > _LARGEST_SEED:
        raise click.BadParameter(f"{value} is larger than {_LARGEST_SEED}", context, parameter)
    return value


def _coding(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    options: dict[str, str] = {}
    for text in values:
        key, _, value = text.partition("=")
        if not (key and value):
            raise click.BadParameter(f"'{text}' is not KEY=VALUE", context, parameter)
        if key in options:
            raise click.BadParameter(f"'{key}' is given twice", context, parameter)
        options[key] = value
    return options

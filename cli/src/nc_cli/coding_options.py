"""A paper's own options of ``compress`` for what its model can be told, beside ``--coding``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import click

from nc_core.errors import PluginError, UsageError
from nc_core.specs import CodingOption

__all__ = ["with_coding_options"]


def with_coding_options(
    command: click.Command, options: Sequence[CodingOption], path: str
) -> click.Command:
    """A copy of a command that takes ``--coding`` and has these options before it.

    Args:
        command: its callback receives ``coding``, a dict.
        options: what else gives an item of it.
        path: of the command, for errors.

    Raises:
        PluginError: an option that the command has already.
    """
    taken = {spelling for param in command.params for spelling in (*param.opts, "--help")}
    for option in options:
        if f"--{option.name}" in taken:
            raise PluginError(f"{path}: coding option --{option.name} is an option of it already")
    extended = copy.copy(command)
    first = [param.name for param in command.params].index("coding")
    added = [_click_option(option) for option in options]
    extended.params = [*command.params[:first], *added, *command.params[first:]]

    def run(coding: dict[str, str], **arguments: Any) -> Any:
        values = {option: arguments.pop(_parameter(option)) for option in options}
        assert command.callback is not None
        return command.callback(coding=_together(coding, values), **arguments)

    extended.callback = run
    return extended


def _together(coding: dict[str, str], values: dict[CodingOption, Any]) -> dict[str, str]:
    """What ``--coding`` says and what the other options say; None where one was not given."""
    together = dict(coding)
    spelling = {key: f"--coding {key}=..." for key in coding}
    for option, value in values.items():
        if value is None:
            continue
        if option.key in together:
            raise UsageError(
                f"--{option.name} and {spelling[option.key]} are one option of the model, "
                f"'{option.key}'",
                "give one of them",
            )
        together[option.key] = str(value)
        spelling[option.key] = f"--{option.name}"
    return together


def _click_option(option: CodingOption) -> click.Option:
    kind = click.IntRange(min=option.minimum) if option.kind == "int" else click.STRING
    return click.Option(
        [f"--{option.name}", _parameter(option)],
        type=kind,
        metavar=option.metavar,
        help=option.summary,
    )


def _parameter(option: CodingOption) -> str:
    return f"coding_{option.name.replace('-', '_')}"

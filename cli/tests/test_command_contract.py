"""The contract of commands catches what breaks it, and says so in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nc_core.plugins import PluginManager
from nc_core.testing import ContractError
from nc_core.testing.contracts import CONTRACTS

PLUGIN = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec

@hookimpl
def nc_commands():
    target = "wrong_cli:command"
    return [CommandSpec(name="wrong", summary="wrong", target=target, recipes=("not-there",))]
"""
EAGER = """
import click, {module}

@click.group()
def command():
    "Trains."
"""
LATE = """
import click

class Late(click.Group):
    def get_command(self, context, name):
        import numpy
        return super().get_command(context, name)

@click.group(cls=Late)
def command():
    "Trains."

@command.command()
def train():
    "Trains."
"""
SILENT = """
import click

@click.group()
def command():
    "Trains."

@command.command(context_settings={"ignore_unknown_options": True})
@click.option("--how_many", type=int)
@click.argument("rest", nargs=-1)
def train(how_many, rest):
    ""
"""

Check = Callable[[str, str], str]


@pytest.fixture
def complaint(nc_distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Check:
    """A function that gives what a check says of a command with that source."""

    def say(source: str, check: str) -> str:
        modules = {"wrong_plugin": PLUGIN, "wrong_cli": source}
        nc_distribution("nc-wrong", modules, {"wrong": "wrong_plugin"})
        monkeypatch.setenv("NC_PLUGINS", "nc-wrong")
        manager = PluginManager()
        manager.discover()
        contract = CONTRACTS["command"]
        (function,) = (found for found in contract.checks if found.__name__ == check)
        with contract.subject("wrong", manager) as subject, pytest.raises(ContractError) as caught:
            function(subject)
        return str(caught.value)

    return say


@pytest.mark.parametrize(
    ("source", "heavy"),
    [
        (EAGER.format(module="numpy"), "numpy"),
        (EAGER.format(module="PIL.Image"), "PIL"),
        (LATE, "numpy"),
    ],
)
def test_a_heavy_import_for_help_is_caught(complaint: Check, source: str, heavy: str) -> None:
    assert complaint(source, "help_imports_nothing_heavy") == (
        f"'nc run wrong --help' imports {heavy}; import that inside the function of the command"
    )


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (
            "every_command_says_what_it_does",
            "'nc run wrong train' has no help text",
        ),
        (
            "every_option_has_a_help_text",
            "option --how_many of 'nc run wrong train' has no help text",
        ),
        (
            "options_are_in_kebab_case",
            "option --how_many of 'nc run wrong train' is not in kebab-case",
        ),
        (
            "wrong_usage_ends_with_exit_code_2",
            "'nc run wrong train --no-such-option' ends with exit code 0, not 2",
        ),
        (
            "its_recipes_are_in_the_package",
            "recipe 'not-there' is declared, but package wrong_cli has no recipes/not-there.yaml",
        ),
    ],
)
def test_a_wrong_command_is_caught(complaint: Check, check: str, words: str) -> None:
    assert complaint(SILENT, check) == words


def test_something_else_than_a_command_is_caught(complaint: Check) -> None:
    assert complaint("command = print", "it_is_a_click_command") == (
        "wrong_cli:command is a builtin_function_or_method, not a click command"
    )

"""Lazy groups: summaries without imports, and errors that say what is wrong."""

from __future__ import annotations

import sys

import click
import pytest
from click.testing import CliRunner

from nc_cli.lazy import Entry, LazyGroup, with_common_options
from nc_core.errors import PluginError


def group(**targets: str) -> LazyGroup:
    entries = {name: Entry(target, f"What {name} does.") for name, target in targets.items()}
    return LazyGroup(name="tool", entries=entries)


def test_help_shows_summaries_without_importing() -> None:
    result = CliRunner().invoke(
        group(zeta="not_there:command", alpha="not_there:other"), ["--help"]
    )
    assert result.exit_code == 0
    assert result.stdout.index("zeta") < result.stdout.index("What alpha does.")
    assert "not_there" not in sys.modules


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("not_there:command", "cannot be imported: No module named 'not_there'"),
        ("nc_cli.lazy:missing", "cannot be imported: module 'nc_cli.lazy' has no attribute"),
        ("nc_cli.lazy:Entry", "is not a click command"),
    ],
)
def test_a_command_that_cannot_be_loaded_is_a_plugin_error(target: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        group(broken=target).main(["broken"], standalone_mode=False)


def test_a_misspelt_command_gets_a_suggestion_from_the_table() -> None:
    result = CliRunner().invoke(group(measure="not_there:command"), ["mesure"])
    assert result.exit_code == 2
    assert "no such command 'mesure'; did you mean 'measure'?" in result.stderr


def test_an_option_of_a_paper_takes_away_only_its_own_spelling() -> None:
    own = click.Option(["--verbose"], is_flag=True)
    extended = with_common_options(click.Command("own", params=[own]))
    assert [option.opts for option in extended.params] == [["--verbose"], ["-v"], ["--debug"]]


def test_common_options_are_added_to_copies_only() -> None:
    inner = click.Command("inner")
    outer = click.Group("outer", commands={"inner": inner})
    extended = with_common_options(outer)
    assert isinstance(extended, click.Group)
    assert (outer.params, inner.params) == ([], [])
    for command in (extended, extended.commands["inner"]):
        assert [spelling for o in command.params for spelling in o.opts] == [
            "-v",
            "--verbose",
            "--debug",
        ]

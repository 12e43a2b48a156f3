"""Options that mean the same everywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from nc_cli import options
from nc_core.command_line.options import overrides_of


def values(*arguments: str, **decorators: Any) -> dict[str, Any]:
    """What a command with all options receives."""
    received: dict[str, Any] = {}

    def command(**given: Any) -> None:
        received.update(given)

    for option in (
        options.json_output(),
        options.force(),
        options.seed(),
        options.threads(),
        options.limit(),
        options.out("FILE", "File to write."),
        options.verify(),
        options.model("predictive"),
        options.coder(),
        options.dataset(),
    ):
        command = option(command)
    result = CliRunner().invoke(click.command()(command), list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return received


def test_defaults() -> None:
    assert values() == {
        "as_json": False,
        "force": False,
        "seed": 0,
        "threads": len(os.sched_getaffinity(0)),
        "limit": None,
        "out": None,
        "verify": True,
        "model": "predictive",
        "coder": None,
        "dataset": None,
    }


def test_values() -> None:
    arguments = "--json --force --seed 7 --threads 2 --limit 9 -o a/b --no-verify"
    arguments += " --model m --coder c --dataset d:test"
    assert values(*arguments.split()) == {
        "as_json": True,
        "force": True,
        "seed": 7,
        "threads": 2,
        "limit": 9,
        "out": Path("a/b"),
        "verify": False,
        "model": "m",
        "coder": "c",
        "dataset": "d:test",
    }


def test_the_largest_seed() -> None:
    assert values("--seed", str(2**63 - 1))["seed"] == 2**63 - 1


@pytest.mark.parametrize("arguments", ["--threads 0", "--limit 0", "--seed -1", f"--seed {2**63}"])
def test_impossible_values_are_usage_errors(arguments: str) -> None:
    with pytest.raises(AssertionError, match="Invalid value"):
        values(*arguments.split())


def test_what_was_given_is_recorded_by_name() -> None:
    recorded: list[str] = []

    def command(**_: Any) -> None:
        recorded.extend(overrides_of(click.get_current_context()))

    for option in (options.coding(), options.limit(), options.force()):
        command = option(command)
    words = ["--coding", "clip=off", "--force", "--limit", "9", "--coding", "order=bb-ans"]
    CliRunner().invoke(click.command()(command), words, catch_exceptions=False)
    assert sorted(recorded) == ["coding.clip=off", "coding.order=bb-ans", "limit=9"]


def test_examples_keep_their_lines() -> None:
    command = click.Command("c", epilog=options.examples("nc list", "nc list models"))
    page = CliRunner().invoke(command, ["--help"]).stdout
    assert page.endswith("  Examples:\n    nc list\n    nc list models\n")

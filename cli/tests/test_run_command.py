"""``nc run``: papers are listed without being imported, and found by name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np

from nc_cli.commands.run import command as run
from nc_core.errors import ExitCode
from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec, Requirement

GREETS = """
import click

@click.group()
def command():
    "Greets."

@command.command()
@click.option("--name", default="nobody", show_default=True, help="Whom to greet.")
def greet(name):
    "Greets somebody."
    click.echo(f"hello {name}")
"""


def unwrapped(page: str) -> str:
    return " ".join(page.split())


def test_a_paper_is_listed_with_its_summary_and_not_imported(nc, add_paper) -> None:
    add_paper("polite", "raise RuntimeError('imported')")
    outcome = nc("run", "--help")
    assert outcome.exit_code == ExitCode.DONE
    assert "  polite  What polite is about.\n" in outcome.stdout
    assert outcome.stdout.rstrip().endswith("nc run polite --help")
    assert "paper_polite" not in sys.modules


def test_without_papers_the_help_says_how_to_get_one(nc) -> None:
    assert "no paper is installed; for example: pip install nc-bitswap" in nc("run", "-h").stdout
    outcome = nc("run", "anything")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert outcome.stderr.endswith("pip install nc-bitswap\n")


def test_a_command_of_a_paper_runs(nc, add_paper) -> None:
    add_paper("polite", GREETS)
    assert nc("run", "polite", "greet", "--name", "you").stdout == "hello you\n"


def test_common_options_work_after_a_command_of_a_paper(nc, add_paper) -> None:
    add_paper("polite", GREETS)
    assert nc("run", "polite", "greet", "--debug", "-v").stdout == "hello nobody\n"
    for arguments in (["polite"], ["polite", "greet"]):
        page = nc("run", *arguments, "-h").stdout
        assert "--debug" in page
        assert "--verbose" in page


def test_the_command_of_a_paper_itself_is_left_alone(nc, add_paper) -> None:
    add_paper("polite", GREETS)
    nc("run", "polite", "greet")
    original = sys.modules["paper_polite"].command
    assert [option.name for option in original.params] == []
    assert [option.name for option in original.commands["greet"].params] == ["name"]


def test_a_paper_keeps_its_own_meaning_of_a_common_spelling(nc, add_paper) -> None:
    source = GREETS.replace('"--name"', '"-v", "--name"')
    add_paper("polite", source)
    assert nc("run", "polite", "greet", "-v", "you").stdout == "hello you\n"


def test_a_paper_with_a_model_compresses_with_it_and_decompresses(
    nc, add_paper, tmp_path: Path
) -> None:
    add_paper("polite", GREETS, model="predictive")
    page = nc("run", "polite", "--help").stdout
    assert page.index("compress ") < page.index("decompress ") < page.index("greet ")
    assert "[default: predictive]" in unwrapped(nc("run", "polite", "compress", "-h").stdout)
    example = "nc run polite decompress photo.png.ncz -o restored\n"
    assert nc("run", "polite", "decompress", "-h").stdout.endswith(example)
    array, packed, back = tmp_path / "x.npy", tmp_path / "x.ncz", tmp_path / "back"
    np.save(array, np.zeros((2, 8, 8), np.uint8))
    source = ["--dataset", f"npy:{array}", "-o", packed, "--json"]
    assert nc("run", "polite", "compress", *source).json()["model"] == "predictive"
    (restored,) = nc("run", "polite", "decompress", packed, "-o", back).stdout.split()
    assert (np.load(restored) == 0).all()


def test_the_model_of_a_paper_is_the_default_of_its_compress_only(nc, add_paper) -> None:
    add_paper("polite", GREETS, model="other")
    assert "[default: other]" in unwrapped(nc("run", "polite", "compress", "-h").stdout)
    assert "[default: predictive]" in unwrapped(nc("compress", "-h").stdout)
    outcome = nc("run", "polite", "compress", "--dataset", "npy:x", "--order", "ans")
    assert outcome.exit_code == ExitCode.USAGE
    assert outcome.stderr.endswith("see 'nc run polite compress --help'\n")


def test_a_paper_keeps_its_own_way_to_compress(nc, add_paper) -> None:
    source = GREETS.replace("def greet(", "def compress(")
    add_paper("polite", source, model="predictive")
    assert nc("run", "polite", "compress", "--name", "you").stdout == "hello you\n"


def test_a_paper_without_a_model_has_no_such_commands(nc, add_paper) -> None:
    add_paper("polite", GREETS)
    assert nc("run", "polite", "compress").exit_code == ExitCode.USAGE


def test_a_misspelt_paper_gets_a_suggestion(nc, add_paper) -> None:
    add_paper("polite", GREETS)
    outcome = nc("run", "polit")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert outcome.stderr == "nc: error: no command 'polit'; did you mean 'polite'?\n"


def test_two_papers_of_one_name_are_listed_and_run_by_their_distributions(nc, add_paper) -> None:
    add_paper("polite", GREETS, "nc-a")
    add_paper("polite", GREETS, "nc-b")
    page = nc("run", "--help").stdout
    assert "polite@nc-a" in page
    assert "polite@nc-b" in page
    outcome = nc("run", "polite", "greet")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert "polite@nc-a or polite@nc-b" in outcome.stderr
    assert nc("run", "polite@nc-b", "greet").stdout == "hello nobody\n"


def test_a_paper_that_cannot_be_imported_is_one_line(nc, add_paper) -> None:
    add_paper("rude", "import a_module_that_is_not_there")
    outcome = nc("run", "rude", "--help")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert outcome.stderr.startswith("nc: error: command 'rude' cannot be loaded: ")
    assert len(outcome.stderr.splitlines()) == 1


def test_a_paper_that_is_no_click_command_is_one_line(nc, add_paper) -> None:
    add_paper("rude", "command = 7")
    outcome = nc("run", "rude")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert "paper_rude:command is not a click command" in outcome.stderr


def test_a_missing_dependency_of_a_paper_comes_with_its_pip_line(nc, plugins) -> None:
    @hookimpl
    def nc_commands() -> list[CommandSpec]:
        need = Requirement("a_module_that_is_not_there", "nc-big[torch]")
        return [CommandSpec(name="big", summary="Big.", target="x:command", requires=(need,))]

    plugins.register(SimpleNamespace(nc_commands=nc_commands), distribution="nc-big")
    outcome = nc("run", "big", "train")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert outcome.stderr == (
        "nc: error: command 'big' needs a_module_that_is_not_there, which is not installed\n"
        "pip install nc-big[torch]\n"
    )


def test_what_a_paper_prints_while_it_loads_is_no_result(nc, add_paper) -> None:
    add_paper("polite", "print('loading', flush=True)\n" + GREETS)
    outcome = nc("run", "polite", "greet")
    assert outcome.stdout == "hello nobody\n"
    assert "loading" in outcome.stderr


def test_the_group_is_a_click_group() -> None:
    assert isinstance(run, click.Group)

"""``--coding`` and a paper's own options for it: what a model is told on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nc_cli.commands.compress import command as compress
from nc_core.errors import ExitCode
from nc_core.hookspecs import hookimpl
from nc_core.plugins import PluginManager
from nc_core.specs import CodingOption, CommandSpec, ModelSpec, Pretrained

PAPER = "import click\n\n@click.group()\ndef command():\n    'Nothing of its own.'\n"
NOISE = CodingOption("noise", "Numbers to borrow, 0 to 99; 2 by default.", kind="int", metavar="N")
LOUD = CodingOption("loud-noise", "The same in words.", key="noise", metavar="WORDS")


@pytest.fixture
def choosy(
    plugins: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """A function that adds a model with options, and a paper whose ``compress`` has these."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "paper_choosy.py").write_text(PAPER, encoding="utf-8")

    def add(*coding: CodingOption) -> None:
        @hookimpl
        def nc_models() -> list[ModelSpec]:
            member = Pretrained("choosy", "raw samples and noise", "2" * 64)
            return [
                ModelSpec(
                    name="choosy", summary="raw samples", target="raw_model:load_choosy",
                    abilities=("lossless-model",), pretrained=(member,),
                )
            ]  # fmt: skip

        @hookimpl
        def nc_commands() -> list[CommandSpec]:
            spec = CommandSpec(
                name="choosy", summary="A paper.", target="paper_choosy:command",
                model="choosy", coding=coding,
            )  # fmt: skip
            return [spec]

        module = SimpleNamespace(nc_models=nc_models, nc_commands=nc_commands)
        plugins.register(module, distribution="nc-choosy")

    return add


@pytest.fixture
def digits(tmp_path: Path) -> list[str]:
    """Arguments that name a small dataset and where to write."""
    np.save(tmp_path / "x.npy", np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8))
    return ["--dataset", f"npy:{tmp_path / 'x.npy'}", "-o", str(tmp_path / "x.ncz")]


def test_options_go_into_the_file_and_out_again(nc, choosy, digits, tmp_path: Path) -> None:
    choosy()
    told = ["--coding", "noise=40", "--coding", "order=noise-last"]
    made = nc("compress", "--model", "choosy", *told, *digits, "--json").json()
    assert made["coding"] == {"noise": "40", "order": "noise-last"}
    path = tmp_path / "x.ncz"
    assert nc("info", path, "--json").json()["coding"] == made["coding"]
    page = nc("info", path).stdout
    assert re.search(r"^coding noise +40$", page, re.MULTILINE)
    assert re.search(r"^coding order +noise-last$", page, re.MULTILINE)
    for extra in ([], ["--model", "choosy"]):
        (back,) = nc("decompress", path, "-o", tmp_path / "back", "--force", *extra).stdout.split()
        assert np.array_equal(np.load(back), np.load(tmp_path / "x.npy"))


def test_a_file_without_options_shows_none(nc, choosy, digits, tmp_path: Path) -> None:
    choosy()
    assert nc("compress", "--model", "choosy", *digits, "--json").json()["coding"] == {}
    assert "coding" not in nc("info", tmp_path / "x.ncz", "--json").json()
    assert "coding" not in nc("info", tmp_path / "x.ncz").stdout


def test_a_file_with_options_that_the_model_refuses_is_damaged(
    nc, choosy, digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choosy()
    nc("compress", "--model", "choosy", "--coding", "noise=40", *digits)
    monkeypatch.setattr("raw_model.ChoosyModel.with_coding", refuse)
    outcome = nc("decompress", tmp_path / "x.ncz", "-o", tmp_path / "back")
    assert outcome.exit_code == ExitCode.CORRUPT
    expected = "x.ncz: made with coding options that model 'choosy' refuses: no longer\n"
    assert outcome.stderr.endswith(expected)


def refuse(*_: object) -> None:
    raise ValueError("no longer")


def test_a_paper_has_options_of_its_own_for_it(nc, choosy, digits) -> None:
    choosy(NOISE, LOUD)
    page = nc("run", "choosy", "compress", "--help").stdout
    assert re.search(r"--noise N +Numbers to borrow, 0 to 99; 2 by default\.", page)
    assert page.index("--order") < page.index("--noise N") < page.index("--loud-noise WORDS")
    assert page.index("--loud-noise WORDS") < page.index("--coding KEY=VALUE")
    order = ["--order", "bit-swap"]
    assert nc("run", "choosy", "compress", *order, *digits).exit_code == ExitCode.USAGE
    made = nc("run", "choosy", "compress", "--noise", "40", *digits, "--json").json()
    assert made["coding"] == {"noise": "40"}
    both = ["--loud-noise", "7", "--coding", "order=noise-last", "--force"]
    made = nc("run", "choosy", "compress", *both, *digits, "--json").json()
    assert made["coding"] == {"noise": "7", "order": "noise-last"}
    assert nc("run", "choosy", "compress", *digits, "--force", "--json").json()["coding"] == {}


def test_an_option_has_a_smallest_number(nc, choosy, digits) -> None:
    choosy(CodingOption("noise", "Numbers to borrow.", kind="int", minimum=2))
    assert "[x>=2]" in nc("run", "choosy", "compress", "--help").stdout
    outcome = nc("run", "choosy", "compress", "--noise", "1", *digits)
    assert outcome.exit_code == ExitCode.USAGE
    assert "1 is not in the range x>=2" in outcome.stderr


def test_the_help_says_what_the_model_of_a_paper_is_for(nc, choosy) -> None:
    choosy()
    page = nc("run", "choosy", "compress", "--help").stdout
    assert "\n\n  Model 'choosy' is for raw samples and noise.\n\n" in page
    assert "is for" not in nc("compress", "--help").stdout


def test_the_options_of_a_paper_are_those_of_its_compress_only(nc, choosy) -> None:
    choosy(NOISE)
    assert "--noise" not in nc("compress", "--help").stdout
    assert "--noise" not in nc("run", "choosy", "decompress", "--help").stdout
    assert "coding_noise" not in {param.name for param in compress.params}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--noise", "1", "--loud-noise", "2"], "--loud-noise and --noise are one option"),
        (["--noise", "1", "--coding", "noise=2"], "--noise and --coding noise=... are one option"),
        (["--coding", "noise=1", "--coding", "noise=2"], "'noise' is given twice"),
        (["--noise", "many"], "'many' is not a valid integer range"),
        (["--noise", "-1"], "-1 is not in the range x>=0"),
        (["--noise", "100"], "model 'choosy': noise is 0 to 99 numbers, not '100'"),
        (["--loud-noise", ""], "coding option 'noise' has no value"),
        (["--coding", "noise"], "'noise' is not KEY=VALUE"),
        (["--coding", "=1"], "'=1' is not KEY=VALUE"),
        (["--coding", "nois=1"], "model 'choosy': no coding option 'nois'"),
        (["--coding", "order=noise-last", "--order", "bit-swap"], "the order is given twice"),
        (["--coding", "noise=1", "--model", "predictive"], "'predictive': it takes no coding"),
    ],
    ids=" ".join,
)
def test_mistakes_are_usage_errors(
    nc, choosy, digits, tmp_path: Path, arguments: list[str], message: str
) -> None:
    choosy(NOISE, LOUD)
    outcome = nc("run", "choosy", "compress", *arguments, *digits)
    assert outcome.exit_code == ExitCode.USAGE
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) <= 2
    assert not (tmp_path / "x.ncz").exists()


def test_an_option_that_compress_has_already_is_the_papers_mistake(nc, choosy) -> None:
    choosy(CodingOption("order", "Of coding."))
    outcome = nc("run", "choosy", "compress", "--help")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert "nc run choosy compress: coding option --order is an option of it" in outcome.stderr


def test_compress_says_how_many_items_only_lead_in(
    nc, plugins: PluginManager, tmp_path: Path
) -> None:
    @hookimpl
    def nc_models() -> list[ModelSpec]:
        member = Pretrained("lending", "raw samples and numbers", "3" * 64)
        return [
            ModelSpec(
                name="lending", summary="raw samples", target="raw_model:load_lending",
                abilities=("lossless-model",), pretrained=(member,),
            )
        ]  # fmt: skip

    plugins.register(SimpleNamespace(nc_models=nc_models), distribution="nc-lending")
    noise = np.random.default_rng(1).integers(0, 256, (8, 16, 16)).astype(np.uint8)
    np.save(tmp_path / "x.npy", noise)
    arguments = ("compress", "--dataset", f"npy:{tmp_path / 'x.npy'}", "--model", "lending",
                 "-o", tmp_path / "x.ncz", "--force")  # fmt: skip
    led = ("--coding", "lead-in=predictive")
    assert nc(*arguments, "--json").json()["lead_in_items"] is None
    assert nc(*arguments, *led, "--json").json()["lead_in_items"] == 3
    assert nc(*arguments, *led, "--limit", 2, "--json").json()["lead_in_items"] == 2
    what = "too few images for model 'lending': all were coded by 'predictive'"
    assert what in nc(*arguments, *led, "--limit", 2).stdout
    assert what not in nc(*arguments, *led).stdout
    assert what not in nc(*arguments, "--limit", 2).stdout


def test_a_rate_is_that_of_the_model_as_it_was_told(nc, choosy, digits) -> None:
    choosy()
    arguments = ["eval", "rate", "--model", "choosy", *digits[:2], "--json"]
    initial = {
        noise: next(
            m["value"]
            for m in nc(*arguments, "--coding", f"noise={noise}").json()
            if m["name"] == "initial_bits"
        )
        for noise in (0, 40)
    }
    assert initial[0] == 0 < initial[40]
    outcome = nc("eval", "classical", *digits[:2], "--coding", "noise=1")
    assert outcome.exit_code == ExitCode.USAGE
